"""The contents of the annotation files of a public dataset, before the videos are searched for."""

import csv
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from videoctx.data.annotations import AnnotationError, check_class_names
from videoctx.data.class_names import nfc


@dataclass(frozen=True, slots=True)
class ListedVideo:
    """A row of an annotation file."""

    file: Path
    row: str  # where in the file: "line 7" or "entry 7"
    stems: tuple[str, ...]  # possible names of its video, without suffix; the likeliest first
    labels: tuple[str, ...]  # class names; empty: not given
    split: str
    start_seconds: float | None = None  # in the video file
    end_seconds: float | None = None
    num_frames: int | None = None  # as listed; None: not stated
    first_frame: int = 0  # of those in its folder

    @property
    def where(self) -> str:
        return f"{self.file}, {self.row}"


@dataclass(slots=True)
class Listing:
    """All usable rows, in order of file and row, and a message about each other row.

    A reader calls `add` for a row, and `refuse` for a row that it cannot use.
    """

    class_names: list[str]  # in class order
    by_path: bool = False  # names of videos are paths, with or without suffix
    videos: list[ListedVideo] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    decisions: list[str] = field(default_factory=list)  # how the files were understood
    _first: dict[tuple[object, ...], str] = field(default_factory=dict)  # stems, first frame -> where they were listed
    _known: set[str] = field(init=False)

    def __post_init__(self) -> None:
        self.class_names = [nfc(name) for name in self.class_names]
        self._known = set(self.class_names)

    def add(self, video: ListedVideo) -> None:
        """Add a row, or refuse it: an unknown class, a name that is not a file name, a video that was listed before."""
        video = replace(video, labels=tuple(nfc(label) for label in video.labels))
        unknown = [label for label in video.labels if label not in self._known]
        bad = [stem for stem in video.stems if not (is_path(stem) if self.by_path else is_file_name(stem))]
        first = self._first.setdefault((*video.stems, video.first_frame), video.where)
        if unknown:
            self.refuse(video.where, f"label {unknown[0]!r} is not one of the {len(self.class_names)} classes")
        elif bad:
            self.refuse(video.where, f"{bad[0]!r} cannot be the name of a video")
        elif first != video.where:
            self.refuse(video.where, f"{video.stems[0]!r} is listed twice, first in {first}")
        else:
            self.videos.append(video)

    def refuse(self, where: str, problem: str) -> None:
        """Add a message about a row."""
        self.problems.append(f"{where}: {problem}")

    def check(self) -> "Listing":
        """Return this listing; raise an AnnotationError if it has no usable row or if classes look alike."""
        if not self.videos:
            raise AnnotationError(self.problems[0] if self.problems else "no rows in the annotation files")
        check_class_names(self.class_names, self.videos[0].file.parent)
        return self


def is_file_name(stem: str) -> bool:
    """Return whether this is the name of a file: one part, not hidden, no control characters, no outer spaces."""
    return (
        bool(stem)
        and stem == stem.strip()
        and not stem.startswith(".")
        and stem.isprintable()
        and not re.search(r"[/\\]", stem)
    )


def is_path(path: str) -> bool:
    """Return whether every part is the name of a file or folder, or leads to a folder above."""
    return all(part == ".." or is_file_name(part) for part in path.removeprefix("/").split("/"))


def stem_of(name: str, suffixes: Sequence[str]) -> str:
    """Return the name without one of these suffixes, in lower or upper case; other dots are kept."""
    for suffix in suffixes:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def read_lines(file: Path) -> Iterator[tuple[str, str]]:
    """Yield ("line N", text without outer spaces) of every line that is not blank.

    Raises:
        AnnotationError: the file cannot be read, or is not UTF-8.
    """
    for number, line in enumerate(_text(file).split("\n"), 1):
        if line.strip():
            yield f"line {number}", line.strip()


def read_table(file: Path, *, one_line_rows: bool) -> tuple[list[str], Iterator[tuple[str, list[str] | str]]]:
    """Return the header of a CSV file, and ("line N", cells) of each row; a string instead of cells is a problem.

    Args:
        one_line_rows: no cell has a line break, so a quote that is never closed affects only its own line.

    Raises:
        AnnotationError: the file cannot be read, is not UTF-8, or is empty.
    """
    lines = [f"{line}\n" for line in _text(file).split("\n")]
    if not lines[0].strip():
        raise AnnotationError(f"{file}: the first line is empty; expected the header of a CSV file")
    header = [name.strip() for name in next(csv.reader(lines[:1]))]
    return header, _one_line_rows(lines, header) if one_line_rows else _rows(lines, header)


def read_json(file: Path) -> object:
    """Return the contents of a JSON file. An object that has a key more than once is a `Doubled`, with the last value.

    Raises:
        AnnotationError: the file cannot be read, or is not JSON.
    """
    try:
        return json.loads(_text(file), object_pairs_hook=_object)
    except (json.JSONDecodeError, RecursionError) as error:
        raise AnnotationError(f"{file}: not a JSON file ({error})") from error


class Doubled(dict):
    """A JSON object that had some keys more than once."""

    repeated: list[str]


def seconds(text: object, column: str) -> float:
    """Return the number of seconds in a column.

    Raises:
        ValueError: it is not a number of zero or more; the message states the value.
    """
    try:
        value = float(text)  # type: ignore[arg-type]  # a TypeError is a problem of the file
    except (TypeError, ValueError):
        value = -1.0
    if not 0 <= value < float("inf"):
        raise ValueError(f"{column} is {text!r}; expected seconds, zero or more")
    return value


def existing(folder: Path, *names: str) -> Path:
    """Return the first of these names that is a file in the folder.

    Raises:
        AnnotationError: there is no such file.
    """
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise AnnotationError(f"{folder}: no file {' or '.join(names)}; expected the folder of the official annotations")


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise AnnotationError(f"{file}: cannot read the annotations ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise AnnotationError(f"{file}: the annotations are not UTF-8 text ({error})") from error


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    keys = [key for key, _ in pairs]
    if len(set(keys)) == len(keys):
        return dict(pairs)
    doubled = Doubled(pairs)
    doubled.repeated = sorted({key for key in keys if keys.count(key) > 1})
    return doubled


def _one_line_rows(lines: list[str], header: list[str]) -> Iterator[tuple[str, list[str] | str]]:
    for number, line in enumerate(lines[1:], 2):
        if line.strip():
            try:
                cells = next(csv.reader([line], strict=True))
            except csv.Error as error:
                yield f"line {number}", f"not a CSV row ({error})"
                continue
            yield f"line {number}", _counted(cells, header)


def _rows(lines: list[str], header: list[str]) -> Iterator[tuple[str, list[str] | str]]:
    reader = csv.reader(lines)
    next(reader)
    while True:
        number = reader.line_num + 1  # where the row starts
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield f"line {number}", f"not a CSV row ({error})"
            continue
        if cells:
            yield f"line {number}", _counted(cells, header)


def _counted(cells: list[str], header: list[str]) -> list[str] | str:
    if len(cells) != len(header):
        return f"{len(cells)} columns; expected {len(header)} as in the header"
    return [cell.strip() for cell in cells]
