"""Writing the shards, and checking those that exist."""

import os
import re
import tarfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from data_prep.command_line.progress_bars import bytes_progress
from data_prep.write_shards.packed_images import packed_images
from data_prep.write_shards.read_ahead import read_ahead
from data_prep.write_shards.samples import Sample, Shard, shard_path
from videoctx.atomic_write import atomic_write
from videoctx.data.annotations import AnnotationError
from videoctx.data.decoding.containers import VideoDecodeError
from videoctx.data.storage.local_files import LocalFiles

SHARD_NAME = re.compile(r"[A-Za-z0-9_-]+-\d{6}\.tar")
NUM_VIDEOS_AHEAD = 16  # videos that are kept in memory


def write_missing_shards(
    output: Path, shards: Sequence[Shard], files: LocalFiles, pool: ThreadPoolExecutor
) -> list[str]:
    """Write the shards that do not exist or are incomplete; return a line for each video that could not be read.

    Raises:
        AnnotationError: the folder has a shard of other videos.
    """
    for left in output.glob(".part-*.tar"):  # of a run that was killed
        left.unlink()
    planned = {shard.name for shard in shards}
    for path in sorted(output.glob("*.tar")):
        if SHARD_NAME.fullmatch(path.name) and path.name not in planned:
            raise AnnotationError(f"{path}: not of this manifest, shard_bytes and seed; expected another folder")
    present = {shard.name: _present(output / shard.name, shard) for shard in shards}
    failures = []
    with bytes_progress() as progress:
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
    """Return the keys of the samples that the shard on the disk has.

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
                    content = archive.extractfile(entry)
                    known = content is not None and content.read() == descriptions[entry.name]
                if not known:
                    raise AnnotationError(
                        f"{path}: its {entry.name} is not of this manifest, shard_bytes and seed;"
                        " expected another folder"
                    )
            names = set(archive.getnames())
    except tarfile.TarError as error:
        raise AnnotationError(f"{path}: {error}; remove it to have it written again") from error
    return {sample.key for sample in shard.samples if names.issuperset(sample.files)}


def _write(
    output: Path,
    shard: Shard,
    present: set[str],
    files: LocalFiles,
    pool: ThreadPoolExecutor,
    advance: Callable[[int], None],
) -> list[str]:
    """Write a shard, unless it would have nothing new; return a line for each video that could not be read."""

    def read(sample: Sample) -> bytes | str:
        packed = shard_path(sample, str(output / shard.name))
        return _read_video(sample, packed if sample.key in present else sample.source, files)

    from webdataset import TarWriter  # takes a second to import

    failures: list[str] = []
    try:
        with atomic_write(output / shard.name) as part:
            with part.open("wb") as file, TarWriter(file, encoder=False, mtime=0.0) as tar:
                videos = read_ahead(pool, read, shard.samples, window=NUM_VIDEOS_AHEAD)
                for sample, video in zip(shard.samples, videos, strict=True):
                    advance(sample.num_bytes or 0)
                    if isinstance(video, str):
                        failures.append(video)
                        continue
                    tar.write({"__key__": sample.key, sample.suffix: video, "json": sample.description})
            if len(shard.samples) - len(failures) <= len(present):
                raise _NothingNew
    except _NothingNew:
        pass
    return failures


class _NothingNew(Exception):
    """The shard that exists has everything that could be read."""


def _read_video(sample: Sample, path: str, files: LocalFiles) -> bytes | str:
    """Return the bytes of a video, or a line that states why it cannot be packed."""
    if sample.problem:
        return f"{sample.source}: {sample.problem}"
    try:
        with files.local_copy(path) as local:
            video = packed_images(local) if os.path.isdir(local) else Path(local).read_bytes()
    except VideoDecodeError as error:
        return str(error)
    except OSError as error:
        return f"{sample.source}: {error.strerror or error}"
    if sample.num_bytes not in (None, len(video)):
        return f"{sample.source}: has {len(video)} bytes, and {sample.num_bytes} in the manifest"
    return video if video else f"{sample.source}: the file is empty"
