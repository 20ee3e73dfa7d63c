"""What is packed for each row of the manifest, and into which shard."""

import json
import os
import random
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from rich.progress import track

from data_prep.write_shards.packed_images import SUFFIX, packed_size
from data_prep.write_shards.read_ahead import read_ahead
from videoctx.data.annotations import AnnotationError, read_manifest, read_table
from videoctx.data.decoding.containers import VideoDecodeError
from videoctx.data.decoding.image_files import images_status
from videoctx.data.storage.local_files import LocalFiles
from videoctx.data.storage.locations import INSIDE, TAR, holds_images, local_path, resolve
from videoctx.printed_tables import Console

SPLIT_NAME = re.compile(r"[A-Za-z0-9_-]+")
NO_SUFFIX = "bin"
NUM_SIZES_AHEAD = 256  # sizes that are requested ahead


@dataclass(frozen=True, slots=True)
class Sample:
    """A row of the manifest, as it is to be packed."""

    source: str  # a file or URL
    key: str  # of its files in the shard, without suffix
    suffix: str  # of the video, without dot
    num_bytes: int | None  # None: unknown
    description: bytes  # JSON
    is_folder: bool = False  # of images
    problem: str = ""  # why it cannot be packed

    @property
    def files(self) -> dict[str, int | None]:
        """The sizes of its files in the shard."""
        return {f"{self.key}.json": len(self.description), f"{self.key}.{self.suffix}": self.num_bytes}


@dataclass(slots=True)
class Shard:
    """A tar file and its samples."""

    name: str
    samples: list[Sample] = field(default_factory=list)

    @property
    def num_bytes(self) -> int:
        return sum(sample.num_bytes or 0 for sample in self.samples)


def shard_path(sample: Sample, shard: str) -> str:
    """Return the path of the sample's video in a manifest beside the shard."""
    return f"{TAR}{sample.key}.{sample.suffix}{INSIDE}{shard}"


def packed_row(row: Mapping[str, str], sample: Sample, shard: str) -> dict[str, str]:
    """Return the row of a manifest beside the shard. A folder of images has become a tar file."""
    packed = {**row, "path": shard_path(sample, shard)}
    if sample.is_folder and row.get("size_bytes") and sample.num_bytes is not None:
        packed |= {"size_bytes": str(sample.num_bytes)} | ({"container": SUFFIX} if "container" in row else {})
    return packed


def read_rows(manifest: Path, class_names: list[str]) -> list[dict[str, str]]:
    """Read all rows with all columns.

    Raises:
        AnnotationError: as `read_manifest`, or a split that cannot be the name of a shard.
    """
    rows = list(read_table(manifest).rows)
    for split in sorted({row["split"] for row in rows}):
        read_manifest(manifest, class_names, split=split, labels_required=False)
        if not SPLIT_NAME.fullmatch(split):
            raise AnnotationError(
                f"{manifest}: split {split!r} cannot be the name of a shard; expected letters, digits, _ and -"
            )
    return rows


def find_samples(
    rows: Sequence[Mapping[str, str]], root: str | Path, files: LocalFiles, pool: ThreadPoolExecutor
) -> list[Sample]:
    """Return a sample for each row. Sizes that the manifest does not have are requested from the files."""

    def find(numbered: tuple[int, Mapping[str, str]]) -> Sample:
        number, row = numbered
        source = resolve(root, row["path"])
        stated = int(float(row["size_bytes"])) if row.get("size_bytes") else None
        folder, num_bytes, problem = os.path.isdir(local_path(source)), stated, ""
        if folder:
            num_bytes = None
            with suppress(VideoDecodeError):
                num_bytes = packed_size(local_path(source))
                if stated not in (None, size := images_status(local_path(source)).size_bytes):
                    problem = f"its images have {size} bytes, and {stated} in the manifest"
        elif num_bytes is None:
            with suppress(VideoDecodeError):  # reported when the video is to be packed
                num_bytes = files.size(source)
        seconds = {
            column: float(row[column]) if row.get(column) else None for column in ("start_seconds", "end_seconds")
        }
        description = {column: row[column] for column in ("label", "path", "split")} | seconds
        if row.get("fps") and holds_images(source):
            description["fps"] = float(row["fps"])  # no file states it
        suffix = re.search(r"\.([A-Za-z0-9]{1,8})(\?.*)?$", row["path"].partition(INSIDE)[0])
        return Sample(
            source,
            f"{row['split']}/{number:06d}",
            SUFFIX if folder else suffix[1].lower() if suffix and suffix[1].lower() != "json" else NO_SUFFIX,
            num_bytes,
            json.dumps(description, sort_keys=True, ensure_ascii=False).encode(),
            folder,
            problem,
        )

    found = read_ahead(pool, find, list(enumerate(rows)), window=NUM_SIZES_AHEAD)
    return list(track(found, "Sizes", total=len(rows), console=Console(stderr=True), transient=True))


def divide(samples: Sequence[Sample], splits: Sequence[str], shard_bytes: int, seed: int) -> list[Shard]:
    """Return the shards of each split, with its samples in random order. A video that cannot be read counts as empty.

    Args:
        splits: of each sample.
    """
    shards = []
    for split in sorted(set(splits)):
        chosen = [sample for sample, its_split in zip(samples, splits, strict=True) if its_split == split]
        random.Random(f"{seed} {split}").shuffle(chosen)
        room, number = 0, 0
        for sample in chosen:
            size = sample.num_bytes or 0
            if number == 0 or size > room:
                shards.append(Shard(f"{split}-{number:06d}.tar"))
                room, number = shard_bytes, number + 1
            shards[-1].samples.append(sample)
            room -= size
    return shards
