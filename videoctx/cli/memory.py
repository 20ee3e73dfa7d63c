"""What to change where memory does not suffice."""

import errno

import torch

# What allocators and libraries of the device say; on the CPU it is the allocator, or Python itself.
SIGNS = ("out of memory", "DefaultCPUAllocator", "_ALLOC_FAILED")

REMEDY = (
    "expected less of data.batch_size (with trainer.accumulate_grad_batches for the same clips a step),"
    " data.clip_len or data.crop_size_px; or model.net.init_args.activation_checkpointing, trainer.precision bf16-mixed;"
    " in validation and test model.views_per_forward"
)


def is_out_of_memory(error: BaseException) -> bool:
    return (
        isinstance(error, MemoryError | torch.OutOfMemoryError)
        or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
        or (isinstance(error, RuntimeError) and any(sign in str(error) for sign in SIGNS))
    )


def what_to_change(error: BaseException) -> str:
    """One line: what could not be had, as the allocator says it, and what takes less."""
    said = " ".join(str(error).split())
    first = said.partition(". GPU ")[0] if said else "no more memory"  # what follows is the allocator's bookkeeping
    return f"out of memory ({first.rstrip('.')}); {REMEDY}"
