"""A trained network, from a checkpoint that `videoctx fit` wrote: the network, its classes, and what to feed it.

    trained = load_trained("runs/demo/nl/version_0/checkpoints/best.ckpt")
    probabilities = trained.probabilities(trained.net(clips))  # (B, 3, T, H, W) → (B, K), by trained.class_names

`trained.preprocessing` makes those clips: `sampler()` says which frames of a video, `transform()` what becomes of them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from videoctx.data.preprocessing import Preprocessing
from videoctx.models.architecture import shortened
from videoctx.models.checkpoints import read_stored
from videoctx.models.inference import for_inference, has_known_layers
from videoctx.models.network_config import build_network

PREFIX = "net."  # of the network's weights among those of the task


@dataclass(frozen=True, slots=True)
class TrainedNetwork:
    """
    Args:
        net: (B, 3, T, H, W) → logits (B, K), with trained weights, on the CPU, in evaluation mode.
        class_names: K names, in the order of the logits.
        net_config: `class_path` and `init_args` of the network; none where the checkpoint does not have them.
        preprocessing: how the clips of its test are made.
        multi_label: a video may show several classes.
    """

    net: nn.Module
    class_names: list[str]
    net_config: dict[str, Any] | None
    preprocessing: Preprocessing
    multi_label: bool

    def probabilities(self, logits: Tensor) -> Tensor:
        """Of the classes, from logits (…, K): they sum to one, unless a video may show several."""
        return logits.float().sigmoid() if self.multi_label else logits.float().softmax(dim=-1)

    def for_evaluation(self) -> "TrainedNetwork":
        """With the network as `videoctx test` runs it in float32, on the device where it is: faster, the same but for
        rounding."""
        if not has_known_layers(self.net):
            return self
        device = next(self.net.parameters()).device
        return replace(self, net=for_inference(self.net, device, dtype=torch.float32))


def load_trained(path: str | Path, *, make_net: Callable[[int], nn.Module] | None = None) -> TrainedNetwork:
    """Build the network of a checkpoint and load its weights, all of them; nothing stored in the file is run.

    Args:
        make_net: makes the network for a number of classes; by default it is made of the checkpoint's own config,
            which can name networks and layers of this package alone. Those of others must be given.

    Raises:
        ValueError: no checkpoint, a damaged one, one that `fit` did not write, one that does not say its classes or how
            its clips are made, one whose network is not of this package, or weights that do not fit `make_net`'s.
    """
    stored = read_stored(path)
    if not isinstance(stored, Mapping) or not isinstance(stored.get("state_dict"), Mapping):
        raise ValueError(f"{path}: not a checkpoint that `videoctx fit` wrote")
    for name, meaning in (("class_names", "which classes it tells apart"), ("preprocessing", "how its clips are made")):
        if not stored.get(name):
            raise ValueError(
                f"{path}: does not say {meaning} ({name}); expected a checkpoint that this version's `videoctx fit`"
                " wrote"
            )
    class_names, net_config = list(stored["class_names"]), stored.get("net")
    try:
        preprocessing = Preprocessing.from_dict(stored["preprocessing"])
        if make_net is None and not net_config:
            raise ValueError("does not say which network it is of; give the network with -c")
        net = make_net(len(class_names)) if make_net else build_network(net_config, len(class_names))
        _load(net, stored["state_dict"])
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return TrainedNetwork(net.eval(), class_names, net_config, preprocessing, bool(stored.get("multi_label")))


def _load(net: nn.Module, state_dict: Mapping[str, Any]) -> None:
    weights = {name.removeprefix(PREFIX): tensor for name, tensor in state_dict.items() if name.startswith(PREFIX)}
    ours = net.state_dict()
    reshaped = {name for name in ours.keys() & weights.keys() if ours[name].shape != weights[name].shape}
    if other := sorted((ours.keys() ^ weights.keys()) | reshaped):
        raise ValueError(
            f"its weights are of another network: {len(other)} differ in name or shape ({shortened(other)});"
            " expected the network that it was trained with"
        )
    net.load_state_dict(weights)
