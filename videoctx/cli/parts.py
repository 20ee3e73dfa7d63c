"""Replaces the config files on a command line by their contents, with the parts of each before it."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

from videoctx.shipped_configs import SUFFIXES, find_config, read_parts

# Values that follow from another, and from which. They are never set on their own.
LINKED = {
    ("data", "seed"): "seed_everything",
    ("model", "seed"): "seed_everything",
    ("model", "class_names"): "data.class_file",
    ("model", "multi_label"): "data.multi_label",
}

SECTIONS = {section for section, _ in LINKED} | {"trainer", "checkpoint", "last_checkpoint", "learning_rate"}

CONFIG_TEXT = re.compile(r"\s*$|.*[:{\n]", re.DOTALL)  # YAML, not the name of a file or of a shipped config


def with_parts(arguments: Sequence[str]) -> list[str]:
    """Replace every `--config NAME`, `--config=NAME` and `-c NAME` by the texts of the config and of its parts.

    NAME is a YAML file or the name of a shipped config. A config may name others under `parts`, relative to itself:
    they come first, in order, and the config's own keys override theirs. A YAML text, and a file of another format,
    stay as they are.

    Raises:
        ValueError: there is no such config, or it cannot be read.
    """
    expanded: list[str] = []
    remaining = iter(arguments)
    for argument in remaining:
        option, separator, value = argument.partition("=")
        if option not in ("-c", "--config"):
            expanded.append(argument)
            continue
        if not separator:
            value = next(remaining, "")
        if not value.endswith(SUFFIXES) and (CONFIG_TEXT.match(value) or Path(value).is_file()):
            expanded += [option, value]  # jsonargparse reads a text, or a JSON file
            continue
        for text in _texts(value):
            expanded += [option, text]
    return expanded


def _texts(name: str) -> Iterator[str]:
    """Yield a config as YAML texts without `parts`, its parts first.

    Raises:
        ValueError: A section is not a mapping, or sets a value that follows from another.
    """
    for file, config in read_parts(find_config(name)):
        for section in SECTIONS & config.keys():
            if not isinstance(config[section], dict):
                raise ValueError(f"{file}: {section} is {config[section]!r}; expected keys and values")
        for section, key in LINKED:
            if key in config.get(section, {}):
                linked = LINKED[section, key]
                raise ValueError(f"{file}: {section}.{key} follows from {linked}; expected it there alone")
        yield yaml.safe_dump(config, sort_keys=False)
