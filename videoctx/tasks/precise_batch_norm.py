"""PreciseBatchNorm: the statistics of BatchNorm are measured with the current weights, not averaged while they change.

Wu and Johnson: "Rethinking 'Batch' in BatchNorm" (arXiv 2105.07576), section 3: the mean and the variance of all values
that a layer gets in some training batches, each batch normalized by itself. The same as `update_bn_stats` of fvcore,
which PySlowFast calls with 200 batches before every evaluation; Non-local's code does the same.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from videoctx.models.freezing import is_frozen
from videoctx.tasks.task_data import required_task_data

Sum = Callable[[Tensor], Tensor]  # sums a tensor over ranks


class PreciseBatchNorm(Callback):
    """Measures the statistics before every validation during training, or without validation after every epoch.

    The clips are drawn as in training, but beside the epoch, so all clips of the epoch are still trained on. If the
    weights are averaged (`EMA`), the statistics are those of the average. Frozen layers are not changed.

    Args:
        num_batches: Most batches per rank that are used; an epoch may have fewer.

    Raises:
        ValueError: `num_batches` is less than 1, or the callback precedes one that averages weights.

    Example:
        >>> callback = PreciseBatchNorm(num_batches=50)
    """

    def __init__(self, *, num_batches: int = 200) -> None:
        if num_batches < 1:
            raise ValueError(f"num_batches is {num_batches}; expected 1 or more")
        self.num_batches = num_batches

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:  # noqa: ARG002
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]  # a connector of Lightning's sets it
        later = callbacks[callbacks.index(self) :]
        if averages := [callback for callback in later if isinstance(callback, WeightAveraging)]:
            raise ValueError(
                f"PreciseBatchNorm precedes {type(averages[0]).__name__} in trainer.callbacks; expected it after that,"
                " to measure the statistics of the average"
            )

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            self._measure(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.val_dataloaders:
            self._measure(trainer, pl_module)

    def _measure(self, trainer: Trainer, pl_module: LightningModule) -> None:
        data = required_task_data(trainer, required_by="PreciseBatchNorm")
        batches = data.clips_beside_training(self.num_batches)

        def sum_over_ranks(values: Tensor) -> Any:
            return trainer.strategy.reduce(values, reduce_op="sum")

        with trainer.precision_plugin.forward_context():
            clips = (batch.clips[:] for batch in batches if len(batch.clips))
            set_population_statistics(pl_module, clips, over_ranks=sum_over_ranks)


@torch.no_grad()
def set_population_statistics(net: nn.Module, batches: Iterable[Tensor], *, over_ranks: Sum) -> None:
    """Set the running statistics of each BatchNorm to the mean and variance of all values that it gets from `batches`.

    Nothing else of `net` changes. Frozen layers are not changed.

    Args:
        net: A network, or a module that contains one.
        batches: Inputs of `net`, (B, 3, T, H, W).
        over_ranks: Sums a tensor over ranks.
    """
    norms = [
        layer
        for layer in net.modules()
        if isinstance(layer, _BatchNorm) and layer.track_running_stats and not is_frozen(layer)
    ]
    if not norms:
        return
    means, variances, counts = [], [], []  # (C,) each, C the channels of all layers together
    with _statistics_of_each_batch(net, norms) as num_values:
        for clips in batches:
            net(clips)
            statistics = [(*_buffers(norm)[:2], num_values[norm]) for norm in norms]
            means.append(torch.cat([mean for mean, _, _ in statistics]))
            # `running_var` is the sum of squares over n - 1; a batch is normalized with the sum over n.
            variances.append(torch.cat([variance * (1 - 1 / n) for _, variance, n in statistics]))
            counts.append(torch.cat([torch.full_like(mean, n) for mean, _, n in statistics]))
    zeros = torch.zeros(1, sum(norm.num_features for norm in norms), device=_buffers(norms[0])[0].device)
    batch_means, batch_variances, batch_counts = (
        torch.stack(values) if values else zeros for values in (means, variances, counts)
    )  # (batches, C) each
    total = over_ranks(batch_counts.sum(dim=0))
    if not total.all():  # no rank had a batch
        return
    mean = over_ranks((batch_counts * batch_means).sum(dim=0)) / total
    squares = batch_variances + (batch_means - mean) ** 2
    variance = over_ranks((batch_counts * squares).sum(dim=0)) / total
    widths = [norm.num_features for norm in norms]
    for norm, norm_mean, norm_variance in zip(norms, mean.split(widths), variance.split(widths), strict=True):
        running_mean, running_var, _ = _buffers(norm)
        running_mean.copy_(norm_mean)
        running_var.copy_(norm_variance)


def _buffers(norm: _BatchNorm) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean (C,), variance (C,) and number of batches () of a norm that tracks them."""
    mean, variance, num_batches = norm.running_mean, norm.running_var, norm.num_batches_tracked
    assert mean is not None
    assert variance is not None
    assert num_batches is not None
    return mean, variance, num_batches


@contextmanager
def _statistics_of_each_batch(net: nn.Module, norms: list[_BatchNorm]) -> Iterator[dict[_BatchNorm, int]]:
    """Inside the context, only `norms` are in training mode, and their running statistics are those of the last batch.

    Yields:
        How many values per channel each of them got in the last batch.
    """
    num_values: dict[_BatchNorm, int] = {}

    def count(norm: _BatchNorm, inputs: tuple[Tensor]) -> None:
        num_ranks = torch.distributed.get_world_size() if isinstance(norm, nn.SyncBatchNorm) else 1
        num_values[norm] = num_ranks * inputs[0].numel() // norm.num_features

    modes = [(module, module.training) for module in net.modules()]
    before = [(norm.momentum, _buffers(norm)[2].clone()) for norm in norms]
    hooks = [norm.register_forward_pre_hook(count) for norm in norms]
    try:
        net.eval()
        for norm in norms:
            norm.train()
            norm.momentum = 1.0
        yield num_values
    finally:
        for hook in hooks:
            hook.remove()
        for norm, (momentum, tracked) in zip(norms, before, strict=True):
            norm.momentum = momentum
            _buffers(norm)[2].copy_(tracked)
        for module, training in modes:
            module.training = training
