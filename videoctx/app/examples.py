"""Examples: some videos of a manifest."""

import math
from dataclasses import dataclass
from pathlib import Path

from videoctx.app.videos import shown_name
from videoctx.data.annotations.manifest import read_table
from videoctx.data.storage.locations import resolve

NUM_EXAMPLES = 60


@dataclass(frozen=True)
class Example:
    """A video that the page offers."""

    path: str
    name: str
    label: str
    fps: float | None = None  # of images, which state none


def read_examples(manifest: Path, *, most: int = NUM_EXAMPLES) -> list[Example]:
    """Return videos of a manifest, at even distances; of its test split, if it has one.

    Raises:
        AnnotationError: the manifest cannot be read.
    """
    rows = list(read_table(manifest).rows)
    chosen = [row for row in rows if row.get("split") == "test"] or rows
    if len(chosen) > most:
        chosen = [chosen[index * len(chosen) // most] for index in range(most)]
    return [
        Example(
            resolve(manifest.parent, row["path"]), shown_name(row["path"]), row.get("label") or "", _fps(row.get("fps"))
        )
        for row in chosen
    ]


def _fps(text: str | None) -> float | None:
    try:
        fps = float(text or "nan")
    except ValueError:
        return None
    return fps if math.isfinite(fps) and fps > 0 else None
