"""Finds the videos that annotation files list, and says of each class how many are there, missing or unreadable."""

import csv
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from data_prep.manifests.video_files import VIDEO_SUFFIXES, walk
from data_prep.scheduling.run_each import Failure, run_each
from data_prep.write_annotations.layouts.listing import ListedVideo, Listing
from videoctx.data.annotations import AnnotationError
from videoctx.data.decoding.containers import VideoDecodeError, probe

MISSING_FILE = "missing.csv"
MOST_CLASSES = 30  # in the table, of those that lack videos
REPLACEMENTS = re.compile("replacement", re.IGNORECASE)  # folder of the Kinetics-400 videos that replace broken ones


@dataclass(frozen=True, slots=True)
class Search:
    """What became of the videos of a listing; each is in one of the three lists, or its row in `problems`."""

    found: list[tuple[ListedVideo, Path]]
    missing: list[tuple[ListedVideo, str]]  # with the path that was expected, without suffix
    unreadable: list[tuple[ListedVideo, Path, str]]  # with the reason
    problems: list[str]  # a line on each row whose video is not its own


def search(root: Path, listing: Listing, *, any_case: bool = False, probe_files: bool = False) -> Search:
    """Look for every listed video at any depth below the root, whatever its suffix.

    Where several files have its name, one in a folder of its class comes first, and one in a folder of another
    class does not count; spaces and underscores in a folder's name are the same.

    Args:
        any_case: capitals of a file's name do not count.
        probe_files: read each container as training will; otherwise only an empty file is unreadable.

    Raises:
        AnnotationError: none of the videos is there.
    """
    paths_of, folders = _index(root, any_case)
    class_folders = {_folder_name(name) for name in listing.class_names}
    result = Search([], [], [], list(listing.problems))
    taken: dict[tuple[int, int], str] = {}  # device and inode -> the row that it is the video of
    for video in listing.videos:
        stems = [stem.casefold() if any_case else stem for stem in video.stems]
        paths = next((paths_of[stem] for stem in stems if stem in paths_of), [])
        best = _best(video, [path.relative_to(root) for path in paths], class_folders)
        if not best:
            frames = next((folders[stem] for stem in stems if stem in folders), None)
            expected = root / video.stems[0] if frames is None else frames
            result.missing.append((video, f"{expected}{'' if frames is None else os.sep}"))
            continue
        path = root / best[0]
        try:
            status = os.stat(path)
        except OSError as error:
            result.unreadable.append((video, path, error.strerror or str(error)))
            continue
        if status.st_size == 0:
            result.unreadable.append((video, path, "the file is empty"))
            continue
        key = status.st_dev, status.st_ino
        others = [other for other in best[1:] if not _is_file(root / other, key)]
        first = taken.setdefault(key, video.where)
        if others:
            result.problems.append(
                f"{video.where}: {str(path)!r} and {str(root / others[0])!r} could both be its video"
            )
        elif first != video.where:
            result.problems.append(f"{video.where}: its video {str(path)!r} is that of {first} too")
        else:
            result.found.append((video, path))
    if not (result.found or result.unreadable):
        raise AnnotationError(_why_none(root, listing, result))
    return _probed(result) if probe_files else result


def show(listing: Listing, result: Search) -> None:
    """A table of the classes, those that lack the largest part of their videos first."""
    counts = {kind: Counter() for kind in ("found", "missing", "unreadable")}
    for kind, counter in counts.items():
        for video, *_ in getattr(result, kind):
            counter.update([*(video.labels or ["(no label)"]), None])  # None: of any class
    listed = sum(counts.values(), Counter())
    lacking = {name: 1 - counts["found"][name] / listed[name] for name in listed if name is not None}
    names = sorted((name for name in lacking if lacking[name]), key=lambda name: (-lacking[name], name))
    table = Table("class", "listed", "found", "missing", "unreadable", title="videos")
    rest = [name for name in lacking if name not in set(names[:MOST_CLASSES])]
    for name in names[:MOST_CLASSES]:
        table.add_row(Text(name), str(listed[name]), *(str(counter[name]) for counter in counts.values()))
    if rest:
        what = "more classes" if names else "classes"
        cells = [sum(counter[name] for name in rest) for counter in (listed, *counts.values())]
        table.add_row(f"{len(rest)} {what}", *map(str, cells))
    table.add_row("all", *(str(counter[None]) for counter in (listed, *counts.values())))
    Console().print(table)
    unseen = [name for name in listing.class_names if name not in listed]
    if unseen:
        print(f"{len(unseen)} classes are not listed at all: {', '.join(unseen[:5])}{', …' if unseen[5:] else ''}")


