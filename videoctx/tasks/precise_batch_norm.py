"""BatchNorm's statistics measured anew with the weights at hand, instead of averaged while the weights changed.

Wu and Johnson: "Rethinking 'Batch' in BatchNorm" (arXiv 2105.07576), section 3: the mean and the variance of all that
a layer sees in some training batches, each batch normalized by itself. fvcore's `update_bn_stats`, which PySlowFast
calls with 200 batches before every evaluation; Non-local's code does the same.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from videoctx.tasks.task_data import required_task_data

Sum = Callable[[Tensor], Tensor]  # over ranks


class PreciseBatchNorm(Callback):
    """Before every validation in training; without validation, at the end of every epoch.

    The clips are drawn as training draws them, but beside the epoch, whose clips all stay to be trained on. Where the
    weights are averaged, it is the average's statistics that are measured. Frozen layers are left alone.

    Args:
        num_batches: most batches of a rank that are looked at; fewer where an epoch has fewer.
    """

    def __init__(self, *, num_batches: int = 200) -> None:
        if num_batches < 1:
            raise ValueError(f"num_batches is {num_batches}; expected 1 or more")
        self.num_batches = num_batches

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:  # noqa: ARG002
        after = trainer.callbacks[trainer.callbacks.index(self) :]
        if averages := [callback for callback in after if isinstance(callback, WeightAveraging)]:
            raise ValueError(
                f"PreciseBatchNorm comes before {type(averages[0]).__name__} in trainer.callbacks;"
                " expected after it: it is the average's statistics that count"
            )

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            self._measure(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.val_dataloaders:
            self._measure(trainer, pl_module)

    def _measure(self, trainer: Trainer, pl_module: LightningModule) -> None:
        batches = required_task_data(trainer, required_by="PreciseBatchNorm").clips_beside_training(self.num_batches)
        with trainer.precision_plugin.forward_context():
            set_population_statistics(
                pl_module,
                (batch.clips[:] for batch in batches if len(batch.clips)),
                over_ranks=lambda values: trainer.strategy.reduce(values, reduce_op="sum"),
            )


@torch.no_grad()
def set_population_statistics(net: nn.Module, batches: Iterable[Tensor], *, over_ranks: Sum) -> None:
    """Mean and variance of all values that each BatchNorm of `net` gets from `batches`, as its running statistics.

    Nothing else of `net` changes. Layers whose scale is not trained are left out.
    """
    norms = [
        layer
        for layer in net.modules()
        if isinstance(layer, _BatchNorm) and layer.track_running_stats and _is_trained(layer)
    ]
    if not norms:
        return
    means, variances, counts = [], [], []  # (C,) each, C the channels of all layers together
    with _statistics_of_each_batch(net, norms) as num_values:
        for clips in batches:
            net(clips)
            means.append(torch.cat([norm.running_mean for norm in norms]))
            # `running_var` is the sum of squares over n - 1, what a batch is normalized with that over n
            variances.append(torch.cat([norm.running_var * (1 - 1 / num_values[norm]) for norm in norms]))
            counts.append(torch.cat([torch.full_like(norm.running_mean, num_values[norm]) for norm in norms]))
    zeros = torch.zeros(1, sum(norm.num_features for norm in norms), device=norms[0].running_mean.device)
    means, variances, counts = (torch.stack(values) if values else zeros for values in (means, variances, counts))
    total = over_ranks(counts.sum(dim=0))
    if not total.all():  # no rank had a batch
        return
    mean = over_ranks((counts * means).sum(dim=0)) / total
    variance = over_ranks((counts * (variances + (means - mean) ** 2)).sum(dim=0)) / total
    widths = [norm.num_features for norm in norms]
    for norm, its_mean, its_variance in zip(norms, mean.split(widths), variance.split(widths), strict=True):
        norm.running_mean.copy_(its_mean)
        norm.running_var.copy_(its_variance)


def _is_trained(norm: _BatchNorm) -> bool:
    return norm.weight is None or norm.weight.requires_grad


@contextmanager
def _statistics_of_each_batch(net: nn.Module, norms: list[_BatchNorm]) -> Iterator[dict[_BatchNorm, int]]:
    """Inside, only `norms` are in training, and their running statistics those of the last batch alone.

    Yields how many values each of them had in it.
    """
    num_values: dict[_BatchNorm, int] = {}

    def count(norm: _BatchNorm, inputs: tuple[Tensor]) -> None:
        num_ranks = torch.distributed.get_world_size() if isinstance(norm, nn.SyncBatchNorm) else 1
        num_values[norm] = num_ranks * inputs[0].numel() // norm.num_features

    modes = [(module, module.training) for module in net.modules()]
    before = [(norm.momentum, norm.num_batches_tracked.clone()) for norm in norms]
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
            norm.num_batches_tracked.copy_(tracked)
        for module, training in modes:
            module.training = training
