"""Controls: tests that leave out what a network could use, such as the order of the frames.

Their numbers are not the accuracy of the network, so the tools take a test without a control where there is one, and
name a control wherever they show one. This file imports neither torch nor numpy, because the command line uses it
before it parses its arguments.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CARD_FILE = "card.json"
FRAME_ORDERS = {"reversed": "frames reversed", "shuffled": "frames shuffled", "still": "still frame"}


def data_of(card: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what the card of a test states about the data; empty if it states nothing.

    >>> data_of({"data": {"split": "test"}}), data_of({"data": None})
    ({'split': 'test'}, {})
    """
    data = card.get("data")
    return data if isinstance(data, Mapping) else {}


def controls(card: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the controls that the card of a test states. Empty: it is no control.

    >>> controls({"data": {"frame_order": "shuffled"}})
    ('frames shuffled',)
    """
    order = data_of(card).get("frame_order")
    shown = (FRAME_ORDERS[order],) if isinstance(order, str) and order in FRAME_ORDERS else ()
    return (*shown, "context off") if card.get("context_off") else shown


def controls_of(folder: Path) -> tuple[str, ...]:
    """Return the controls of a tested run. Empty: it is no control, or its card cannot be read."""
    try:
        card = json.loads((folder / CARD_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ()
    return controls(card) if isinstance(card, Mapping) else ()
