"""Examples: some videos of a manifest."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from videoctx.app.manifest_rows import segment_of
from videoctx.app.videos import segment_name
from videoctx.data.annotations.image_rates import image_rate
from videoctx.data.annotations.manifest import read_table
from videoctx.data.loading.segment import WHOLE, Segment
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
    segment: Segment = WHOLE  # of the video


def read_examples(manifest: Path, *, most: int = NUM_EXAMPLES) -> list[Example]:
    """Return videos of a manifest, at even distances; of its test split, if it has one.

    Raises:
        AnnotationError: the manifest cannot be read or has no rows, or a frame rate or a time is no number.
    """
    table = read_table(manifest)
    rows = list(zip(table.lines, table.rows, strict=True))
    chosen = [(line, row) for line, row in rows if row["split"] == "test"] or rows
    return [_example(manifest, row, f"{manifest}, line {line}") for line, row in at_even_distances(chosen, most)]


def _example(manifest: Path, row: Mapping[str, str], where: str) -> Example:
    segment = segment_of(row, where)
    name = segment_name(row["path"], segment)
    return Example(resolve(manifest.parent, row["path"]), name, row["label"], image_rate(row, where), segment)
