"""The title of the report: the network, the data and the date of a test."""

from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

from videoctx.evaluation.controls import data_of


def page_title(card: Mapping[str, Any], run: Path) -> str:
    """Return the network, the manifest with its split, and the date on the card of a test.

    Args:
        card: the content of `card.json`. What it lacks is left out; without network and data, the run names the page.

    Example:
        >>> data = {"manifest": "/data/toy/manifest.csv", "split": "test"}
        >>> page_title({"network": "ResNet3D-18", "data": data, "time": "2026-03-01T12:00:00+00:00"}, Path("run"))
        'ResNet3D-18 on toy/manifest.csv (test), 2026-03-01'
    """
    data = data_of(card)
    title = str(card.get("network") or f"Test of {run.resolve().name}")
    if data.get("manifest"):
        title += f" on {'/'.join(PurePath(str(data['manifest'])).parts[-2:])}"
        title += f" ({data['split']})" if data.get("split") else ""
    return f"{title}, {str(card['time'])[:10]}" if card.get("time") else title
