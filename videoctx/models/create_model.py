"""Networks by the name of their config."""

import difflib
import inspect
import logging
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from torch import nn

from videoctx.models.checkpoints import read_checkpoint
from videoctx.models.load_weights import load_weights
from videoctx.models.network_config import build_network, import_from_package
from videoctx.shipped_configs import find_config, list_configs, read_config

log = logging.getLogger(__name__)


def list_models(pattern: str = "*") -> list[str]:
    """Return the names that `create_model` accepts: the files of `configs/model`.

    >>> list_models("slow_r50_gc*")
    ['slow_r50_gc5', 'slow_r50_gc_all']
    """
    names = [name.removeprefix("model/") for name in list_configs("model/*")]
    return [name for name in names if fnmatchcase(name, pattern)]


def create_model(name: str, num_classes: int, *, weights: str | Path | None = None, **overrides: Any) -> nn.Module:
    """Create a network by name: (B, 3, T, H, W) → logits (B, num_classes).

    Args:
        name: One of `list_models()`, or a YAML file with `model.net`.
        num_classes: Number of outputs.
        weights: A checkpoint of any project that `videoctx convert` reads. Weights of an image network are inflated
            over time. A classifier for another number of classes keeps its initial weights. Context blocks that the
            checkpoint does not have start as the network without them, where they can. What was not loaded is logged.
        overrides: Arguments of the network instead of those of its config, such as `dropout=0.2`.

    Raises:
        ValueError: There is no such network or argument, or the weights do not fit.

    >>> net = create_model("demo_r18_gc", num_classes=10, dropout=0.2)
    >>> net.head.out_features, net.dropout.p
    (10, 0.2)
    """
    path = find_config(name, group="model")
    config = read_config(path).get("model", {})
    config = config.get("net") if isinstance(config, dict) else None
    if not isinstance(config, dict) or "class_path" not in config:
        raise ValueError(f"{path}: has no model.net with class_path; expected one of list_models(), or such a file")
    _check_overrides(config["class_path"], overrides)
    net = build_network(config | {"init_args": config.get("init_args", {}) | overrides}, num_classes)
    if weights is not None:
        checkpoint = read_checkpoint(weights)
        try:
            report = load_weights(
                net,
                checkpoint.weights_for(net),
                allow_new_head=checkpoint.num_classes != num_classes,
                allow_new_blocks=True,
            )
        except ValueError as error:
            raise ValueError(f"{weights}: {error}") from error
        log.info("%s: weights of %s; not loaded: %s", weights, checkpoint.format, report)
    return net


def _check_overrides(class_path: str, overrides: dict[str, Any]) -> None:
    network = import_from_package(class_path)
    known = [name for name in inspect.signature(network).parameters if name != "num_classes"]
    for name in overrides:
        if name not in known:
            near = difflib.get_close_matches(name, known)
            expected = f"perhaps {', '.join(near)}" if near else f"one of {', '.join(known)}"
            raise ValueError(f"{class_path.rpartition('.')[2]} has no argument {name!r}; expected {expected}")
