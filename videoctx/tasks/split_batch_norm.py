"""BatchNorm over groups of as many clips as ever, in batches of more: for multigrid training.

Wu et al.: "A Multigrid Method for Efficiently Training Video Models" (arXiv 1912.00998): the noise in BatchNorm's
statistics regularizes, and so the number of clips that they are of stays the same.
Differs from PySlowFast: there the number of groups is constant over the short cycle, and so their size is not.
"""

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from videoctx.tasks.task_data import required_task_data, task_data


class SplitBatchNorm(Callback):
    """In training, groups of clips are normalized each by itself. The running statistics are those of whole batches, so
    nothing else changes, names and shapes in checkpoints neither.

    Args:
        num_clips: of a group; by default those of a batch of a device without multigrid. Where a batch does not divide,
            some groups are larger.
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
    """Put a `SplitNorm` with the same parameters and statistics in the place of every BatchNorm inside."""
    for parent in list(net.modules()):
        for name, layer in parent.named_children():
            if isinstance(layer, _BatchNorm) and not isinstance(layer, nn.SyncBatchNorm) and layer.track_running_stats:
                setattr(parent, name, SplitNorm(layer, num_clips))


class SplitNorm(_BatchNorm):
    """A BatchNorm that in training takes each group of at least `num_clips` clips by itself: (B, C, *) → (B, C, *)."""

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
        """The running statistics take in those of the whole batch, as BatchNorm's do: variances are over n - 1."""
        total = num_values.sum()
        mean = (num_values * means).sum(dim=0) / total
        squares = (num_values - 1) * variances + num_values * (means - mean) ** 2
        self.num_batches_tracked.add_(1)
        momentum = self.momentum  # None: all batches count alike
        if momentum is None:
            momentum = self.num_batches_tracked.to(mean.dtype).reciprocal()
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(squares.sum(dim=0) / (total - 1), momentum)
