"""What the tools share: a parser that reports an error in one line, and a network that a config describes."""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import yaml
from jsonargparse import ActionConfigFile, ArgumentParser, DefaultHelpFormatter, Namespace

from videoctx.cli.parts import with_parts
from videoctx.value_message import short_message

if TYPE_CHECKING:
    from torch import nn

NET_HELP = "--model.net.help"
NET_OPTIONS = {  # of every tool that takes a network, as --help lists them
    ("-c", "--config"): ("CONFIG", "a config with model.net: a file, or a name that `videoctx configs` lists"),
    ("--model.net",): ("CLASS", "the network's class; its arguments follow as --model.net.NAME"),
    (NET_HELP,): ("[CLASS]", "list the arguments of a network's class, by default videoctx.models.ResNet3D, and exit"),
}


class ToolHelp(DefaultHelpFormatter):
    """Adds to a help text whether the argument is required, or its default value, and not its Python type."""

    def _get_help_string(self, action: argparse.Action) -> str:
        text = action.help or ""
        if action.required and action.option_strings:
            return f"{text} (required)"
        if action.default in (None, False, argparse.SUPPRESS, []) or not action.option_strings:
            return text
        return f"{text} (default: %(default)s)"


class ToolParser(ArgumentParser):
    """A parser whose errors are a `ValueError`, which the command line prints in one line."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        raise ValueError(short_message(message)) from ex


def tool_parser(prog: str, description: str | None) -> ToolParser:
    """Return the parser of a tool, without arguments.

    Args:
        prog: the command, such as `videoctx classify`.
        description: what the tool does, printed by `--help`.
    """
    return ToolParser(prog=prog, description=description, formatter_class=ToolHelp, print_config=None)


@dataclass(frozen=True, slots=True)
class Network:
    """A network as a config describes it. A call with a number of classes makes one."""

    make: Callable[[int], "nn.Module"] | None  # None: the config names no network
    config: dict[str, Any] | None  # its class_path and init_args

    def __call__(self, num_classes: int) -> "nn.Module":
        assert self.make is not None
        return self.make(num_classes)


def net_from_config(
    parser: ArgumentParser,
    arguments: Sequence[str],
    *,
    required: bool = True,
    settings: Callable[[], Mapping[str, type]] = dict,
    values: Sequence[str] = (),
) -> tuple[Network, Namespace]:
    """Add the options of a network to a tool's parser, and parse the tool's arguments.

    A config may be any that `fit` takes. All of it but `model.net`, `settings` and `values` is ignored. `--help` does
    not import torch, and leaves the network's own arguments to `--model.net.help`. Unlike in training, a config can
    name only networks and layers.

    Args:
        required: Whether there must be a network.
        settings: Returns further groups of options that a config may have, such as `data.clips`, and their dataclasses.
        values: Options of the tool that a config may have, too, such as `model.weights`.

    Returns:
        The network, and the tool's own arguments.

    Raises:
        ValueError: A class of the config is no `nn.Module` (`check_network`).
    """
    if not {"-h", "--help"}.isdisjoint(arguments):
        _print_help(parser, required=required)
        sys.exit()
    from torch import nn

    from videoctx.cli.network_check import check_network

    net_type = Callable[[int], nn.Module]
    parser.add_argument("-c", "--config", action=ActionConfigFile, required=required)
    parser.add_argument("--model.net", type=net_type if required else net_type | None, required=required)
    groups = settings()
    for group, kind in groups.items():
        parser.add_class_arguments(kind, group)
    arguments = _with_net_class(with_parts(arguments))
    for position, argument in enumerate(arguments[1:], start=1):
        if arguments[position - 1] in ("-c", "--config"):
            config = yaml.safe_load(argument)
            arguments[position] = yaml.safe_dump(_parts_of(config, ["model.net", *groups, *values]))
    config = parser.parse_args(arguments)
    check_network(config.model.net)
    plain = (yaml.safe_load(parser.dump(config, skip_unset=False)).get("model") or {}).get("net")
    options = parser.instantiate(config)
    return Network(options.model.net, plain), options


def _parts_of(config: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    """Return what a config has of some keys, such as `model.net`.

    >>> _parts_of({"data": {"clips": {"clip_len": 4}, "seed": 1}}, ["data.clips"])
    {'data': {'clips': {'clip_len': 4}}}
    """
    parts: dict[str, dict[str, Any]] = {}
    for section, _, name in (key.partition(".") for key in keys):
        found = config.get(section)
        if isinstance(found, dict) and name in found:
            parts.setdefault(section, {})[name] = found[name]
    return parts


def _print_help(parser: ArgumentParser, *, required: bool) -> None:
    group = parser.add_argument_group("network", None if required else "by default that of the checkpoint")
    for names, (metavar, text) in NET_OPTIONS.items():
        group.add_argument(*names, type=str, metavar=metavar, help=text, required=required and "-c" in names)
    parser.print_help()


def _with_net_class(arguments: list[str]) -> list[str]:
    """Let `--model.net.help` without a class list the arguments of a ResNet3D."""
    if NET_HELP not in arguments:
        return arguments
    end = arguments.index(NET_HELP) + 1
    has_class = len(arguments) > end and not arguments[end].startswith("-")
    return arguments if has_class else [*arguments[:end], "videoctx.models.ResNet3D", *arguments[end:]]
