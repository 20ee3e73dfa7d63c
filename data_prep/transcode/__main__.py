"""Encode the videos of a manifest anew, once, so that training reads them fast and exactly.

    python -m data_prep.transcode k400/manifest.csv k400_256
    python -m data_prep.transcode ava/manifest.csv ava_320 --short_side_px 320 --fps 30
    python -m data_prep.transcode k400/manifest.csv /shared/k400_256 --scheduler tcp://10.0.0.1:8786

`data_prep.transcode.reencode` says what the videos are like. A stretch of a video (`start_seconds`, `end_seconds`) becomes a file
of its own, and the new manifest has no seconds. OUTPUT mirrors the tree of the sources, those outside the manifest's
folder under their absolute paths; it gets manifest.csv, classes.txt and, where something failed, failures.csv.

| source             | stretch     | file in OUTPUT             |
|--------------------|-------------|----------------------------|
| `run/a.mp4`        | all         | `run/a.mp4`                |
| `run/a.avi`        | all         | `run/a.avi.mp4`            |
| `run/a.mp4`        | 1.5 to 4 s  | `run/a@1.5-4s.mp4`         |
| `/data/b.mp4`      | from 2 s on | `data/b@2-ends.mp4`        |
| `../b.mp4`         | all         | `home/me/b.mp4`            |

A file takes its name only once it is whole, read back, and on the disk, so whatever has a name is done; its metadata
(`comment`) say from which source and with which settings. A further run passes over what is done with the same
settings from the same source (by size and time of change; a source that is gone counts as the same), and does the rest.
Several runs may work on one OUTPUT. Nothing in OUTPUT is deleted, but for temporary files whose writer has died.

Exit status: 0; 1 if some rows failed: they are not in the new manifest, and failures.csv says why; 2 if nothing could
be done; 130 if interrupted.
"""

import csv
import fcntl
import json
import os
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import av
from jsonargparse import auto_cli

from data_prep.command_line.flag_parser import FlagParser
from data_prep.inspect_videos.inspection import INSPECTION_COLUMNS
from data_prep.manifests.video_files import VIDEO_SUFFIXES
from data_prep.scheduling.run_each import Failure, SchedulerError, run_each
from data_prep.transcode import reencode
from data_prep.transcode.reencode import Encoding
from videoctx.data.annotations import (
    CLASS_FILE,
    REQUIRED_COLUMNS,
    AnnotationError,
    read_classes,
    write_manifest,
)
from videoctx.data.storage.locations import URL

MANIFEST, FAILURES = "manifest.csv", "failures.csv"
TEMPORARY_PREFIX, TEMPORARY_SUFFIX = ".transcode-", ".partial"
NO_LOCKS_STALE_SECONDS = 24 * 3600  # where files cannot be locked, age tells which temporary nobody writes any more
MOST_LISTED = 10  # failures on the terminal; the file has all
X264Preset = Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"]


@dataclass(frozen=True, slots=True)
class Job:
    """A file to make."""

    source: str  # absolute
    target: str  # absolute
    start_seconds: float | None = None
    end_seconds: float | None = None


