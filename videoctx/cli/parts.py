"""Configs are made of parts: a file may name others, and its own keys override theirs."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

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
    arguments = iter(arguments)
    for argument in arguments:
        name, separator, value = argument.partition("=")
        if name not in ("-c", "--config"):
            expanded.append(argument)
            continue
        if not separator:
            value = next(arguments, "")
        if not value.endswith((".yaml", ".yml")):
            expanded += [name, value]
            continue
        for text in _parts(Path(value), ()):
            expanded += [name, text]
    return expanded


def _parts(path: Path, parents: tuple[Path, ...]) -> Iterator[str]:
    """The config at `path` as YAML texts without `parts`, the parts' own first."""
    if path.resolve() in parents:
        raise ValueError(f"{path}: the config is a part of itself")
    try:
        config = yaml.load(path.read_text(encoding="utf-8"), _UniqueKeys) or {}
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not a text file in UTF-8 ({error.reason}); expected a YAML file") from error
    except OSError as error:
        named_by = f", named under parts in {parents[-1]}" if parents else ""
        raise ValueError(f"{path}: cannot read the config ({error.strerror}){named_by}") from error
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: not a YAML file: {' '.join(str(error).split())}") from error
    if not isinstance(config, dict):
        raise ValueError(f"{path}: expected a config of keys and values, got {type(config).__name__}")
    parts = config.pop("parts", [])
    if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
        raise ValueError(f"{path}: parts is {parts!r}; expected a list of config files")
    for section in SECTIONS & config.keys():
        if not isinstance(config[section], dict):
            raise ValueError(f"{path}: {section} is {config[section]!r}; expected keys and values")
    for section, name in LINKED:
        if name in config.get(section, {}):
            raise ValueError(f"{path}: {section}.{name} follows from {LINKED[section, name]}; expected it there alone")
    for part in parts:
        yield from _parts(path.parent / part, (*parents, path.resolve()))
    if config:
        yield yaml.safe_dump(config, sort_keys=False)


class _UniqueKeys(yaml.SafeLoader):
    """Refuses what YAML forbids and PyYAML takes: of two equal keys it would keep the last without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for key in keys:
            if keys.count(key) > 1 and key != "<<":
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} is there twice", node.start_mark)
        return super().construct_mapping(node, deep)
