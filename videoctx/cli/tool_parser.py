"""What our own tools share: arguments that are refused in one line, and a network from a config."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, NoReturn

import yaml
from jsonargparse import ActionConfigFile, ArgumentParser, Namespace
from torch import nn

from videoctx.cli.parts import with_parts


class ToolParser(ArgumentParser):
    """Says in one line what is wrong with the arguments."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        raise ValueError(message) from ex


class Network(NamedTuple):
    """A network as a config describes it: call it with a number of classes."""

    make: Callable[[int], nn.Module] | None  # none: the config names no network
    config: dict | None  # its class_path and init_args

    def __call__(self, num_classes: int) -> nn.Module:
        return self.make(num_classes)


def net_from_config(
    parser: ArgumentParser, arguments: Sequence[str], *, required: bool = True
) -> tuple[Network, Namespace]:
    """The network of a config's `model.net`, and the parser's own arguments.

    Every config that `fit` takes will do; what is not the network is passed over.
    """
    kind = Callable[[int], nn.Module]
    parser.add_argument("-c", "--config", action=ActionConfigFile, help="a config with model.net", required=required)
    parser.add_argument("--model.net", type=kind if required else kind | None, required=required, help="the network")
    arguments = with_parts(arguments)
    for position, argument in enumerate(arguments[1:], start=1):
        if arguments[position - 1] in ("-c", "--config"):
            model = yaml.safe_load(argument).get("model")
            network = {"model": {"net": model["net"]}} if isinstance(model, dict) and "net" in model else {}
            arguments[position] = yaml.safe_dump(network)
    config = parser.parse_args(arguments)
    plain = yaml.safe_load(parser.dump(config)).get("model", {}).get("net")
    options = parser.instantiate(config)
    return Network(options.model.net, plain), options