def transcode(
    manifest: Path,
    output: Path,
    *,
    root: Path | None = None,
    short_side_px: int = 256,
    fps: float | None = None,
    crf: int = 20,
    preset: X264Preset = "fast",
    ffmpeg: bool = False,
    workers: int | None = None,
    scheduler: str | None = None,
) -> int:
    """Encode the videos of a manifest anew: small, exact and quick to read.

    Args:
        manifest: The manifest of the sources, with classes.txt beside it.
        output: Folder for the new videos, manifest.csv and classes.txt; made where it is missing.
        root: What relative paths in the manifest start from, by default the manifest's folder.
        short_side_px: Pixels of the shorter side, even. Smaller videos keep their size, cut to even sides.
        fps: Frames a second of all results, such as 30 or 29.97. By default each keeps its source's average.
        crf: x264's constant rate factor, 0 to 51: smaller is better and larger; 23 is x264's own default.
        preset: x264's preset: how long it searches for a smaller file.
        ffmpeg: Have the ffmpeg program, 5.1 or newer, do the work in place of PyAV.
        workers: Processes, each with one encoder thread; by default one a core.
        scheduler: Run on the Dask cluster at this address, such as tcp://10.0.0.1:8786; its workers see the same files.

    Raises:
        AnnotationError: the manifest or a setting cannot be used.
    """
    _check_settings(short_side_px=short_side_px, fps=fps, crf=crf, ffmpeg=ffmpeg and scheduler is None)
    encoding = Encoding(short_side_px=short_side_px, fps=fps, crf=crf, preset=preset)
    root = manifest.parent if root is None else root
    class_names = read_classes(manifest.parent / CLASS_FILE)
    _prepare_output(output, manifest, root)
    rows, failures = _read_rows(manifest)
    jobs = _jobs(rows, failures, Path(os.path.abspath(root)), Path(os.path.abspath(output)))
    rows_of = defaultdict(list)
    for line, job in jobs.items():
        rows_of[job].append(line)
    remove_stale(output)
    num_made = 0
    try:
        make = partial(make_file, encoding=encoding, ffmpeg=ffmpeg)
        largest_first = sorted(rows_of, key=_size, reverse=True)  # so that none is begun when the others are done
        with closing(
            run_each(make, largest_first, description="Transcoding", workers=workers, scheduler=scheduler)
        ) as outcomes:
            for job, outcome in outcomes:
                if isinstance(outcome, Failure):
                    failures |= dict.fromkeys(rows_of[job], outcome.reason)
                else:
                    num_made += outcome
    finally:
        remove_stale(output)
    kept = [
        _new_row(row, os.path.relpath(jobs[line].target, os.path.abspath(output)))
        for line, row in rows.items()
        if line not in failures
    ]
    if failures:  # before anything is written: the disk may be full
        print(f"{len(failures)} of {len(rows)} rows failed and are not in the manifest:", file=sys.stderr)
        for line, reason in sorted(failures.items())[:MOST_LISTED]:
            print(f"  {manifest}, line {line}: {reason}", file=sys.stderr)
        print(f"  all of them: {output / FAILURES}", file=sys.stderr)
    _write_tables(output, kept, class_names, rows, failures)
    num_files = len({jobs[line] for line in rows if line not in failures})
    print(f"{output / MANIFEST}: {len(kept)} rows, {num_files} files, {num_made} of them made in this run")
    return 1 if failures else 0


def make_file(job: Job, *, encoding: Encoding, ffmpeg: bool) -> bool:
    """Make the target; False if it was there already, from the same source and with the same settings.

    Raises:
        VideoDecodeError: the source cannot be read.
        OSError: the target cannot be written.
    """
    target = Path(job.target)
    recipe = _recipe(job, encoding)
    if _is_done(target, recipe):
        return False
    stretch = reencode.plan(job.source, encoding, start_seconds=job.start_seconds, end_seconds=job.end_seconds)
    target.parent.mkdir(parents=True, exist_ok=True)
    with _temporary(target.parent) as (temporary, descriptor):
        encode = reencode.with_ffmpeg if ffmpeg else reencode.with_pyav
        num_frames = encode(stretch, encoding, temporary, comment=json.dumps(recipe))
        os.fsync(descriptor)
        reencode.check(temporary, stretch, num_frames)
        os.replace(temporary, target)
    return True


def remove_stale(output: Path) -> None:
    """Remove the temporary files below `output` that nobody writes any more."""
    for folder, _, names in os.walk(output):
        for name in names:
            if name.startswith(TEMPORARY_PREFIX) and name.endswith(TEMPORARY_SUFFIX):
                with suppress(OSError):
                    _remove_unless_locked(os.path.join(folder, name))


def _check_settings(*, short_side_px: int, fps: float | None, crf: int, ffmpeg: bool) -> None:
    if short_side_px < 2 or short_side_px % 2:
        raise AnnotationError(f"--short_side_px is {short_side_px}; expected an even number, 2 or more")
    if fps is not None and not 0 < fps <= 1000:
        raise AnnotationError(f"--fps is {fps:g}; expected more than 0 and at most 1000")
    if not 0 <= crf <= 51:
        raise AnnotationError(f"--crf is {crf}; expected 0 to 51")
    if ffmpeg and shutil.which("ffmpeg") is None:
        raise AnnotationError("--ffmpeg: no program ffmpeg is installed here; leave the option out to use PyAV")


