"""Examples: some videos of a manifest."""

from dataclasses import dataclass
from pathlib import Path

from videoctx.app.videos import shown_name
from videoctx.data.annotations.image_rates import image_rate
from videoctx.data.annotations.manifest import read_table
from videoctx.data.storage.locations import resolve
from videoctx.inference.even_distances import at_even_distances

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
        AnnotationError: the manifest cannot be read or has no rows, or a frame rate is no number.
    """
    table = read_table(manifest)
    rows = list(zip(table.lines, table.rows, strict=True))
    chosen = [(line, row) for line, row in rows if row["split"] == "test"] or rows
    return [
        Example(
            resolve(manifest.parent, row["path"]),
            shown_name(row["path"]),
            row["label"],
            image_rate(row, f"{manifest}, line {line}"),
        )
        for line, row in at_even_distances(chosen, most)
    ]
