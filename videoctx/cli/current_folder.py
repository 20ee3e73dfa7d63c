"""The current folder is importable where a class or function on the command line lies in it.

`python -m videoctx` finds the modules of the current folder, and the command `videoctx` would not. The folder comes
last in Python's search path, so that no file in it replaces an installed module, and only if a name on the command line
or in a config begins with a module that is in the folder and nowhere else.
"""

import importlib.util
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

DOTTED = re.compile(r"([A-Za-z_]\w*)(?:\.[A-Za-z_]\w*)+")
SECTIONS = ("model", "trainer")  # whose values may be classes and functions
FILES = ("weights", "default_root_dir", "save_dir", "dirpath")  # keys of files and folders


def make_importable(arguments: Sequence[str]) -> None:
    """Make the current folder importable if the arguments of a command name a module in it.

    Args:
        arguments: with configs as YAML texts.
    """
    folder = Path.cwd()
    if str(folder) in sys.path:
        return
    names = {name for argument in arguments for name in _modules(argument)}
    if any(_is_in(folder, name) and importlib.util.find_spec(name) is None for name in sorted(names)):
        sys.path.append(str(folder))
        importlib.invalidate_caches()


def _is_in(folder: Path, name: str) -> bool:
    return (folder / f"{name}.py").is_file() or (folder / name / "__init__.py").is_file()


def _modules(argument: str) -> Iterator[str]:
    """Yield the first parts of the dotted names in an option, its value, or the text of a config."""
    option, separator, value = argument.partition("=")
    if separator and option.startswith("--"):
        if option.removeprefix("--").startswith(SECTIONS) and not option.endswith(FILES):
            yield from _in(_parsed(value))
        return
    content = _parsed(argument)
    if isinstance(content, Mapping):
        for section in SECTIONS:
            yield from _in(content.get(section))
    elif isinstance(content, str) and DOTTED.fullmatch(content):
        yield content.partition(".")[0]


def _in(content: Any) -> Iterator[str]:
    if isinstance(content, str) and DOTTED.fullmatch(content):
        yield content.partition(".")[0]
    elif isinstance(content, Mapping):
        for name, value in content.items():
            if name not in FILES:
                yield from _in(value)
    elif isinstance(content, list):
        for value in content:
            yield from _in(value)


def _parsed(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return None
