"""A class that replaces another on a command line starts from its own defaults.

jsonargparse hands the arguments of the first class to the second where both have them: AdamW would train with the
learning rate and the weight decay that a config gives to SGD. Here they are removed, and a line reports them. The
classes of the Trainer keep them, because the name of a run is meant for any logger; a line reports that, too.
"""

import importlib
import inspect
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

Path = tuple[str, ...]  # of a key, without `init_args`

CLASS_KEYS = {("model", name) for name in ("optimizer", "schedule", "mixing", "net")} | {
    ("trainer", name) for name in ("logger", "strategy", "profiler")
}
CLASS_NAME = re.compile(r"(?!(?:null|true|false)$)[A-Za-z_]\w*(\.\w+)*")
DEFAULT_OPTIMIZER = "torch.optim.SGD"  # of VideoClassifier
DEFAULT_ARGUMENTS = ("lr", "momentum", "nesterov", "weight_decay")  # that it is given
DROPPED_IN = "model"  # the section whose classes start from their own defaults
CONFIG_OPTIONS = ("-c", "--config")


@dataclass(slots=True)
class Source:
    """A config text or an option of a command line.

    Attributes:
        arguments: the command-line arguments that it consists of, of which the last one is a text.
        path: of an option's key; empty for a config.
        content: of the text.
        group: a number that the parts of one config share.
    """

    arguments: list[str]
    path: Path
    content: Any
    group: int
    removed: bool = False
    changed: bool = field(default=False)


def without_replaced_arguments(arguments: Sequence[str], groups: Sequence[int]) -> tuple[list[str], list[str]]:
    """Return a command line without the arguments of replaced classes, and a line for each class that has lost some.

    Args:
        arguments: with configs as YAML texts.
        groups: for each argument, a number that the parts of one config share. Nothing is reported inside one config.

    >>> config = "model: {optimizer: {class_path: torch.optim.SGD, init_args: {lr: 0.1}}}"
    >>> command = ["fit", "-c", config, "--model.optimizer=torch.optim.AdamW"]
    >>> kept, lines = without_replaced_arguments(command, [0, 1, 1, 2])
    >>> kept
    ['fit', '-c', 'model: {}\\n', '--model.optimizer=torch.optim.AdamW']
    >>> lines
    ['model.optimizer: torch.optim.AdamW has its own defaults, without lr 0.1 of torch.optim.SGD']
    """
    sources = list(_sources(arguments, groups))
    classes: dict[Path, tuple[str, int]] = {}  # the class of a key so far, and the group that has set it
    lines = []
    for number, source in enumerate(sources):
        for path, name in _classes(source, classes):
            before, group = classes.get(path, ("", -1))
            if before and not _same_class(before, name):
                line = _replace(sources[:number], path, before, name)
                lines += [line] if line and group != source.group else []
                for nested in [nested for nested in classes if nested[: len(path)] == path]:
                    del classes[nested]
            classes[path] = name, source.group
    kept = []
    for source in sources:
        if source.changed:
            source.arguments[-1] = yaml.safe_dump(source.content, sort_keys=False)
        kept += [] if source.removed else source.arguments
    return kept, lines


def with_optimizer_defaults(arguments: Sequence[str]) -> list[str]:
    """Return the arguments of a command with the defaults of the optimizer that they choose, before all others.

    The parser would otherwise hand it the learning rate and the weight decay of the default one.

    >>> with_optimizer_defaults(["fit", "--model.optimizer=torch.optim.Adadelta"])[1]
    '--model.optimizer={"class_path": "torch.optim.Adadelta", "init_args": {"lr": 1.0, "weight_decay": 0}}'
    """
    key, name = ("model", "optimizer"), ""
    for source in _sources(arguments, [0] * len(arguments)):
        name = dict(_classes(source, {})).get(key, name)
    if not name or _same_class(name, DEFAULT_OPTIMIZER):
        return list(arguments)
    full_name = name if "." in name else f"torch.optim.{name}"
    own = {
        argument: value
        for argument, value in _defaults(full_name).items()
        if argument in DEFAULT_ARGUMENTS and isinstance(value, int | float)
    }
    option = json.dumps({"class_path": full_name, "init_args": own})
    return [*arguments[:1], f"--model.optimizer={option}", *arguments[1:]] if own else list(arguments)


def _sources(arguments: Sequence[str], groups: Sequence[int]) -> Iterator[Source]:
    position = 0
    while position < len(arguments):
        argument, group = arguments[position], groups[position]
        position += 1
        option, separator, value = argument.partition("=")
        if not option.startswith("-") or (not separator and argument not in CONFIG_OPTIONS and "." not in argument):
            yield Source([argument], (), None, group)
            continue
        used = [argument]
        if not separator and position < len(arguments) and not arguments[position].startswith("--"):
            value = arguments[position]
            used.append(value)
            position += 1
        content = _content(value)
        if option in CONFIG_OPTIONS:
            if separator:
                used = [option, value]
            yield Source(used, (), content if isinstance(content, dict) else None, group)
            continue
        path = tuple(part for part in option.lstrip("-").split(".") if part != "init_args")
        yield Source(used, path, content, group)


