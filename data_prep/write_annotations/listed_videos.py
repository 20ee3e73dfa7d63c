"""Find the videos that annotation files list, and count how many of each class are found, missing or unreadable."""

import os
import re
import stat
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from rich.table import Table
from rich.text import Text

from data_prep.manifests.csv_output import write_csv
from data_prep.manifests.manifest_output import label_cell
from data_prep.scheduling.run_each import Failure, run_each
from data_prep.write_annotations.layouts.listing import ListedVideo, Listing, stem_of
from data_prep.write_annotations.listed_frames import with_seconds
from data_prep.write_annotations.listed_paths import ListedPaths
from videoctx.data.annotations import AnnotationError
from videoctx.data.class_names import nfc
from videoctx.data.decoding.containers import VideoDecodeError, probe_whole
from videoctx.data.decoding.image_files import open_images
from videoctx.data.folder_walk import walk
from videoctx.data.storage.locations import ARCHIVES_OF_IMAGES, VIDEO_SUFFIXES, holds_images
from videoctx.first_few import first_few
from videoctx.printed_tables import Console

MISSING_FILE = "missing.csv"
MISSING_COLUMNS = ("file", "row", "split", "label", "path", "problem")
MOST_CLASSES = 30  # in the table, of those that lack videos
PREVIEW = ".gif"  # a video only if no other file of that name is beside it
REPLACEMENTS = re.compile("replacement", re.IGNORECASE)  # folder of the Kinetics-400 videos that replace broken ones


@dataclass(frozen=True, slots=True)
class Search:
    """The result for the videos of a listing; each is in one of the three lists, or its row in `problems`."""

    found: list[tuple[ListedVideo, Path]]
    missing: list[tuple[ListedVideo, str]]  # with the path that was expected, without suffix
    unreadable: list[tuple[ListedVideo, Path, str]]  # with the reason
    problems: list[str]  # a message about each row whose video is ambiguous


def search(
    root: Path, listing: Listing, *, any_case: bool = False, probe_files: bool = False, frames_fps: float | None = None
) -> Search:
    """Search for every listed video in the root, whatever its suffix: by its path if the listing has paths
    (`data_prep.write_annotations.listed_paths`), otherwise by its name at any depth.

    If several files have its name, one in a folder of its class is preferred, and one in a folder of another class is
    ignored. Spaces and underscores in a folder's name are equal.

    Args:
        any_case: ignore the case of file names.
        frames_fps: Folders and archives of images are videos too, with this frame rate. None: they are not.
        probe_files: read each container as training does; otherwise only an empty file is unreadable.

    Raises:
        AnnotationError: none of the videos was found.
    """
    frames = frames_fps is not None
    find = _by_path(root, listing, frames) if listing.by_path else _by_name(root, listing, any_case, frames)
    result = Search([], [], [], list(listing.problems))
    taken: dict[tuple[int, int, int], str] = {}  # device, inode and first frame -> the row whose video it is
    for video in listing.videos:
        best, folder = find(video)
        if not best:
            expected = root / video.stems[0] if folder is None else folder
            result.missing.append((video, f"{expected}{'' if folder is None else os.sep}"))
            continue
        path = best[0]
        try:
            status = os.stat(path)
        except OSError as error:
            result.unreadable.append((video, path, error.strerror or str(error)))
            continue
        if status.st_size == 0 and not stat.S_ISDIR(status.st_mode):
            result.unreadable.append((video, path, "the file is empty"))
            continue
        key = status.st_dev, status.st_ino
        others = [other for other in best[1:] if not _is_file(other, key)]
        first = taken.setdefault((*key, video.first_frame), video.where)
        if others:
            result.problems.append(f"{video.where}: {str(path)!r} and {str(others[0])!r} could both be its video")
        elif first != video.where:
            result.problems.append(f"{video.where}: its video {str(path)!r} is also that of {first}")
        else:
            result.found.append((video, path))
    if not (result.found or result.unreadable):
        raise AnnotationError(_nothing_found(root, listing, result))
    result = _counted(result, frames_fps)
    return _probed(result) if probe_files else result


def print_table(listing: Listing, result: Search) -> None:
    """Print a table of the classes, those that lack the largest fraction of their videos first."""
    counts: dict[str, Counter[str | None]] = {kind: Counter() for kind in ("found", "missing", "unreadable")}
    for kind, counter in counts.items():
        for video, *_ in getattr(result, kind):
            counter.update([*(video.labels or ["(no label)"]), None])  # None: of any class
    listed: Counter[str | None] = sum(counts.values(), Counter())
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
    unused = [name for name in listing.class_names if name not in listed]
    if unused:
        print(f"{len(unused)} classes are not listed at all: {first_few(unused, 5)}")


def write_missing(file: Path, result: Search) -> None:
    """Write one CSV row per video that is missing or unreadable; only the header if there is none."""
    problems = [
        (video, path, "a folder, as of frames" if path.endswith(os.sep) else "missing")
        for video, path in result.missing
    ]
    problems += [(video, str(path), reason) for video, path, reason in result.unreadable]
    rows = [
        {
            "file": str(video.file),
            "row": video.row,
            "split": video.split,
            "label": label_cell(video.labels),
            "path": path,
            "problem": problem,
        }
        for video, path, problem in problems
    ]
    write_csv(file, rows, MISSING_COLUMNS)


