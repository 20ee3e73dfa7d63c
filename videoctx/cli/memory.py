"""What to change if the memory does not suffice."""

import errno

# Parts of the messages of allocators and of libraries for devices. `torch.OutOfMemoryError` is a RuntimeError.
SIGNS = ("out of memory", "DefaultCPUAllocator", "_ALLOC_FAILED")

REMEDY = (
    "expected less of data.batch_size (with trainer.accumulate_grad_batches for the same clips per step),"
    " data.clips.clip_len or data.train.crop_size_px; or model.net.init_args.activation_checkpointing,"
    " trainer.precision bf16-mixed; in validation and test model.views_per_forward"
)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that memory of the host or of a device is exhausted."""
    return (
        isinstance(error, MemoryError)
        or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
        or (isinstance(error, RuntimeError) and any(sign in str(error) for sign in SIGNS))
    )


def what_to_change(error: BaseException) -> str:
    """Return one line: the allocator's message, and which settings take less memory."""
    message = " ".join(str(error).split())
    first = message.partition(". GPU ")[0] if message else "no more memory"  # the rest is the allocator's bookkeeping
    return f"out of memory ({first.rstrip('.')}); {REMEDY}"
