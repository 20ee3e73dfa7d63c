"""What a page asks for in a job, read from JSON that anybody may have written."""

from collections.abc import Mapping, Sequence
from typing import Any

from videoctx.app.networks import ServedNetwork

MAX_TEXT_LETTERS = 4000


def text_of(body: Mapping[str, Any], name: str, default: str | None = None) -> str:
    """Return a text.

    Raises:
        ValueError: it is missing, no text, or too long.
    """
    value = body.get(name, default)
    if not isinstance(value, str):
        raise ValueError(f"{name} is {_start_of(value)}; expected a text")
    if len(value) > MAX_TEXT_LETTERS:
        raise ValueError(f"{name} has {len(value)} letters; expected at most {MAX_TEXT_LETTERS}")
    return value


def number_of(body: Mapping[str, Any], name: str, *, least: float, most: float, whole: bool = False) -> float | None:
    """Return a finite number, or None where it is missing or null.

    Raises:
        ValueError: it is no number, out of range, or has a fraction where it must be `whole`.
    """
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise ValueError(f"{name} is {_start_of(value)}; expected a number")
    if not least <= value <= most:  # before it becomes a float, for which a whole number may be too large
        raise ValueError(f"{name} is {_start_of(value)}; expected {least:g} to {most:g}")
    if whole and value != int(value):
        raise ValueError(f"{name} is {value!r}; expected a whole number")
    return float(value)


def network_of(body: Mapping[str, Any], networks: Sequence[ServedNetwork]) -> ServedNetwork:
    """Return the network that a page has chosen by its number.

    Raises:
        ValueError: there is no such network.
    """
    index = number_of(body, "network", least=0, most=len(networks) - 1, whole=True)
    if index is None:
        raise ValueError(f"network is missing; expected its number, from 0 to {len(networks) - 1}")
    return networks[int(index)]


def _start_of(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]} …"
