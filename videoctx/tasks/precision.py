"""The precision of a run: which ones a task accepts, and a line on devices that only emulate bfloat16."""

import logging

import torch

from videoctx.models.inference import cpu_capabilities, emulates_bf16

logger = logging.getLogger(__name__)

PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")  # the other ones of the Trainer have no float32 for clips and loss


def check_precision(precision: str | int | None, device: torch.device) -> None:
    """Check `trainer.precision`, and warn if the device only emulates it.

    Raises:
        ValueError: A task does not accept it.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"trainer.precision is {precision}; expected {' or '.join(PRECISIONS)}")
    warn_of_emulated_bf16(precision, device)


def warn_of_emulated_bf16(precision: str | int | None, device: torch.device) -> None:
    """Warn if a run in bfloat16 is to be on a device that only emulates it."""
    if "bf16" in str(precision) and emulates_bf16(device):
        on_gpu = device.type == "cuda"
        logger.warning(
            "trainer.precision is %s, which %s emulates slowly; %s faster there",
            precision,
            torch.cuda.get_device_name(device) if on_gpu else cpu_capabilities().get("cpu_name", "this CPU"),
            "16-mixed and 32-true are" if on_gpu else "32-true is",
        )
