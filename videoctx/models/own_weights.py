"""Weights by the names of the network that they are for, which may be one of the user's own."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from torch import Tensor, nn

from videoctx.models.checkpoint_file import read_stored
from videoctx.models.checkpoint_formats import OURS
from videoctx.models.checkpoints import Checkpoint, read_checkpoint, stored_weights
from videoctx.models.class_order import classifier_parameters
from videoctx.models.load_weights import COUNTERS

OWN = replace(OURS, name="the network's own names")


def read_checkpoint_for(net: nn.Module, path: str | Path) -> Checkpoint:
    """Read a checkpoint for a network: by the network's own names where they fit, or else as `read_checkpoint` does.

    Args:
        net: the network. One that is not of this package takes no other names than its own.
        path: the file; it may hold a state dict alone, or one under a usual key.

    Raises:
        ValueError: The file is no checkpoint, or holds more than weights, numbers and text, or its names are unknown.
    """
    is_own = not type(net).__module__.startswith("videoctx.")
    if not is_own:
        return read_checkpoint(path)
    stored = read_stored(path, foreign=[])
    if isinstance(stored, Mapping) and "class_names" not in stored:
        names, known = _names(net.state_dict()), stored_weights(stored)
        for weights in known:
            if _names(weights) == names:
                return _as_named(net, weights)
        try:
            return read_checkpoint(path)
        except ValueError:
            if known[-1]:
                return _as_named(net, known[-1])  # what is missing or of another shape is reported as it is loaded
            raise
    return read_checkpoint(path)


def _names(weights: Iterable[str]) -> set[str]:
    return {name for name in weights if not name.endswith(COUNTERS)}


def _as_named(net: nn.Module, weights: dict[str, Tensor]) -> Checkpoint:
    rows = {len(weights[name]) for name in classifier_parameters(net) if name in weights and weights[name].ndim}
    return Checkpoint(
        format=OWN,
        state_dict=weights,
        net=None,
        unknown_net="a network of the user's own",
        num_classes=rows.pop() if len(rows) == 1 else None,
        class_names=None,
        multi_label=False,
        preprocessing=None,
        input=None,
        config_text="",
        notes=[],
        notes_on_net=[],
    )
