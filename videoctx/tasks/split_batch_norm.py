"""SplitBatchNorm: BatchNorm over groups of clips of a constant size, in the larger batches of multigrid training.

Wu et al.: "A Multigrid Method for Efficiently Training Video Models" (arXiv 1912.00998): the noise in the statistics of
BatchNorm regularizes, so the number of clips that they are computed from is kept constant.
Differs from PySlowFast: there, the number of groups is constant over the short cycle, and their size is not.
"""

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from videoctx.tasks.task_data import required_task_data, task_data


class SplitBatchNorm(Callback):
    """Normalizes each group of clips by itself in training.

    The running statistics are those of whole batches. Names and shapes in checkpoints are those of BatchNorm.

    Args:
        num_clips: Clips per group. None: the clips in a batch of a device without multigrid. If a batch cannot be
            divided, some groups are larger.

    Raises:
        ValueError: A group is larger than a batch.

    Example:
        >>> callback = SplitBatchNorm(num_clips=8)
    """

    def __init__(self, *, num_clips: int | None = None) -> None:
        if num_clips is not None and num_clips < 1:
            raise ValueError(f"num_clips is {num_clips}; expected 1 or more")
        self.num_clips = num_clips

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        num_clips = self.num_clips
        if num_clips is None:
            num_clips = required_task_data(trainer, required_by="SplitBatchNorm without num_clips").clips_per_device
        elif (data := task_data(trainer)) and num_clips > data.clips_per_device:
            raise ValueError(
                f"num_clips of SplitBatchNorm is {num_clips} with {data.clips_per_device} clips per batch and device;"
                " expected no more"
            )
        split_norms(pl_module, num_clips)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        if any(isinstance(layer, nn.SyncBatchNorm) for layer in pl_module.modules()):
            raise ValueError("trainer.sync_batchnorm is true with SplitBatchNorm; expected one of them")


def split_norms(net: nn.Module, num_clips: int) -> None:
    """Replace every BatchNorm inside `net` by a `SplitNorm` with the same parameters and statistics."""
    for parent in list(net.modules()):
        for name, layer in parent.named_children():
            if isinstance(layer, _BatchNorm) and not isinstance(layer, nn.SyncBatchNorm) and layer.track_running_stats:
                setattr(parent, name, SplitNorm(layer, num_clips))


class SplitNorm(_BatchNorm):
    """A BatchNorm that normalizes each group of at least `num_clips` clips by itself: (B, C, *) → (B, C, *)."""

    def __init__(self, norm: _BatchNorm, num_clips: int) -> None:
        super().__init__(norm.num_features, norm.eps, norm.momentum, affine=False, track_running_stats=False)
        self.affine, self.track_running_stats = norm.affine, True
        for name in ("weight", "bias"):
            setattr(self, name, getattr(norm, name))
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            setattr(self, name, getattr(norm, name))
        self.num_clips = num_clips
        self.train(norm.training)

    def _check_input_dim(self, input: Tensor) -> None:
        assert input.ndim >= 2, f"expected (B, C, *), got {tuple(input.shape)}"

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        num_groups = max(len(x) // self.num_clips, 1)
        size, num_larger = divmod(len(x), num_groups)
        sizes = [size + 1] * num_larger + [size] * (num_groups - num_larger)
        assert self.running_mean is not None
        means, variances = self.running_mean.new_zeros(2, num_groups, self.num_features)
        groups = [
            F.batch_norm(group, mean, var, self.weight, self.bias, training=True, momentum=1.0, eps=self.eps)
            for group, mean, var in zip(x.split(sizes), means, variances, strict=True)
        ]
        with torch.no_grad():
            num_values = means.new_full((num_groups, 1), size)  # of a channel in each group
            num_values[:num_larger] += 1
            self._count(means, variances, num_values * (x[0].numel() // self.num_features))
        return torch.cat(groups)

    def _count(self, means: Tensor, variances: Tensor, num_values: Tensor) -> None:
        """Update the running statistics by those of the whole batch, as BatchNorm does: variances are over n - 1."""
        running_mean, running_var, num_batches = self.running_mean, self.running_var, self.num_batches_tracked
        assert running_mean is not None
        assert running_var is not None
        assert num_batches is not None
        total = num_values.sum()
        mean = (num_values * means).sum(dim=0) / total
        squares = (num_values - 1) * variances + num_values * (means - mean) ** 2
        num_batches.add_(1)
        variance = squares.sum(dim=0) / (total - 1)
        if self.momentum is None:  # all batches have the same weight
            weight = num_batches.to(mean.dtype).reciprocal()
            running_mean.lerp_(mean, weight)
            running_var.lerp_(variance, weight)
        else:
            running_mean.lerp_(mean, self.momentum)
            running_var.lerp_(variance, self.momentum)