def _content(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return None


def _classes(source: Source, classes: Mapping[Path, object]) -> Iterator[tuple[Path, str]]:
    """Yield the key of each class that a source names, and the class."""
    path, content = source.path, source.content
    if path and path[-1] == "class_path":
        path, content = path[:-1], {"class_path": content}
    yield from _classes_in(content, path, classes)


def _classes_in(content: Any, path: Path, classes: Mapping[Path, object]) -> Iterator[tuple[Path, str]]:
    if isinstance(content, str) and (path in CLASS_KEYS or path in classes) and CLASS_NAME.fullmatch(content):
        yield path, content
    if not isinstance(content, Mapping):
        return
    if isinstance(name := content.get("class_path"), str):
        yield path, name
    for key, value in content.items():
        if key == "init_args":
            for argument, inner in value.items() if isinstance(value, Mapping) else ():
                yield from _classes_in(inner, (*path, str(argument)), classes)
        elif key != "class_path":
            yield from _classes_in(value, (*path, str(key)), classes)


def _same_class(first: str, second: str) -> bool:
    """Whether two names are of one class, of which one may be short."""
    short = "." not in first or "." not in second
    return first.rpartition(".")[2] == second.rpartition(".")[2] if short else first == second


def _replace(earlier: Sequence[Source], path: Path, before: str, name: str) -> str:
    """Remove what earlier sources give for a class, and return a line about it; empty where they give nothing."""
    given: dict[str, Any] = {}
    for source in earlier:
        given |= _arguments_of(source, path)
        if path[0] == DROPPED_IN:
            _remove(source, path)
    key = ".".join(path)
    if path[0] == DROPPED_IN:
        is_reported = bool(given) and not _is_missing(name)  # a missing class is an error of its own
        return f"{key}: {name} has its own defaults, without {_listed(given)} of {before}" if is_reported else ""
    kept = {argument: value for argument, value in given.items() if argument in _defaults(name)}
    return f"{key}: {name} keeps {_listed(kept)} of {before}" if kept else ""


def _listed(given: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" if not isinstance(value, Mapping) else name for name, value in given.items())


def _is_missing(name: str) -> bool:
    """Whether there is no class of a full name. Short names are left to jsonargparse."""
    module, _, attribute = name.rpartition(".")
    try:
        return bool(module) and not hasattr(importlib.import_module(module), attribute)
    except (ImportError, ValueError):
        return True


def _defaults(name: str) -> dict[str, Any]:
    """Return the arguments of a class with their defaults; empty where there is no such class."""
    module, _, attribute = name.rpartition(".")
    try:
        parameters = inspect.signature(getattr(importlib.import_module(module), attribute)).parameters
    except (ImportError, AttributeError, TypeError, ValueError):  # reported where the class is used
        return {}
    return {argument: parameter.default for argument, parameter in parameters.items()}


def _arguments_of(source: Source, path: Path) -> dict[str, Any]:
    """Return the arguments that a source gives to the class at `path`."""
    if source.removed:
        return {}
    if source.path and source.path[: len(path)] == path and len(source.path) > len(path):
        return {} if source.path[-1] == "class_path" else {".".join(source.path[len(path) :]): source.content}
    found = source.content
    for part in path[len(source.path) :] if path[: len(source.path)] == source.path else ():
        found = _inside(found).get(part)
    if found is source.content and source.path != path:
        return {}
    return {name: value for name, value in _inside(found).items() if name != "class_path"}


def _inside(content: Any) -> dict[str, Any]:
    """Return the keys of a mapping, with those of its `init_args`."""
    if not isinstance(content, Mapping):
        return {}
    inner = content.get("init_args")
    outer = {name: value for name, value in content.items() if name != "init_args"}
    return outer | (dict(inner) if isinstance(inner, Mapping) else {})


def _remove(source: Source, path: Path) -> None:
    """Remove a class with its arguments from a source."""
    if source.path and source.path[: len(path)] == path:
        source.removed = True
        return
    if path[: len(source.path)] != source.path:
        return
    places = [source.content]  # mappings in which the next part of the path may be
    for part in path[len(source.path) : -1]:
        places = [place.get(part) for place in _mappings(places)]
    for place in _mappings(places):
        if path[-1] in place:
            del place[path[-1]]
            source.changed = True


def _mappings(places: Sequence[Any]) -> list[dict[str, Any]]:
    found = [place for place in places if isinstance(place, dict)]
    return found + [place["init_args"] for place in found if isinstance(place.get("init_args"), dict)]
