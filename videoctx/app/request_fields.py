"""What a page asks for in a job, read from JSON that anybody may have written."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from videoctx.app.networks import ServedNetwork


def text_of(body: Mapping[str, Any], name: str, default: str | None = None) -> str:
    """Return a text.

    Raises:
        ValueError: it is missing, or no text.
    """
    value = body.get(name, default)
    if not isinstance(value, str):
        raise ValueError(f"{name} is {value!r}; expected a text")
    return value


def number_of(body: Mapping[str, Any], name: str, *, least: float, most: float) -> float | None:
    """Return a finite number, or None where it is missing or null.

    Raises:
        ValueError: it is no number, or out of range.
    """
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{name} is {value!r}; expected a number")
    if not least <= value <= most:
        raise ValueError(f"{name} is {value:g}; expected {least:g} to {most:g}")
    return float(value)


def network_of(body: Mapping[str, Any], networks: Sequence[ServedNetwork]) -> ServedNetwork:
    """Return the network that a page has chosen by its number.

    Raises:
        ValueError: there is no such network.
    """
    index = number_of(body, "network", least=0, most=len(networks) - 1)
    if index is None or index != int(index):
        raise ValueError(f"network is {body.get('network')!r}; expected its number, from 0 to {len(networks) - 1}")
    return networks[int(index)]
