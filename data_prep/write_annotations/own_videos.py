"""Read your own videos from a folder or from a CSV file, as rows to be split.

Each reader returns the rows, and a message about each file or row that cannot be used. Labels are as they were read:
`data_prep.write_annotations.class_labels` makes class names of them.
"""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from data_prep.manifests.video_files import check_folder, folder_contents
from data_prep.write_annotations.group_split import Row
from data_prep.write_annotations.passed_over import counted_files, folders_without_video
from data_prep.write_annotations.split_folders import find_split_folders, split_of_name
from videoctx.data.annotations import LABEL_SEPARATOR, AnnotationError, read_csv
from videoctx.data.class_names import nfc
from videoctx.data.decoding.image_names import has_images, is_image
from videoctx.data.storage.locations import VIDEO_SUFFIXES, holds_images
from videoctx.first_few import first_few

MOST_LISTED = 5  # values, of which there may be thousands


@dataclass(frozen=True, slots=True)
class FoundVideos:
    """The videos of a folder."""

    rows: list[Row]
    left_out: list[str]  # a message about each video file that cannot be used
    decisions: list[str]  # how the folders were understood, and how many files are no videos
    without_video: list[str] = field(default_factory=list)  # a message about each class folder without a video


def read_folders(root: Path, group_pattern: str | None = None, *, frames: bool = False) -> FoundVideos:
    """Return the rows of ROOT/CLASS/…/video, sorted by path.

    ROOT/train/CLASS and ROOT/CLASS/train are understood as splits (`data_prep.write_annotations.split_folders`).
    Every file without a `group_pattern` is then a recording of its own, because such folders often number their files.
    In ROOT/CLASS/ID/video, the videos of one ID are one recording, if there are several IDs.

    Args:
        frames: Folders and archives of images are videos too.

    Raises:
        AnnotationError: no root, no video file, none that can be used, folders that could be splits or classes, or a
            pattern that cannot be used.
    """
    pattern = None if group_pattern is None else _compiled("--group_pattern", group_pattern, "group")
    check_folder(root)
    contents = folder_contents(root, frames=frames)
    split_folders = find_split_folders(root, contents.videos)
    level = split_folders.level
    inner_folders = set() if level is not None else {path.parts[1] for path in contents.videos if len(path.parts) > 2}
    by_folder = pattern is None and len(inner_folders) > 1

    def row(path: Path) -> Row:
        folders = path.parts[:-1]
        if level is not None and (len(folders) < 2 or not split_of_name(folders[level])):
            raise ValueError("is in no class folder of a split folder")
        if not folders:
            raise ValueError("is in no class folder")
        label = folders[1] if level == 0 else folders[0]
        if not label.strip():
            raise ValueError("is in a class folder whose name is blank")
        if by_folder and len(folders) > 1:
            name = folders[1]
        else:
            whole = _without_suffix(root, path)
            name = whole.name if level is None else whole.as_posix()
        group = name if pattern is None else _parts(pattern, path.name, "group")["group"].strip()
        return Row(path, (label,), nfc(group), None if level is None else split_of_name(folders[level]))

    rows, left_out = _usable(root, contents.videos, contents.others, row)
    decisions = [*split_folders.decisions, *counted_files(contents.others)]
    if by_folder:
        decisions.append(f"{len(inner_folders)} folders inside class folders: the videos in each are one recording")
    return FoundVideos(rows, left_out, decisions, folders_without_video(contents, in_splits=level == 0))


def read_pattern(root: Path, regex: str, *, frames: bool = False) -> FoundVideos:
    """Return the rows of the files whose path in ROOT matches, sorted by path.

    Args:
        frames: Folders and archives of images are videos too.

    Raises:
        AnnotationError: no root, no video file, none that can be used, or a regex that cannot be used.
    """
    pattern = _compiled("REGEX", regex, "label")
    check_folder(root)
    contents = folder_contents(root, frames=frames)

    def row(path: Path) -> Row:
        parts = _parts(pattern, path.as_posix(), "label")
        split = parts.get("split")
        group = parts.get("group", _without_suffix(root, path).as_posix()).strip()
        return Row(path, (parts["label"],), nfc(group), split and (split_of_name(split) or split.strip()))

    rows, left_out = _usable(root, contents.videos, contents.others, row)
    return FoundVideos(rows, left_out, counted_files(contents.others))


