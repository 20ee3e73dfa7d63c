"""Whether a device's batch is large enough for BatchNorm to measure.

Wu and He: "Group Normalization" (arXiv 1803.08494), figure 1: BatchNorm's error grows below 8 pictures a device, and
steeply below 4.
"""

import logging
from functools import partial

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from videoctx.models.inference import has_known_layers
from videoctx.models.meta_device import meta_copy, run_on_meta

logger = logging.getLogger(__name__)

FEW_CLIPS = 4  # fewer than these are warned of


def warn_of_few_clips(net: nn.Module, *, clips_per_device: int, num_devices: int) -> None:
    """Say that BatchNorm measures too few clips; not of layers that are frozen. SyncBatchNorm measures all devices'."""
    trained = [layer for layer in net.modules() if _measures(layer)]
    synced = sum(isinstance(layer, nn.SyncBatchNorm) for layer in trained)
    _warn_of_layers(len(trained) - synced, clips_per_device, "a step and device")
    _warn_of_layers(synced, clips_per_device * num_devices, "a step on all devices")


def check_single_clip(net: nn.Module, *, clip_size: tuple[int, int, int]) -> None:
    """That there is more than one position to measure, where a device's batch is one clip of `clip_size` (T, H, W).

    Nothing is computed: a copy without memory, on the meta device, runs once. Of other projects' layers it is not known
    that they run there: torch tells of these, at the first step.

    Raises:
        ValueError: a BatchNorm would measure one value of each channel, which has no variance.
    """
    if not has_known_layers(net) or any(isinstance(layer, nn.SyncBatchNorm) for layer in net.modules()):
        return
    hollow = meta_copy(net).train()
    for name, layer in hollow.named_modules():
        if _measures(layer):
            layer.register_forward_pre_hook(partial(_refuse_one_value, name))
        elif isinstance(layer, _BatchNorm):
            layer.eval()
    run_on_meta(hollow, clip_size=clip_size)


def _refuse_one_value(name: str, layer: nn.Module, inputs: tuple[Tensor]) -> None:  # noqa: ARG001
    if inputs[0].numel() == inputs[0].shape[1]:
        raise ValueError(
            f"a device's batch is a single clip, of which BatchNorm {name} measures one value of each channel; expected"
            f" {FEW_CLIPS} clips or more (data.batch_size, data.train.clips_per_video), or"
            " videoctx.tasks.FrozenBatchNorm"
        )


def _measures(layer: nn.Module) -> bool:
    """Whether it is a BatchNorm, and not frozen."""
    return isinstance(layer, _BatchNorm) and not (layer.affine and not layer.weight.requires_grad)


def _warn_of_layers(num_layers: int, num_clips: int, where: str) -> None:
    if num_layers and num_clips < FEW_CLIPS:
        clips = "a single clip" if num_clips == 1 else f"only {num_clips} clips"
        logger.warning(
            f"{num_layers} BatchNorm layers measure {clips} {where}; expected {FEW_CLIPS} or more"
            " (data.batch_size, data.train.clips_per_video), trainer.sync_batchnorm, or videoctx.tasks.FrozenBatchNorm"
        )
