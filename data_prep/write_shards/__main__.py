"""Pack the videos of a manifest into tar shards in WebDataset layout.

    python -m data_prep.write_shards datasets/mine/manifest.csv shards --shard_bytes 1e9

A few large files are quicker to copy and to serve than very many small ones. OUTPUT gets

    SPLIT-000000.tar, …   per row of the manifest SPLIT/ROW.mp4, the video as it is (with its own suffix), and
                          SPLIT/ROW.json: label, path, split, start_seconds, end_seconds; ROW counts from 000000
    manifest.csv          the same rows in the same order with all their columns, but tar://SPLIT/ROW.mp4::SPLIT-000000.tar
                          as their path: training and evaluation use it as they use one of files
    classes.txt

The rows of a split are shuffled, so that a shard is a random sample of it. A video of which several rows use a
stretch is stored once for each, as they are in different shards. Nothing is decoded: a damaged video is packed
as it is.

A video that cannot be read is listed and its row stays in the new manifest, where it counts as it did before:
as a video that cannot be read. A further run adds what is missing to its shard; one that was killed goes on
where it stopped, and what it writes is the same to the last byte. A shard that was made of other videos is never
written over. A video that has changed but kept its size is not noticed.

Exit status: 0; 1 if some videos could not be read; 2 if nothing was written.
"""

import json
import os
import random
import re
import sys
import tarfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

from filelock import FileLock, Timeout
from jsonargparse import auto_cli
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, track

from data_prep.command_line.flag_parser import FlagParser
from data_prep.manifests import manifest_rows
from videoctx.data.annotations import CLASS_FILE, AnnotationError, read_classes, read_manifest, write_manifest
from videoctx.data.decoding.containers import VideoDecodeError
from videoctx.data.storage.local_files import LocalFiles
from videoctx.data.storage.locations import INSIDE, TAR, resolve
from videoctx.data.storage.remote import StorageError

SPLIT_NAME = re.compile(r"[A-Za-z0-9_-]+")
SHARD_NAME = re.compile(r"[A-Za-z0-9_-]+-\d{6}\.tar")
NO_SUFFIX = "bin"
NUM_AHEAD = 16  # videos that are kept in memory
NUM_ASKED = 256  # sizes that are asked for ahead

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Sample:
    """A row of the manifest, as it is to be packed."""

    source: str  # a file or URL
    key: str  # of its files in the shard, without suffix
    suffix: str  # of the video, without dot
    num_bytes: int | None  # None: cannot be told
    description: bytes  # JSON

    @property
    def files(self) -> dict[str, int | None]:
        """Sizes of its files in the shard."""
        return {f"{self.key}.json": len(self.description), f"{self.key}.{self.suffix}": self.num_bytes}


@dataclass(slots=True)
class Shard:
    name: str
    samples: list[Sample] = field(default_factory=list)

    @property
    def num_bytes(self) -> int:
        return sum(sample.num_bytes or 0 for sample in self.samples)


