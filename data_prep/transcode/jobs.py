"""Which file is to be made for each row of the manifest."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from videoctx.data.annotations import CsvTable
from videoctx.data.annotations.video_record import FRAMES
from videoctx.data.storage.locations import URL, VIDEO_SUFFIXES, holds_images


@dataclass(frozen=True, slots=True)
class Job:
    """A file to make."""

    source: str  # absolute path
    target: str  # absolute path
    start_seconds: float | None = None
    end_seconds: float | None = None
    images_fps: float | None = None  # frame rate of a source that is stored as images; None: it is a file of video


def job_of_rows(table: CsvTable, root: Path, output: Path) -> tuple[dict[int, Job], dict[int, str]]:
    """Return the job of each row and why the other rows cannot be used, both by line number.

    Args:
        root, output: absolute paths of the folders of the sources and of the new files.
    """
    failures = dict(table.bad_rows)
    jobs: dict[int, Job] = {}
    job_of_target: dict[str, Job] = {}
    for line, row in zip(table.lines, table.rows, strict=True):
        if line in failures:
            continue
        try:
            job = _job(row, root, output)
            other = job_of_target.setdefault(job.target, job)
            is_same_segment = (other.start_seconds, other.end_seconds) == (job.start_seconds, job.end_seconds)
            if other.source == job.source and other.images_fps != job.images_fps:
                raise ValueError(f"fps is {job.images_fps}, but {other.images_fps} in another row of the same images")
            if not is_same_segment or os.path.realpath(other.source) != os.path.realpath(job.source):
                raise ValueError(f"its result would have the name of that of {other.source}: {job.target}")
            jobs[line] = other
        except ValueError as error:
            failures[line] = str(error)
    return jobs, failures


def source_size(job: Job) -> int:
    """Return the bytes of the source, or 0 if they are unknown."""
    try:
        return os.stat(job.source).st_size
    except (OSError, ValueError):
        return 0  # its worker reports the reason


def _job(row: Mapping[str, str], root: Path, output: Path) -> Job:
    if any(len(value.splitlines()) > 1 for value in row.values()):
        raise ValueError("a value has a line break, which a manifest cannot contain; expected another name")
    start, end = (_seconds(row, column) for column in ("start_seconds", "end_seconds"))
    if end is not None and end <= (start or 0.0):
        raise ValueError(f"end_seconds {end:g} is not after start_seconds {start or 0:g}")
    if URL.match(row["path"]):
        raise ValueError(f"{row['path']}: a URL or a member of a shard; expected a file of its own")
    source = os.path.join(root, row["path"])
    target = os.path.join(output, _target_name(source, root, start, end))
    return Job(source, target, start, end, _seconds(row, "fps") if _is_of_images(source, row) else None)


def _is_of_images(source: str, row: Mapping[str, str]) -> bool:
    """Return whether a source is stored as images, also if it is not there any more."""
    is_missing = not os.path.exists(source) and not source.lower().endswith(VIDEO_SUFFIXES)
    return holds_images(source) or row.get("decoders") == FRAMES or is_missing


def _target_name(source: str, root: Path, start: float | None, end: float | None) -> str:
    """Return the result's path in OUTPUT. It depends on source and segment, and not on the rest of the manifest."""
    path = os.path.normpath(source)
    inside = Path(path).is_relative_to(root)
    folder, name = os.path.split(os.path.relpath(path, root) if inside else os.path.splitdrive(path)[1].lstrip(os.sep))
    stem, suffix = os.path.splitext(name)
    if suffix != ".mp4" or os.path.splitext(stem)[1].lower() in VIDEO_SUFFIXES:
        stem = name  # a.avi and a.mp4 are two videos, and so is a.avi.mp4
    if start is not None or end is not None:
        stem += f"@{_digits(start or 0.0)}-" + ("end" if end is None else f"{_digits(end)}s")
    return os.path.join(folder, f"{stem}.mp4")


def _seconds(row: Mapping[str, str], column: str) -> float | None:
    """Return the number, or None if the cell is empty or names the start of the video."""
    text = row.get(column, "")
    try:
        seconds = float(text or 0)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise ValueError(f"{column} is {text!r}; expected a number, zero or more, or nothing")
    return None if not text or (column == "start_seconds" and not seconds) else seconds


def _digits(seconds: float) -> str:
    return repr(seconds).removesuffix(".0")
