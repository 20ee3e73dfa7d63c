"""A line on GPUs that have no instructions for bfloat16, such as those before Ampere. torch emulates it there."""

import logging

import torch

from videoctx.models.inference import multiplies_bf16

logger = logging.getLogger(__name__)


def warn_of_emulated_bf16(precision: str | int | None, device: torch.device) -> None:
    """Warn if a run in bfloat16 is to be on a GPU that only emulates it."""
    if device.type == "cuda" and "bf16" in str(precision) and not multiplies_bf16(device):
        logger.warning(
            "trainer.precision is %s, which %s emulates slowly; 16-mixed and 32-true are faster there",
            precision,
            torch.cuda.get_device_name(device),
        )
