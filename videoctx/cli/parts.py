"""Replaces the config files on a command line by their contents, with the parts of each before it."""

import os
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from videoctx.cli.current_folder import make_importable
from videoctx.cli.replaced_classes import without_replaced_arguments
from videoctx.cli.run_config import for_command
from videoctx.shipped_configs import SUFFIXES, find_config, parse_config, read_parts

# Values that follow from another, and from which. They are never set on their own.
LINKED = {
    ("data", "seed"): "seed_everything",
    ("model", "seed"): "seed_everything",
    ("model", "class_names"): "data.class_file",
    ("model", "multi_label"): "data.multi_label",
}

SECTIONS = {section for section, _ in LINKED} | {"trainer", "checkpoint", "last_checkpoint", "learning_rate"}

RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID")  # environment variables of launchers: only rank zero reports

CONFIG_TEXT = re.compile(r"\s*$|.*[:{\n]|\[", re.DOTALL)  # YAML, not the name of a file or of a shipped config


def with_parts(arguments: Sequence[str]) -> list[str]:
    """Replace every `--config NAME`, `--config=NAME` and `-c NAME` by the texts of the config and of its parts.

    NAME is a YAML or JSON file or the name of a shipped config. A config may name others under `parts`, relative to
    itself: they come first, in order, and the config's own keys override theirs. A config that names the class of
    `model.net`, itself or in a part, replaces the network of the configs before it, so that no argument of that one is
    left. What an experiment sets of a network that it does not name stays. A YAML text stays as it is. The config of a
    run is taken without what does not belong to the command (`videoctx.cli.run_config`). Elsewhere too, a class that
    replaces another does not get its arguments, which a line on stderr reports (`videoctx.cli.replaced_classes`).

    Raises:
        ValueError: there is no such config, or it cannot be read.
    """
    expanded: list[str] = []
    groups: list[int] = []  # of each expanded argument, the number of the argument that it is from
    remaining = iter(arguments)
    for argument in remaining:
        groups += [len(groups)] * (len(expanded) - len(groups))
        option, separator, value = argument.partition("=")
        if option not in ("-c", "--config"):
            expanded.append(argument)
            continue
        if not separator:
            value = next(remaining, "")
        if not value.endswith(SUFFIXES) and CONFIG_TEXT.match(value):
            parse_config(value, option)
            expanded += [option, value]
            continue
        configs = list(_configs(value, arguments[0]))
        if any("class_path" in _network(config) for config in configs):
            _remove_networks(expanded)
        for config in configs:
            expanded += [option, yaml.safe_dump(config, sort_keys=False)]
    groups += [len(groups)] * (len(expanded) - len(groups))
    make_importable(expanded)
    kept, lines = without_replaced_arguments(expanded, groups)
    if is_first_rank():
        for line in lines:
            print(line, file=sys.stderr)
    return kept


def is_first_rank() -> bool:
    """Return whether this process is rank zero, by the variables of its launcher: only that one reports."""
    return all(os.environ.get(name, "0") == "0" for name in RANKS)


def _network(config: dict[str, Any]) -> dict[str, Any]:
    """Return what a config sets of `model.net`."""
    net = config.get("model", {}).get("net")
    return net if isinstance(net, dict) else {}


def _remove_networks(arguments: list[str]) -> None:
    """Remove the networks from the expanded configs among `arguments`: files of a network alone, and named classes."""
    for position, option in enumerate(arguments[:-1]):
        if option not in ("-c", "--config") or not CONFIG_TEXT.match(arguments[position + 1]):
            continue
        try:
            config = yaml.safe_load(arguments[position + 1])
        except yaml.YAMLError:
            continue  # jsonargparse reports it
        if not isinstance(config, dict) or not isinstance(config.get("model", {}), dict) or not _network(config):
            continue
        if "class_path" in _network(config) or (config.keys() == {"model"} and config["model"].keys() == {"net"}):
            del config["model"]["net"]
            arguments[position + 1] = yaml.safe_dump(config, sort_keys=False)


def _configs(name: str, command: str) -> Iterator[dict[str, Any]]:
    """Yield a config without `parts`, its parts first.

    Raises:
        ValueError: A section is not a mapping, or sets a value that follows from another.
    """
    named = Path(name) if Path(name).is_file() else find_config(name)
    for file, config in read_parts(named):
        for section in SECTIONS & config.keys():
            if not isinstance(config[section], dict):
                raise ValueError(f"{file}: {section} is {config[section]!r}; expected keys and values")
        for section, key in LINKED:
            if key in config.get(section, {}):
                linked = LINKED[section, key]
                raise ValueError(f"{file}: {section}.{key} follows from {linked}; expected it there alone")
        yield for_command(config, file, command)
