"""The value of a key on a command line, before it is parsed: by an option or by a config."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml


def given_value(arguments: Sequence[str], key: str) -> str:
    """Return the last value that options and configs give to a key. Empty: none does, or the last one is null.

    Args:
        arguments: A command with its options, with the text of every config (`videoctx.cli.parts`).
        key: Such as `model.weights`.

    >>> given_value(["test", "-c", "model: {weights: a.pt}"], "model.weights")
    'a.pt'
    >>> given_value(["test", "-c", "model: {weights: a.pt}", "--model.weights=b.pt"], "model.weights")
    'b.pt'
    >>> given_value(["test", "-c", "model: {weights: a.pt}", "-c", "model: {weights: null}"], "model.weights")
    ''
    """
    found = ""
    for position, argument in enumerate(arguments):
        option, separator, value = argument.partition("=")
        if not separator and position + 1 < len(arguments):
            value = arguments[position + 1]
        if option == f"--{key}":
            found = "" if value == "null" else value
        elif option in ("-c", "--config"):
            found = _in_config(value, key, otherwise=found)
    return found


def given_configs(arguments: Sequence[str]) -> Iterator[str]:
    """Yield the configs of a command line as they are given: names, files or texts."""
    for position, argument in enumerate(arguments):
        option, separator, value = argument.partition("=")
        if option in ("-c", "--config"):
            yield value if separator else "".join(arguments[position + 1 : position + 2])


def _in_config(text: str, key: str, *, otherwise: str) -> str:
    try:
        found: Any = yaml.safe_load(text)
    except yaml.YAMLError:
        return otherwise  # the parser reports it
    for part in key.split("."):
        if not isinstance(found, Mapping) or part not in found:
            return otherwise
        found = found[part]
    return found if isinstance(found, str) else ""