def _prepare_output(output: Path, manifest: Path, root: Path) -> None:
    """Make the folder, and refuse one that holds the sources or cannot be written to."""
    for folder in (manifest.parent, root):
        if os.path.realpath(output) == os.path.realpath(folder):
            raise AnnotationError(f"{output}: this is the folder of the sources; expected another one for the results")
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=output):
        pass


def _read_rows(manifest: Path) -> tuple[dict[int, dict[str, str]], dict[int, str]]:
    """All rows by line number, and why some of them cannot be used.

    Raises:
        AnnotationError: there is no such file, or it is no manifest.
    """
    rows, problems = {}, {}
    try:
        with manifest.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
            missing = [name for name in REQUIRED_COLUMNS if name not in reader.fieldnames]
            if missing:
                raise AnnotationError(f"{manifest}: the header lacks {', '.join(missing)}")
            if len(set(reader.fieldnames)) < len(reader.fieldnames):
                raise AnnotationError(f"{manifest}: the header names a column twice")
            for row in reader:
                line = reader.line_num
                rows[line] = {name: (value or "").strip() for name, value in row.items() if name is not None}
                if None in row or None in row.values():
                    problems[line] = f"expected {len(reader.fieldnames)} columns as in the header"
                elif any(len(value.splitlines()) > 1 for value in rows[line].values()):
                    problems[line] = "a value has a line break, which no manifest can hold; expected another name"
                elif not rows[line]["path"]:
                    problems[line] = "the path is empty"
    except OSError as error:
        raise AnnotationError(f"{manifest}: cannot read the manifest ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise AnnotationError(f"{manifest}: the manifest is not UTF-8 text ({error})") from error
    except csv.Error as error:
        raise AnnotationError(f"{manifest}, line {reader.line_num}: not a CSV row ({error})") from error
    if not rows:
        raise AnnotationError(f"{manifest}: the manifest has no rows")
    return rows, problems


def _jobs(rows: dict[int, dict[str, str]], failures: dict[int, str], root: Path, output: Path) -> dict[int, Job]:
    """What is to be made for each row; rows that cannot be used go to `failures`."""
    jobs, job_of_target = {}, {}
    for line, row in rows.items():
        if line in failures:
            continue
        try:
            start, end = (_seconds(row, column) for column in ("start_seconds", "end_seconds"))
            if end is not None and end <= (start or 0.0):
                raise ValueError(f"end_seconds {end:g} is not after start_seconds {start or 0:g}")
            if URL.match(row["path"]):
                raise ValueError(f"{row['path']}: a URL or a member of a shard; expected a file of its own")
            source = os.path.join(root, row["path"])
            job = Job(source, os.path.join(output, _target_name(source, root, start, end)), start, end)
            other = job_of_target.setdefault(job.target, job)
            is_same_stretch = (other.start_seconds, other.end_seconds) == (start, end)
            if not is_same_stretch or os.path.realpath(other.source) != os.path.realpath(source):
                raise ValueError(f"its result would have the name of that of {other.source}: {job.target}")
        except ValueError as error:
            failures[line] = str(error)
        else:
            jobs[line] = other
    return jobs


def _target_name(source: str, root: Path, start: float | None, end: float | None) -> str:
    """Where in OUTPUT the result goes, the same for the same source and stretch, whatever else is in the manifest."""
    path = os.path.normpath(source)
    inside = Path(path).is_relative_to(root)
    folder, name = os.path.split(os.path.relpath(path, root) if inside else os.path.splitdrive(path)[1].lstrip(os.sep))
    stem, suffix = os.path.splitext(name)
    if suffix != ".mp4" or os.path.splitext(stem)[1].lower() in VIDEO_SUFFIXES:
        stem = name  # a.avi and a.mp4 are two videos, and so is a.avi.mp4
    if start is not None or end is not None:
        stem += f"@{_digits(start or 0.0)}-" + ("end" if end is None else f"{_digits(end)}s")
    return os.path.join(folder, f"{stem}.mp4")


def _seconds(row: dict[str, str], column: str) -> float | None:
    """The number; None where the cell is empty, and where the video starts anyway."""
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


def _size(job: Job) -> int:
    try:
        return os.stat(job.source).st_size
    except (OSError, ValueError):
        return 0  # its worker says why


def _recipe(job: Job, encoding: Encoding) -> dict[str, object]:
    """All that the result follows from. No `source` where there is none any more."""
    recipe = {
        "transcoded_by": "videoctx",
        "encoding": asdict(encoding),
        "start_seconds": job.start_seconds,
        "end_seconds": job.end_seconds,
    }
    with suppress(FileNotFoundError):
        status = os.stat(job.source)
        recipe["source"] = {"size_bytes": status.st_size, "modified_ns": status.st_mtime_ns}
    return recipe


def _is_done(target: Path, recipe: dict[str, object]) -> bool:
    """Whether the target is whole and was made by this recipe.

    Raises:
        FileExistsError: something else has the target's name.
    """
    if not os.path.lexists(target):
        return False
    try:
        with av.open(f"file:{target}") as container:
            made_by = json.loads(container.metadata.get("comment", "null"))
            last = container.streams.video[0].index_entries[-1]
            is_whole = last.pos + last.size == target.stat().st_size  # the index stands first, the frames last
    except (av.FFmpegError, ValueError, IndexError):
        made_by, is_whole = None, False
    if not isinstance(made_by, dict) or made_by.get("transcoded_by") != recipe["transcoded_by"]:
        raise FileExistsError(f"{target} is there and was not made by transcode; expected its name to be free")
    if "source" not in recipe:
        made_by.pop("source", None)
    return is_whole and made_by == recipe


@contextmanager
def _temporary(folder: Path) -> Iterator[tuple[Path, int]]:
    """An empty file and its descriptor, locked as long as it is written; removed on leaving if it is still there."""
    while True:
        path = folder / f"{TEMPORARY_PREFIX}{os.urandom(8).hex()}{TEMPORARY_SUFFIX}"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        with suppress(OSError):  # not every file system has locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            break
        os.close(descriptor)  # another run has taken it for stale before it was locked
    try:
        yield path, descriptor
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _remove_unless_locked(path: str) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_stale = True
    except BlockingIOError:
        is_stale = False
    except OSError:
        is_stale = time.time() - os.fstat(descriptor).st_mtime > NO_LOCKS_STALE_SECONDS
    try:
        if is_stale:
            os.unlink(path)
    finally:
        os.close(descriptor)


def _new_row(row: dict[str, str], path: str) -> dict[str, str]:
    """The row for the new manifest: without seconds, and without what was found in the source."""
    path = f"./{path}" if path[0].isspace() else path  # cells of a manifest are read without outer spaces
    kept = {column: value for column, value in row.items() if column not in INSPECTION_COLUMNS}
    return kept | {"path": path, "start_seconds": "", "end_seconds": ""}


def _write_tables(
    output: Path,
    new_rows: Sequence[dict[str, str]],
    class_names: list[str],
    rows: dict[int, dict[str, str]],
    failures: dict[int, str],
) -> None:
    """The manifest, its class file and the list of failures; each takes its name once all of them are whole."""
    with tempfile.TemporaryDirectory(dir=output, prefix=TEMPORARY_PREFIX) as folder:
        write_manifest(Path(folder) / MANIFEST, new_rows, class_names)
        columns = ("line", "path", "label", "split", "start_seconds", "end_seconds", "reason")
        with (Path(folder) / FAILURES).open("w", newline="", encoding="utf-8", errors="replace") as file:
            writer = csv.DictWriter(file, columns, restval="", extrasaction="ignore", lineterminator="\n")
            writer.writeheader()
            for line, reason in sorted(failures.items()):
                writer.writerow(rows[line] | {"line": line, "reason": reason})
        for name in (CLASS_FILE, MANIFEST, FAILURES):
            os.replace(Path(folder) / name, output / name)
    if not failures:
        (output / FAILURES).unlink(missing_ok=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status; an error is one line on the error stream."""
    try:
        return auto_cli(
            transcode,
            args=arguments,
            parser_class=FlagParser,
            prog="python -m data_prep.transcode",
            epilog="example: python -m data_prep.transcode k400/manifest.csv k400_256 --short_side_px 256",
        )
    except (AnnotationError, SchedulerError, OSError, ValueError) as error:
        print(f"transcode: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("transcode: interrupted; run it again to do the rest", file=sys.stderr)
        return 130


if __name__ == "__main__":
    from data_prep.transcode.__main__ import main as main_by_name  # other processes know this module by its name only

    sys.exit(main_by_name())
