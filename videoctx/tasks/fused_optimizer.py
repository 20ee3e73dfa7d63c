"""The step of an optimizer in one kernel for all parameters, instead of one or more per operation."""

import logging

from torch.optim import Optimizer

logger = logging.getLogger(__name__)

IMPLEMENTATIONS = ("foreach", "fused")  # settings of an optimizer's groups that do not change what it computes


def choose_step(optimizer: Optimizer, *, fused: bool) -> None:
    """Let an optimizer use its fused step, or the one it has been made with.

    It is this run's choice: the setting in a checkpoint does not replace it. An optimizer that has no fused step is
    left as it is, which a line reports.
    """
    if fused and "fused" in optimizer.defaults:
        for group in optimizer.param_groups:
            group.update(foreach=False, fused=True)
    elif fused:
        logger.warning(
            "model.fused_optimizer: %s has no fused step and uses its own; torch's SGD, Adam and AdamW have one",
            type(optimizer).__name__,
        )
    chosen = [{name: group[name] for name in IMPLEMENTATIONS if name in group} for group in optimizer.param_groups]

    def restore(loaded: Optimizer) -> None:
        for group, settings in zip(loaded.param_groups, chosen, strict=True):
            group.update(settings)

    optimizer.register_load_state_dict_post_hook(restore)
