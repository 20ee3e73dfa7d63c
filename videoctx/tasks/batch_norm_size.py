"""Whether a device's batch is large enough for BatchNorm to measure.

Wu and He: "Group Normalization" (arXiv 1803.08494), figure 1: BatchNorm's error grows below 8 pictures a device, and
steeply below 4.
"""

import logging

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

logger = logging.getLogger(__name__)

FEW_CLIPS = 4  # fewer than these are warned of


def warn_of_few_clips(net: nn.Module, *, clips_per_device: int) -> None:
    """Say that BatchNorm measures too few clips; not of layers that are frozen, or measure over all devices."""
    trained = [
        layer
        for layer in net.modules()
        if isinstance(layer, _BatchNorm)
        and not isinstance(layer, nn.SyncBatchNorm)
        and any(parameter.requires_grad for parameter in layer.parameters(recurse=False))
    ]
    if trained and clips_per_device < FEW_CLIPS:
        clips = "a single clip" if clips_per_device == 1 else f"only {clips_per_device} clips"
        logger.warning(
            f"{len(trained)} BatchNorm layers measure {clips} a step and device; expected {FEW_CLIPS} or more"
            " (data.batch_size, data.clips_per_video), trainer.sync_batchnorm, or videoctx.tasks.FrozenBatchNorm"
        )