def write_missing(file: Path, result: Search) -> None:
    """A CSV row for each video that is missing or unreadable; only the header where none is."""
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["file", "row", "split", "label", "path", "problem"])
        for video, path in result.missing:
            problem = "a folder, as of frames" if path.endswith(os.sep) else "missing"
            writer.writerow([video.file, video.row, video.split, "|".join(video.labels), path, problem])
        for video, path, reason in result.unreadable:
            writer.writerow([video.file, video.row, video.split, "|".join(video.labels), path, reason])


def _index(root: Path, any_case: bool) -> tuple[dict[str, list[Path]], dict[str, Path]]:
    """Name without suffix -> video files, and name -> folder."""
    paths_of, folders = defaultdict(list), {}
    for path, is_folder in walk(root):
        if is_folder:
            folders[path.name.casefold() if any_case else path.name] = path
        elif path.suffix.lower() in VIDEO_SUFFIXES:
            paths_of[path.stem.casefold() if any_case else path.stem].append(path)
    return dict(paths_of), folders


def _best(video: ListedVideo, paths: Sequence[Path], class_folders: Iterable[str]) -> list[Path]:
    """The paths that fit equally well."""
    own = {_folder_name(label) for label in video.labels}

    def rank(path: Path) -> int | None:
        names = [_folder_name(part) for part in path.parts[:-1]]
        if own.intersection(names):
            return 0 if any(REPLACEMENTS.search(name) for name in names) else 1
        if own and any(name in class_folders for name in names):
            return None  # of another class
        return 0 if any(REPLACEMENTS.search(name) for name in names) else 2 if video.split in names else 3

    ranks = {path: rank(path) for path in paths}
    fitting = [path for path in paths if ranks[path] is not None]
    return [path for path in fitting if ranks[path] == min(ranks[path] for path in fitting)]


def _folder_name(name: str) -> str:
    return name.replace("_", " ").casefold()


def _is_file(path: Path, key: tuple[int, int]) -> bool:
    try:
        status = os.stat(path)
    except OSError:
        return False
    return (status.st_dev, status.st_ino) == key


def _probed(result: Search) -> Search:
    """The search again, with the files whose containers cannot be read among the unreadable."""
    reasons = {}
    paths = [str(path) for _, path in result.found]
    for path, outcome in run_each(_unreadable, paths, description="Reading containers"):
        reasons[path] = outcome.reason if isinstance(outcome, Failure) else outcome
    found = [(video, path) for video, path in result.found if reasons[str(path)] is None]
    broken = [(video, path, reasons[str(path)]) for video, path in result.found if reasons[str(path)] is not None]
    return Search(found, result.missing, [*result.unreadable, *broken], result.problems)


def _unreadable(path: str) -> str | None:
    """Why a container cannot be read; None where it can."""
    try:
        probe(path)
    except VideoDecodeError as error:
        return error.reason
    return None


def _why_none(root: Path, listing: Listing, result: Search) -> str:
    frames = next((path for _, path in result.missing if path.endswith(os.sep)), None)
    if frames is not None:
        return (
            f"{frames}: a folder, as of extracted frames; expected a video file. To make one:"
            f" ffmpeg -i {frames}%05d.jpg {frames.rstrip(os.sep)}.mp4"
        )
    if result.problems and not result.missing:
        return result.problems[0]
    video = listing.videos[0]
    return (
        f"{root}: none of the {len(listing.videos)} listed videos is there; expected for example"
        f" {' or '.join(f'{stem}.mp4' for stem in video.stems)} at any depth ({video.where})"
    )
