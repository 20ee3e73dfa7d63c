"""Configs are made of parts: a file may name others, and its own keys override theirs."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

from videoctx.shipped_configs import read_parts

# What follows from something else, and from what: it is never set on its own.
LINKED = {
    ("data", "seed"): "seed_everything",
    ("model", "seed"): "seed_everything",
    ("model", "class_names"): "data.class_file",
    ("model", "multi_label"): "data.multi_label",
}

SECTIONS = {section for section, _ in LINKED} | {"trainer", "checkpoint", "last_checkpoint", "learning_rate"}


def with_parts(arguments: Sequence[str]) -> list[str]:
    """Put the parts of every config file on the command line before it.

    A config may name others under `parts`, relative to itself: they are read first, in order, and the config's
    own keys override theirs. `--config a.yaml`, `--config=a.yaml` and `-c a.yaml` are meant.
    """
    expanded: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        name, separator, value = argument.partition("=")
        if name not in ("-c", "--config"):
            expanded.append(argument)
            continue
        if not separator:
            value = next(rest, "")
        if not value.endswith((".yaml", ".yml")):
            expanded += [name, value]
            continue
        for text in _texts(Path(value)):
            expanded += [name, text]
    return expanded


def _texts(path: Path) -> Iterator[str]:
    """Yield the config at `path` as YAML texts without `parts`, its parts first.

    Raises:
        ValueError: A section is not a mapping, or sets a value that follows from another.
    """
    for file, config in read_parts(path):
        for section in SECTIONS & config.keys():
            if not isinstance(config[section], dict):
                raise ValueError(f"{file}: {section} is {config[section]!r}; expected keys and values")
        for section, name in LINKED:
            if name in config.get(section, {}):
                linked = LINKED[section, name]
                raise ValueError(f"{file}: {section}.{name} follows from {linked}; expected it there alone")
        yield yaml.safe_dump(config, sort_keys=False)