def write_shards(
    manifest: Path,
    output: Path,
    *,
    shard_bytes: float = 1e9,
    root: str | None = None,
    class_file: Path | None = None,
    seed: int = 0,
    num_threads: int = 8,
    cache_dir: Path | None = None,
    max_cache_bytes: float = 50e9,
) -> int:
    """Pack the videos of a manifest into tar shards in WebDataset layout.

    Args:
        manifest: The manifest of the videos; its paths may be files, URLs, or members of other shards.
        output: The folder of the shards, of their manifest and its class file.
        shard_bytes: A shard has at most so many bytes of videos, or one video.
        root: What relative paths in the manifest start from, by default its own folder.
        class_file: By default classes.txt beside the manifest.
        seed: Another seed gives another order.
        num_threads: Videos that are read at the same time.
        cache_dir: Where videos from URLs are kept, by default in the system's temporary folder.
        max_cache_bytes: Of the videos kept there.
    """
    if find_spec("webdataset") is None:
        raise StorageError("webdataset is not installed; pip install 'videoctx[shards]' brings it")
    for name, value in {"shard_bytes": shard_bytes, "num_threads": num_threads}.items():
        if value < 1:
            raise AnnotationError(f"--{name} is {value:g}; expected at least 1")
    if output.resolve() == manifest.parent.resolve():
        raise AnnotationError(f"{output}: the manifest that is read lies there; expected another folder")
    class_names = read_classes(manifest.parent / CLASS_FILE if class_file is None else class_file)
    rows = read_rows(manifest, class_names)
    files = LocalFiles(cache_dir, max_cache_bytes=int(max_cache_bytes))
    output.mkdir(parents=True, exist_ok=True)
    try:
        with (
            FileLock(output / ".lock", timeout=0),
            ThreadPoolExecutor(num_threads) as pool,
        ):
            samples = find_samples(rows, manifest.parent if root is None else root, files, pool)
            shards = divide(samples, [row["split"] for row in rows], int(shard_bytes), seed)
            failures = _write_all(output, shards, files, pool)
            shard_of = {sample.key: shard.name for shard in shards for sample in shard.samples}
            packed = [
                row | {"path": f"{TAR}{sample.key}.{sample.suffix}{INSIDE}{shard_of[sample.key]}"}
                for row, sample in zip(rows, samples, strict=True)
            ]
            partial = output / "manifest.partial"
            write_manifest(partial, packed, class_names)
            partial.replace(output / "manifest.csv")
    except Timeout as error:
        raise AnnotationError(f"{output}: another run is writing there") from error
    if failures:
        lines = [f"warning: {len(failures)} of {len(rows)} videos could not be read and are in no shard", *failures]
        print("\n  ".join(lines), file=sys.stderr)
    print(f"{output}: {len(rows) - len(failures)} videos in {len(shards)} shards, manifest.csv and {CLASS_FILE}")
    return 1 if failures else 0


def read_rows(manifest: Path, class_names: list[str]) -> list[dict[str, str]]:
    """All rows with all columns.

    Raises:
        AnnotationError: as `read_manifest`, or a split that cannot name a shard.
    """
    rows = manifest_rows.read_rows(manifest).rows
    for split in sorted({row["split"] for row in rows}):
        read_manifest(manifest, class_names, split=split, labels_required=False)
        if not SPLIT_NAME.fullmatch(split):
            raise AnnotationError(f"{manifest}: split {split!r} cannot name a shard; expected letters, digits, _ and -")
    return rows


def find_samples(
    rows: Sequence[dict[str, str]], root: str | Path, files: LocalFiles, pool: ThreadPoolExecutor
) -> list[Sample]:
    """A sample for each row; sizes are the manifest's where it has them, else the files are asked for them."""

    def find(numbered: tuple[int, dict[str, str]]) -> Sample:
        number, row = numbered
        source = resolve(root, row["path"])
        num_bytes = int(float(row["size_bytes"])) if row.get("size_bytes") else None
        if num_bytes is None:
            with suppress(VideoDecodeError):  # it is said when it is to be packed
                num_bytes = files.size(source)
        seconds = {
            column: float(row[column]) if row.get(column) else None for column in ("start_seconds", "end_seconds")
        }
        description = {column: row[column] for column in ("label", "path", "split")} | seconds
        suffix = re.search(r"\.([A-Za-z0-9]{1,8})(\?.*)?$", row["path"].partition(INSIDE)[0])
        return Sample(
            source,
            f"{row['split']}/{number:06d}",
            suffix[1].lower() if suffix and suffix[1].lower() != "json" else NO_SUFFIX,
            num_bytes,
            json.dumps(description, sort_keys=True, ensure_ascii=False).encode(),
        )

    found = _ahead(pool, find, list(enumerate(rows)), window=NUM_ASKED)
    return list(track(found, "Sizes", total=len(rows), console=Console(stderr=True), transient=True))


def divide(samples: Sequence[Sample], splits: Sequence[str], shard_bytes: int, seed: int) -> list[Shard]:
    """The shards of each split, its samples in random order; a video that cannot be read counts as empty."""
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


