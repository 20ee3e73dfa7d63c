"""Loading weights into a network: all of them, or none where something does not fit."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor, nn

from videoctx.first_few import first_few
from videoctx.models.class_order import classifier_parameters
from videoctx.models.finite_weights import warn_of_not_finite
from videoctx.models.new_blocks import start_new_blocks

# BatchNorm's counters are newer than some checkpoints, and no norm of this package reads them: its momentum is fixed.
COUNTERS = "num_batches_tracked"


@dataclass(frozen=True, slots=True)
class LoadReport:
    """Parameter names that did not come from the weights, or had no place in the network.

    Attributes:
        missing: in the network only.
        unexpected: in the weights only.
        reshaped: name → shape in the weights, shape in the network.
        started: of the missing ones, those of blocks in the place of a convolution that start from its kernel.
    """

    missing: list[str]
    unexpected: list[str]
    reshaped: dict[str, tuple[tuple[int, ...], tuple[int, ...]]]
    started: frozenset[str] = frozenset()

    @property
    def new(self) -> list[str]:
        """Names of the parameters that nothing in the weights determines."""
        return [name for name in (*self.missing, *self.reshaped) if name not in self.started]

    def __str__(self) -> str:
        reshaped = [f"{name} {theirs} → {ours}" for name, (theirs, ours) in self.reshaped.items()]
        parts = {"missing": self.missing, "unexpected": self.unexpected, "reshaped": reshaped}
        return ", ".join(
            f"{len(names)} {part}" + f" ({first_few(names)})" * bool(names) for part, names in parts.items()
        )

    def __bool__(self) -> bool:
        return bool(self.missing or self.unexpected or self.reshaped)


def load_weights(
    net: nn.Module,
    state_dict: Mapping[str, Tensor],
    *,
    allow_new_head: bool = False,
    allow_new_blocks: bool = False,
) -> LoadReport:
    """Load weights by this package's names into `net`. A warning names those that are not finite.

    Args:
        allow_new_head: A classifier that is missing, or is for another number of classes, keeps its initial weights.
        allow_new_blocks: A neck, context blocks that the weights do not have, and blocks in the place of a convolution
            (self-calibrated ones), start as `videoctx.models.new_blocks` describes: where that can be, the network then
            computes what it would compute without them.

    Raises:
        ValueError: Anything else is missing, unexpected or of another shape. Nothing is loaded then.

    >>> from torch import nn
    >>> net = nn.ModuleDict({"stem": nn.Linear(2, 2), "head": nn.Linear(2, 3)})
    >>> other = nn.ModuleDict({"stem": nn.Linear(2, 2), "head": nn.Linear(2, 5)})
    >>> print(load_weights(net, other.state_dict(), allow_new_head=True))
    0 missing, 0 unexpected, 2 reshaped (head.weight (5, 2) → (3, 2), head.bias (5,) → (3,))
    """
    template = net.state_dict()
    report = LoadReport(
        missing=[name for name in template if name not in state_dict and not name.endswith(COUNTERS)],
        unexpected=[name for name in state_dict if name not in template],
        reshaped={
            name: (tuple(state_dict[name].shape), tuple(tensor.shape))
            for name, tensor in template.items()
            if name in state_dict and state_dict[name].shape != tensor.shape
        },
    )
    blocks, replaced = _new_blocks(report, state_dict) if allow_new_blocks else (set(), set())
    has_new_neck = any(name.startswith("neck.") for name in blocks)  # and so a classifier of other features
    heads = set(classifier_parameters(net)) if allow_new_head or has_new_neck else set()
    if set(report.unexpected) - replaced or set(report.missing) - heads - blocks or set(report.reshaped) - heads:
        raise ValueError(f"the weights do not fit the network: {report}")
    net.load_state_dict({name: state_dict[name] for name in state_dict if name not in report.reshaped}, strict=False)
    warn_of_not_finite(net, "the weights that were loaded")
    started = start_new_blocks(net, blocks, {name: state_dict[name] for name in replaced})
    return replace(report, started=frozenset(started))


def _new_blocks(report: LoadReport, state_dict: Mapping[str, Tensor]) -> tuple[set[str], set[str]]:
    """Return the names inside new blocks, and the names of the convolutions that they replace."""
    blocks = {name for name in report.missing if re.search(r"\.after_(add|1x1)\.|^neck\.", name)}
    replaced = set()
    for name in report.unexpected:
        if name.endswith(".weight") and state_dict[name].ndim == 5:
            inside = {other for other in report.missing if other.startswith(name.removesuffix("weight"))}
            blocks |= inside
            replaced |= {name} if inside else set()
    return blocks, replaced