def read_csv_rows(
    root: Path,
    csv_file: Path,
    *,
    path_column: str = "path",
    label_column: str = "label",
    group_columns: Sequence[str] = (),
    start_column: str | None = None,
    end_column: str | None = None,
    split_column: str | None = None,
    conditions: Mapping[str, Mapping[str, set[str]]] | None = None,
    frames: bool = False,
) -> tuple[list[Row], list[str]]:
    """Return the rows of the CSV file in its order, and a message about each one that cannot be used.

    Args:
        conditions: split -> column -> values: rows with one of the values in each column are in that split.
        frames: Folders and archives of images are videos too.

    Raises:
        AnnotationError: no root, an unreadable file, a missing column, a condition that no row matches, a row
            that matches two, or no row that can be used.
    """
    check_folder(root)
    conditions = conditions or {}
    optional = [column for column in (start_column, end_column, split_column) if column]
    named = [column for condition in conditions.values() for column in condition]
    table = read_csv(csv_file, [path_column, label_column, *group_columns, *optional, *named], kind="CSV file")
    table.refuse_bad_rows()
    rows, left_out = [], []
    for line, cells in zip(table.lines, table.rows, strict=True):
        where = f"{csv_file}, line {line}"
        splits = [split for split, condition in conditions.items() if _matches(cells, condition)]
        if len(splits) > 1:
            raise AnnotationError(f"{where}: matches --{'_where and --'.join(splits)}_where; expected one split")
        try:
            for column in (path_column, label_column, *([split_column] if split_column else [])):
                if not cells[column]:
                    raise ValueError(f"{column} is empty")
            labels = tuple(dict.fromkeys(label.strip() for label in cells[label_column].split(LABEL_SEPARATOR)))
            if not all(labels):
                raise ValueError(f"{label_column} is {cells[label_column]!r}; expected a class, or several as run|jump")
            path = Path(cells[path_column])
            _check_video(root / path, frames=frames)
            start, end = _seconds(cells, start_column), _seconds(cells, end_column)
            if start is not None and end is not None and end <= start:
                raise ValueError(f"{end_column} {end:g} is not after {start_column} {start:g}")
        except ValueError as error:
            left_out.append(f"{where}: {error}")
            continue
        if group_columns:
            group = ", ".join(f"{column}={cells[column]}" for column in group_columns)
        else:
            group = _without_suffix(root, _place_in(root, path)).as_posix()
        split = cells[split_column] if split_column else next(iter(splits), None)
        rows.append(Row(path, labels, nfc(group), split, start, end))
    if not rows:
        raise AnnotationError(f"{csv_file}: none of {len(table.rows)} rows can be used; {left_out[0]}")
    for split, condition in conditions.items():
        for column, values in condition.items():
            present = sorted({cells[column] for cells in table.rows})
            unknown = sorted(values.difference(present))
            if unknown:
                raise AnnotationError(
                    f"{csv_file}: no row has {column}={unknown[0]}; its values are {first_few(present, MOST_LISTED)}"
                )
        if not any(row.split == split for row in rows):
            raise AnnotationError(f"{csv_file}: no row that can be used matches --{split}_where")
    return rows, left_out


def _usable(
    root: Path, videos: Sequence[Path], others: Sequence[Path], row_of: Callable[[Path], Row]
) -> tuple[list[Row], list[str]]:
    """Return the row of each video file, and a message about each one that cannot be used."""
    if not videos:
        counted = "".join(f"; {text}" for text in counted_files(others))
        images = "; --frames_fps FPS reads folders of images as videos" if any(map(is_image, map(str, others))) else ""
        raise AnnotationError(f"{root}: no video file; expected some of {', '.join(VIDEO_SUFFIXES)}{counted}{images}")
    rows, left_out = [], []
    for path in videos:
        try:
            if not os.path.exists(root / path):
                raise ValueError("is a broken link")
            if len(str(path).splitlines()) > 1:
                raise ValueError("has a line break in its name")
            str(path).encode()  # a name that is not UTF-8 raises a ValueError too
            rows.append(row_of(path))
        except ValueError as error:
            left_out.append(f"{str(path)!r}: {error}")
    if not rows:
        raise AnnotationError(f"{root}: none of {len(videos)} video files can be used; {left_out[0]}")
    return rows, left_out


def _check_video(path: Path, *, frames: bool) -> None:
    """Raise a ValueError if there is no file of this path, or if it holds images and these are not read as videos."""
    is_file = os.path.isfile(path)
    is_frames = holds_images(str(path)) if is_file else os.path.isdir(path) and has_images(path)
    if is_frames and not frames:
        what = "an archive" if is_file else "a folder"
        raise ValueError(f"{str(path)!r} is {what} of images, which --frames_fps FPS reads")
    if not (is_file or is_frames):
        raise ValueError(f"no file {str(path)!r}")


def _place_in(root: Path, path: Path) -> Path:
    """Return the path of a file from the root, also of one that is given as an absolute path in there."""
    place, folder = (Path(os.path.abspath(one)) for one in (root / path, root))
    return place.relative_to(folder) if place.is_relative_to(folder) else place


def _without_suffix(root: Path, path: Path) -> Path:
    """Return a path without the suffix of a file; a dot in the name of a folder of images stays."""
    return path if os.path.isdir(root / path) else path.with_suffix("")


def _compiled(option: str, regex: str, needed: str) -> re.Pattern[str]:
    try:
        pattern = re.compile(regex)
    except re.error as error:
        raise AnnotationError(f"{option} {regex!r} is not a regular expression: {error}") from error
    if needed not in pattern.groupindex:
        raise AnnotationError(f"{option} {regex!r} has no group {needed!r}; expected (?P<{needed}>...) in it")
    return pattern


def _parts(pattern: re.Pattern[str], text: str, needed: str) -> dict[str, str]:
    """Return what the named groups matched, without those that matched nothing. `needed` must match something."""
    match = pattern.match(text)
    parts = {name: part or "" for name, part in match.groupdict().items()} if match else {}
    if not parts.get(needed, "").strip():
        raise ValueError(f"has no {needed} by {pattern.pattern!r}")
    return {name: part for name, part in parts.items() if part.strip()}


def _seconds(cells: Mapping[str, str], column: str | None) -> float | None:
    if column is None or not cells[column]:
        return None
    try:
        seconds = float(cells[column])
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise ValueError(f"{column} is {cells[column]!r}; expected seconds, zero or more, or nothing")
    return seconds


def _matches(cells: Mapping[str, str], condition: Mapping[str, set[str]]) -> bool:
    return all(cells[column] in values for column, values in condition.items())