def _by_path(root: Path, listing: Listing, frames: bool) -> Callable[[ListedVideo], tuple[list[Path], Path | None]]:
    paths = ListedPaths(root, listing, frames=frames)
    if paths.left_out:
        listing.decisions.append(f"{root} is read as the folder {str(PurePosixPath(*paths.left_out))!r} of the lists")
    return paths.find


def _by_name(
    root: Path, listing: Listing, any_case: bool, frames: bool
) -> Callable[[ListedVideo], tuple[list[Path], Path | None]]:
    """Return a function that returns the files that may be a video, and a folder of its name."""
    paths_of, folders = _index(root, any_case, frames)
    class_folders = {_folder_name(name) for name in listing.class_names}

    def find(video: ListedVideo) -> tuple[list[Path], Path | None]:
        stems = [_stem_key(stem, any_case) for stem in video.stems]
        paths = next((paths_of[stem] for stem in stems if stem in paths_of), [])
        best = _best(video, [path.relative_to(root) for path in paths], class_folders)
        return [root / path for path in best], next((folders[stem] for stem in stems if stem in folders), None)

    return find


def _index(root: Path, any_case: bool, frames: bool) -> tuple[dict[str, list[Path]], dict[str, Path]]:
    """Return the videos by name without suffix, and the other folders by name."""
    paths_of, folders = defaultdict(list), {}
    suffixes = (*VIDEO_SUFFIXES, *ARCHIVES_OF_IMAGES)
    for path, kind in walk(root, frames=frames):
        if kind == "folder":
            folders[_stem_key(path.name, any_case)] = path
        elif kind == "video":
            paths_of[_stem_key(stem_of(path.name, suffixes), any_case)].append(path)
    return dict(paths_of), folders


def _best(video: ListedVideo, paths: Sequence[Path], class_folders: Iterable[str]) -> list[Path]:
    """Return the best paths of the video; several if they are equally good."""
    own = {_folder_name(label) for label in video.labels}

    def rank(path: Path) -> int | None:
        names = [_folder_name(part) for part in path.parts[:-1]]
        if own.intersection(names):
            return 0 if any(REPLACEMENTS.search(name) for name in names) else 1
        if own and any(name in class_folders for name in names):
            return None  # in a folder of another class
        return 0 if any(REPLACEMENTS.search(name) for name in names) else 2 if video.split in names else 3

    originals = {path.with_suffix("") for path in paths if path.suffix.lower() != PREVIEW}
    paths = [path for path in paths if path.suffix.lower() != PREVIEW or path.with_suffix("") not in originals]
    ranked = [(path, value) for path in paths if (value := rank(path)) is not None]
    best = min((value for _, value in ranked), default=None)
    return [path for path, value in ranked if value == best]


def _folder_name(name: str) -> str:
    return nfc(name).replace("_", " ").casefold()


def _stem_key(stem: str, any_case: bool) -> str:
    return nfc(stem).casefold() if any_case else nfc(stem)


def _is_file(path: Path, key: tuple[int, int]) -> bool:
    try:
        status = os.stat(path)
    except OSError:
        return False
    return (status.st_dev, status.st_ino) == key


def _counted(result: Search, frames_fps: float | None) -> Search:
    """Return the search with the segments of videos whose numbers of frames are listed."""
    counted = Search([], result.missing, list(result.unreadable), list(result.problems))
    for video, path in result.found:
        try:
            counted.found.append((with_seconds(video, path, frames_fps), path))
        except VideoDecodeError as error:
            counted.unreadable.append((video, path, error.reason))
        except ValueError as error:
            counted.problems.append(f"{video.where}: {error}")
    return counted


def _probed(result: Search) -> Search:
    """Return the search with the files whose containers cannot be read among the unreadable."""
    reasons: dict[str, str | None] = {}
    paths = [str(path) for _, path in result.found]
    with closing(run_each(_problem, paths, description="Reading containers")) as outcomes:
        for name, outcome in outcomes:
            reasons[name] = outcome.reason if isinstance(outcome, Failure) else outcome
    found, unreadable = [], list(result.unreadable)
    for video, path in result.found:
        reason = reasons[str(path)]
        if reason is None:
            found.append((video, path))
        else:
            unreadable.append((video, path, reason))
    return Search(found, result.missing, unreadable, result.problems)


def _problem(path: str) -> str | None:
    """Return why a container cannot be read, or None if it can."""
    try:
        if holds_images(path):
            with open_images(path):
                return None
        probe_whole(path)
    except VideoDecodeError as error:
        return error.reason
    return None


def _nothing_found(root: Path, listing: Listing, result: Search) -> str:
    frames = next((path for _, path in result.missing if path.endswith(os.sep)), None)
    if frames is not None:
        return (
            f"{frames}: a folder, as of extracted frames; expected a video file, or --frames_fps FPS, which reads"
            " folders of images as videos"
        )
    if result.problems and not result.missing:
        return result.problems[0]
    video = listing.videos[0]
    if listing.by_path:
        return (
            f"{root}: none of the {len(listing.videos)} listed videos was found; expected for example"
            f" {str(root / video.stems[0])!r} ({video.where})"
        )
    return (
        f"{root}: none of the {len(listing.videos)} listed videos was found; expected for example"
        f" {' or '.join(f'{stem}.mp4' for stem in video.stems)} at any depth ({video.where})"
    )
