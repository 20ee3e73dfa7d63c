"""A checkpoint of a classifier: the network with its weights, its classes, and how its clips are made.

| key | value |
|---|---|
| `state_dict` | the weights; in checkpoints of a training, the names begin with `net.` |
| `class_names` | K names, in the order of the logits |
| `net` | the config of the network (`videoctx.models.network_config`), or None for a network of the user's own |
| `preprocessing` | how test clips are made (`videoctx.data.preprocessing`), or None where the data did not tell |
| `multi_label` | whether a video may show several classes |

Training and `videoctx convert` write these keys, and more beside them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from videoctx.first_few import first_few
from videoctx.models.checkpoint_file import read_stored
from videoctx.models.finite_weights import warn_of_not_finite
from videoctx.models.network_config import build_network

PREFIX = "net."  # of the network's weights among those of the task that trained it


@dataclass(frozen=True, slots=True)
class StoredClassifier:
    """The content of a checkpoint.

    Attributes:
        net: The network with the trained weights, on the CPU.
        class_names: K names, in the order of the logits.
        net_config: The config of the network, or None for a network of the user's own.
        preprocessing: Plain values, or None where the checkpoint has none.
        multi_label: Whether a video may show several classes.
    """

    net: nn.Module
    class_names: list[str]
    net_config: dict[str, Any] | None
    preprocessing: dict[str, Any] | None
    multi_label: bool


def load_classifier(path: str | Path, *, net: Callable[[int], nn.Module] | nn.Module | None = None) -> StoredClassifier:
    """Read a checkpoint, build its network and load all weights. Nothing stored in the file is run.

    A warning names weights that are not finite.

    Args:
        path: A checkpoint that a training or `videoctx convert` wrote.
        net: The network, or a function that makes it for a number of classes. None: it is built from the config in the
            checkpoint.

    Raises:
        ValueError: The file is missing, damaged or no checkpoint of a classifier, or it has no config and `net` is not
            given, or the weights do not fit the network. The message names the file.
    """
    stored = read_stored(path)
    if not isinstance(stored, Mapping) or not isinstance(stored.get("state_dict"), Mapping):
        raise ValueError(f"{path}: not a checkpoint of videoctx; `videoctx convert` reads those of other projects")
    if not stored.get("class_names"):
        raise ValueError(f"{path}: has no class names; `videoctx convert --class_names` adds them")
    class_names, net_config = list(stored["class_names"]), stored.get("net")
    try:
        if isinstance(net, nn.Module):
            network = net
        elif net is not None:
            network = net(len(class_names))
        elif net_config:
            network = build_network(net_config, len(class_names))
        else:
            raise ValueError(
                "has no config of its network, which is not one of videoctx; expected the network, as net= in Python or"
                " with -c on the command line"
            )
        network.load_state_dict(_fitting(network, stored["state_dict"]))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    warn_of_not_finite(network, str(path))
    return StoredClassifier(
        network, class_names, net_config, stored.get("preprocessing"), bool(stored.get("multi_label"))
    )


def _fitting(net: nn.Module, state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the network's own weights, by the network's names.

    Raises:
        ValueError: Names or shapes differ from those of `net`.
    """
    weights = network_weights(state_dict)
    if other := other_weights(net.state_dict(), weights):
        raise ValueError(
            f"its weights are those of another network: {len(other)} differ in name or shape ({first_few(other)});"
            " expected the network that it was trained with"
        )
    return weights


def network_weights(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the network's weights by its own names, of a state dict of the network or of the task that trained it."""
    prefix = PREFIX if any(name.startswith(PREFIX) for name in state_dict) else ""
    return {name.removeprefix(prefix): tensor for name, tensor in state_dict.items() if name.startswith(prefix)}


def other_weights(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> list[str]:
    """Return the sorted names that only one of two state dicts has, or whose shapes differ."""
    reshaped = {name for name in first.keys() & second.keys() if first[name].shape != second[name].shape}
    return sorted((first.keys() ^ second.keys()) | reshaped)
