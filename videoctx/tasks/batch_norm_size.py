"""Whether the batch of a device is large enough for the statistics of BatchNorm.

Wu and He: "Group Normalization" (arXiv 1803.08494), figure 1: the error of BatchNorm grows below 8 images per device,
and steeply below 4.
"""

import logging
from functools import partial
from typing import TYPE_CHECKING

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from videoctx.models.freezing import is_frozen
from videoctx.models.inference import has_known_layers
from videoctx.models.meta_device import meta_copy, run_on_meta
from videoctx.tasks.task_data import task_data

if TYPE_CHECKING:
    from videoctx.tasks.classifier import VideoClassifier

logger = logging.getLogger(__name__)

FEW_CLIPS = 4  # fewer than this cause a warning


class BatchNormSizeCheck(Callback):
    """Warns of training batches that are small for BatchNorm, and refuses those without a variance.

    Raises:
        ValueError: A BatchNorm would get one value per channel.
    """

    def __init__(self, task: "VideoClassifier") -> None:
        self.task = task

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        if (data := task_data(trainer)) is None:
            return
        if data.clips_per_device == 1:
            check_single_clip(self.task.net, clip_size=data.train_clip_size)
        if trainer.is_global_zero:
            clips = data.clips_per_device
            warn_of_few_clips(self.task.net, clips_per_device=clips, num_devices=trainer.world_size)


def warn_of_few_clips(net: nn.Module, *, clips_per_device: int, num_devices: int) -> None:
    """Log a warning if layers of BatchNorm get few clips. Frozen layers do not count.

    SyncBatchNorm gets the clips of all devices.
    """
    trained = [layer for layer in net.modules() if _uses_batch(layer)]
    synced = sum(isinstance(layer, nn.SyncBatchNorm) for layer in trained)
    _warn_of_layers(len(trained) - synced, clips_per_device, "per step and device")
    _warn_of_layers(synced, clips_per_device * num_devices, "per step on all devices")


def check_single_clip(net: nn.Module, *, clip_size: tuple[int, int, int]) -> None:
    """Check that one clip of `clip_size` (T, H, W) gives every BatchNorm more than one value per channel.

    Nothing is computed: a copy of the network runs once on the meta device. Networks with layers of other projects may
    not run there; for these, torch raises an error in the first step.

    Raises:
        ValueError: A BatchNorm would get one value per channel, which has no variance.
    """
    if not has_known_layers(net) or any(isinstance(layer, nn.SyncBatchNorm) for layer in net.modules()):
        return
    meta_net = meta_copy(net).train()
    for name, layer in meta_net.named_modules():
        if _uses_batch(layer):
            layer.register_forward_pre_hook(partial(_refuse_one_value, name))
        elif isinstance(layer, _BatchNorm):
            layer.eval()
    run_on_meta(meta_net, clip_size=clip_size)


def _refuse_one_value(name: str, layer: nn.Module, inputs: tuple[Tensor]) -> None:  # noqa: ARG001
    if inputs[0].numel() == inputs[0].shape[1]:
        raise ValueError(
            f"the batch of a device is a single clip, of which BatchNorm {name} gets one value per channel; expected"
            f" {FEW_CLIPS} clips or more (data.batch_size, data.train.clips_per_video), or"
            " videoctx.tasks.FrozenBatchNorm"
        )


def _uses_batch(layer: nn.Module) -> bool:
    """Whether a layer is a BatchNorm that is not frozen."""
    return isinstance(layer, _BatchNorm) and not is_frozen(layer)


def _warn_of_layers(num_layers: int, num_clips: int, where: str) -> None:
    if num_layers and num_clips < FEW_CLIPS:
        clips = "a single clip" if num_clips == 1 else f"only {num_clips} clips"
        logger.warning(
            f"{num_layers} BatchNorm layers get {clips} {where}; expected {FEW_CLIPS} or more"
            " (data.batch_size, data.train.clips_per_video), trainer.sync_batchnorm, or videoctx.tasks.FrozenBatchNorm"
        )
