"""What to change if the memory does not suffice."""

IN_TRAINING = (
    "expected less of data.batch_size (with trainer.accumulate_grad_batches for the same clips per step),"
    " data.clips.clip_len or data.train.crop_size_px; or model.net.init_args.activation_checkpointing,"
    " trainer.precision bf16-mixed; in validation and test model.views_per_forward"
)

ELSEWHERE = (
    "expected more memory, fewer views (--views), smaller clips (--size, --clip_len) or batches (--batch_size), where"
    " the command has these; or CUDA_VISIBLE_DEVICES= for the memory of the host"
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
