"""A short name of a network, for the title of a report."""

from torch import nn

from videoctx.models.network_config import network_config


def network_name(net: nn.Module) -> str:
    """Return the class, the depth and the context blocks of a network; of a network of the user's own, its class.

    >>> from videoctx.layers import NonLocal
    >>> from videoctx.models import ResNet3D
    >>> network_name(ResNet3D(10, depth=18, width=8, context=NonLocal, context_at={"res3": [1], "res4": [0, 1]}))
    'ResNet3D-18 + NonLocal at res3.1, res4.0, res4.1'
    """
    config = network_config(net)
    if config is None:
        return type(net).__name__
    arguments = config.get("init_args", {})
    name = _last(config["class_path"])
    if "depth" in arguments:
        name += f"-{arguments['depth']}"
    if not isinstance(context := arguments.get("context"), dict):
        return name
    name += f" + {_last(context['class_path'])}"
    placed = arguments.get("context_at")
    if not isinstance(placed, dict):
        return name
    return f"{name} at {', '.join(f'{stage}.{index}' for stage, indices in placed.items() for index in indices)}"


def _last(path: str) -> str:
    return path.rpartition(".")[2]