def _write_all(output: Path, shards: Sequence[Shard], files: LocalFiles, pool: ThreadPoolExecutor) -> list[str]:
    """Write the shards that are not there in full; a line on each video that could not be read."""
    for left in output.glob(".*.tar.partial"):
        left.unlink()
    planned = {shard.name for shard in shards}
    for path in sorted(output.glob("*.tar")):
        if SHARD_NAME.fullmatch(path.name) and path.name not in planned:
            raise AnnotationError(f"{path}: not of this manifest, shard_bytes and seed; expected another folder")
    present = {shard.name: _present(output / shard.name, shard) for shard in shards}
    failures = []
    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("Packing", total=sum(shard.num_bytes for shard in shards))
        for shard in shards:
            if len(present[shard.name]) < len(shard.samples):
                failures += _write(
                    output, shard, present[shard.name], files, pool, lambda size: progress.advance(task, size)
                )
            else:
                progress.advance(task, shard.num_bytes)
    return failures


def _present(path: Path, shard: Shard) -> set[str]:
    """Keys of the samples that the shard on disk has.

    Raises:
        AnnotationError: it has something else.
    """
    if not path.exists():
        return set()
    expected = {name: size for sample in shard.samples for name, size in sample.files.items()}
    descriptions = {f"{sample.key}.json": sample.description for sample in shard.samples}
    try:
        with tarfile.open(path, "r:") as archive:
            for entry in archive:
                known = entry.name in expected and expected[entry.name] in (None, entry.size)
                if known and entry.name in descriptions:
                    known = archive.extractfile(entry).read() == descriptions[entry.name]
                if not known:
                    raise AnnotationError(
                        f"{path}: its {entry.name} is not of this manifest, shard_bytes and seed;"
                        " expected another folder"
                    )
            names = set(archive.getnames())
    except tarfile.TarError as error:
        raise AnnotationError(f"{path}: {error}; remove it to have it written anew") from error
    return {sample.key for sample in shard.samples if names.issuperset(sample.files)}


def _write(
    output: Path,
    shard: Shard,
    present: set[str],
    files: LocalFiles,
    pool: ThreadPoolExecutor,
    advance: Callable[[int], None],
) -> list[str]:
    """Write a shard, under its name once it is whole; a line on each video that could not be read."""

    def read(sample: Sample) -> bytes | str:
        of_shard = f"{TAR}{sample.key}.{sample.suffix}{INSIDE}{output / shard.name}"
        try:
            with files.local_copy(of_shard if sample.key in present else sample.source) as local:
                video = Path(local).read_bytes()
        except VideoDecodeError as error:
            return str(error)
        except OSError as error:
            return f"{sample.source}: {error.strerror or error}"
        if sample.num_bytes not in (None, len(video)):
            return f"{sample.source}: has {len(video)} bytes, but the manifest says {sample.num_bytes}"
        return video if video else f"{sample.source}: the file is empty"

    from webdataset import TarWriter  # a second to import

    partial = output / f".{shard.name}.partial"
    failures, num_written = [], 0
    with partial.open("wb") as file:
        with TarWriter(file, encoder=False, mtime=0.0) as tar:
            videos = _ahead(pool, read, shard.samples, window=NUM_AHEAD)
            for sample, video in zip(shard.samples, videos, strict=True):
                advance(sample.num_bytes or 0)
                if isinstance(video, str):
                    failures.append(video)
                    continue
                tar.write({"__key__": sample.key, sample.suffix: video, "json": sample.description})
                num_written += 1
        file.flush()
        os.fsync(file.fileno())
    if num_written > len(present):
        partial.replace(output / shard.name)
    else:
        partial.unlink()  # nothing new
    return failures


def _ahead(
    pool: ThreadPoolExecutor, function: Callable[[Item], Result], items: Iterable[Item], *, window: int
) -> Iterator[Result]:
    """Results in order, at most `window` of them made before they are taken."""
    waiting = deque()
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) >= window:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def main(arguments: Sequence[str] | None = None) -> int:
    """Pack and return the exit status; an error is one line on the error stream."""
    try:
        return auto_cli(write_shards, args=arguments, parser_class=FlagParser, prog="python -m data_prep.write_shards")
    except (AnnotationError, StorageError, OSError) as error:
        print(f"write_shards: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
