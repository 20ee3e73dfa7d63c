"""Errors of a GPU that cannot be used: its driver or this torch is of another time than the card."""

# Parts of CUDA's messages, and what they mean.
MEANINGS = {
    "no kernel image is available": "this torch has no code for the GPU",
    "driver version is insufficient": "the GPU's driver is too old for this torch",
    "is too old": "the GPU's driver is too old for this torch",
    "Found no NVIDIA driver": "there is no NVIDIA driver",
    "not compiled with CUDA": "this torch is built without CUDA",
    "initialization error": "the GPU cannot be initialized",
    "device(s) is/are busy or unavailable": "the GPU is in use by another process alone",
    "uncorrectable ECC error": "the GPU's memory is faulty",
}
REMEDY = "expected a torch and a driver for the card (`nvidia-smi`), or CUDA_VISIBLE_DEVICES= to run on the CPU"


def unusable_gpu(error: BaseException) -> str | None:
    """Return one line on a GPU that cannot be used. None: the error is another.

    >>> unusable_gpu(RuntimeError("CUDA error: no kernel image is available for execution")).partition("; ")[0]
    'this torch has no code for the GPU (CUDA error: no kernel image is available for execution)'
    """
    message = str(error).strip()
    if not isinstance(error, RuntimeError | AssertionError) or not any(name in message for name in ("CUDA", "NVIDIA")):
        return None
    meaning = next((meaning for sign, meaning in MEANINGS.items() if sign in message), None)
    return meaning and f"{meaning} ({message.splitlines()[0].rstrip('.')}); {REMEDY}"
