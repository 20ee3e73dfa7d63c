"""The configs that come with the package, by name; and configs that are made of parts.

A config may name others under `parts`, relative to itself. They are read first, in order, and the config's own keys
override theirs.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

SUFFIXES = (".yaml", ".yml")


def configs_folder() -> Path:
    """Return the folder of the shipped configs, which in a checkout is a link to `configs`."""
    return Path(__file__).parent / "configs"


def list_configs(pattern: str = "*") -> dict[str, str]:
    """Return the shipped configs: name, such as `model/slow_r50_gc5`, → the first line of the file's comment.

    >>> list_configs("model/c2d_r50*")["model/c2d_r50"].startswith("C2D")
    True
    """
    return {name: _description(path) for name, path in _shipped().items() if fnmatchcase(name, pattern)}


def find_config(name: str, *, group: str | None = None) -> Path:
    """Return the file of a config.

    Args:
        name: A file, which comes first, or the name of a shipped config with or without its group: `own_videos`,
            `experiment/own_videos`.
        group: Search only this group of the shipped configs, such as `model`.

    Raises:
        ValueError: There is no such config, or there are several.

    >>> find_config("slow_r50_gc5").name
    'slow_r50_gc5.yaml'
    """
    for suffix in ("", *SUFFIXES):
        if name and (path := Path(name + suffix)).suffix in SUFFIXES and path.is_file():
            return path
    shipped = _shipped()
    if group:
        shipped = {known: path for known, path in shipped.items() if known.startswith(f"{group}/")}
    wanted = name.removesuffix(".yaml").removesuffix(".yml")
    if wanted in shipped:
        return shipped[wanted]
    found = [known for known in shipped if known.partition("/")[2] == wanted]
    if len(found) == 1:
        return shipped[found[0]]
    if found:
        raise ValueError(f"several configs are named {name!r}; expected one of {', '.join(found)}")
    short = {known.partition("/")[2]: known for known in shipped}
    near = dict.fromkeys(
        short.get(match, match) for match in difflib.get_close_matches(wanted, [*short, *shipped], n=5, cutoff=0.5)
    )
    if group:
        expected = [known.partition("/")[2] for known in near]
        listing = "one of videoctx.list_models()" if group == "model" else f"one of {', '.join(short)}"
        raise ValueError(f"no {group} is named {name!r}; expected {_perhaps(expected) or listing}")
    listing = "a file, or one of those that `videoctx configs` lists"
    raise ValueError(f"{name}: no such file, and no config of that name; expected {_perhaps(list(near)) or listing}")


def read_parts(path: str | Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the parts of a config and then the config itself, each with its file and without its `parts`.

    Raises:
        ValueError: A file cannot be read, is not a config, or is a part of itself.
    """
    yield from _parts(Path(path), ())


def read_config(path: str | Path) -> dict[str, Any]:
    """Return a config merged with its parts.

    Raises:
        ValueError: A file cannot be read, is not a config, or is a part of itself.

    >>> net = read_config(find_config("slow_r50_gc5"))["model"]["net"]
    >>> net["init_args"]["temporal_kernels"], net["init_args"]["context"]["init_args"]
    ('slow', {'ratio': 0.25})
    """
    merged: dict[str, Any] = {}
    for _, config in read_parts(path):
        merged = merge(merged, config)
    return merged


def merge(config: Mapping[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    """Return `config` with the keys of `override`; nested mappings are merged, except those of different classes.

    >>> merge({"a": {"b": 1, "c": 2}}, {"a": {"c": 3}})
    {'a': {'b': 1, 'c': 3}}
    """
    merged = dict(config)
    for name, value in override.items():
        own = merged.get(name)
        merged[name] = value
        if isinstance(own, Mapping) and isinstance(value, Mapping):
            same_class = value.get("class_path", own.get("class_path")) == own.get("class_path")
            merged[name] = merge(own, value) if same_class else value
    return merged


def parse_config(text: str, source: str) -> dict[str, Any]:
    """Return the keys and values of a YAML text, of which JSON is one.

    Args:
        source: Its file or the option that it is given to, for the message.

    Raises:
        ValueError: It is not YAML, or not of keys and values.
    """
    import yaml

    class UniqueKeys(yaml.SafeLoader):
        """A loader that refuses a key that occurs twice, which YAML forbids; PyYAML would take the last one."""

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
            keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
            for key in keys:
                if keys.count(key) > 1 and key != "<<":
                    message = f"the key {key!r} is there twice"
                    raise yaml.constructor.ConstructorError(None, None, message, node.start_mark)
            return super().construct_mapping(node, deep)

    try:
        config = yaml.load(text, UniqueKeys)
    except yaml.YAMLError as error:
        raise ValueError(f"{source}: not a YAML file: {' '.join(str(error).split())}") from error
    if config is None and text.strip():
        return {}  # comments
    if not isinstance(config, dict):
        found = type(config).__name__ if text.strip() else "nothing"
        raise ValueError(f"{source}: expected a config of keys and values, got {found}")
    return config


def _perhaps(near: Sequence[str]) -> str:
    return f"perhaps {', '.join(near)}" if near else ""


def _shipped() -> dict[str, Path]:
    folder = configs_folder()
    paths = [path for suffix in SUFFIXES for path in folder.glob(f"*/*{suffix}")]
    return {path.relative_to(folder).with_suffix("").as_posix(): path for path in sorted(paths)}


def _description(path: Path) -> str:
    with path.open(encoding="utf-8") as file:
        first = file.readline()
    return first.lstrip("#").strip() if first.startswith("#") else ""


def _parts(path: Path, parents: tuple[Path, ...]) -> Iterator[tuple[Path, dict[str, Any]]]:
    if path.resolve() in parents:
        raise ValueError(f"{path}: the config is a part of itself")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not a text file in UTF-8 ({error.reason}); expected a YAML file") from error
    except OSError as error:
        named_by = f", named under parts in {parents[-1]}" if parents else ""
        raise ValueError(f"{path}: cannot read the config ({error.strerror}){named_by}") from error
    config = parse_config(text, str(path)) if text.strip() else {}
    parts = config.pop("parts", [])
    if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
        raise ValueError(f"{path}: parts is {parts!r}; expected a list of config files")
    for part in parts:
        yield from _parts(path.parent / part, (*parents, path.resolve()))
    if config:
        yield path, config
