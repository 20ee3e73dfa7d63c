"""What to change if the memory does not suffice."""

import errno

# Parts of the messages of allocators and of libraries for devices. `torch.OutOfMemoryError` is a RuntimeError.
SIGNS = ("out of memory", "DefaultCPUAllocator", "_ALLOC_FAILED")

IN_TRAINING = (
    "expected less of data.batch_size (with trainer.accumulate_grad_batches for the same clips per step),"
    " data.clips.clip_len or data.train.crop_size_px; or model.net.init_args.activation_checkpointing,"
    " trainer.precision bf16-mixed; in validation and test model.views_per_forward"
)

ELSEWHERE = (
    "expected more memory, fewer views (--views), smaller clips (--size, --clip_len) or batches (--batch_size), where"
    " the command has these; or CUDA_VISIBLE_DEVICES= for the memory of the host"
)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that memory of the host or of a device is exhausted."""
    return (
        isinstance(error, MemoryError)
        or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
        or (isinstance(error, RuntimeError) and any(sign in str(error) for sign in SIGNS))
    )


def what_to_change(error: BaseException, *, trains: bool) -> str:
    """Return one line: the allocator's message, what was processed, and which settings take less memory.

    Args:
        trains: Whether the command is one of Lightning's, which have the settings of a run.
    """
    message = " ".join(str(error).split())
    first = message.partition(". GPU ")[0] if message else "no more memory"  # the rest is the allocator's bookkeeping
    processed = "".join(f"; {note}" for note in getattr(error, "__notes__", []))
    return f"out of memory ({first.rstrip('.')}{processed}); {IN_TRAINING if trains else ELSEWHERE}"
