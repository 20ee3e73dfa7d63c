"""What the annotation files of a public dataset say, before anybody looks for the videos."""

import csv
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from videoctx.data.annotations import AnnotationError


@dataclass(frozen=True, slots=True)
class ListedVideo:
    """A row of an annotation file."""

    file: Path
    row: str  # where in the file: "line 7" or "entry 7"
    stems: tuple[str, ...]  # names that its video may have, without suffix; the likeliest first
    labels: tuple[str, ...]  # class names; empty: not given
    split: str
    start_seconds: float | None = None  # in the video file
    end_seconds: float | None = None

    @property
    def where(self) -> str:
        return f"{self.file}, {self.row}"


@dataclass(slots=True)
class Listing:
    """All rows that can be used, in order of file and row, and a line on each one that cannot.

    A reader calls `add` for a row and `refuse` where something is wrong with it.
    """

    class_names: list[str]  # in class order
    videos: list[ListedVideo] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    _first: dict[tuple[str, ...], str] = field(default_factory=dict)  # stems -> where they were listed
    _known: set[str] = field(init=False)

    def __post_init__(self) -> None:
        self._known = set(self.class_names)

    def add(self, video: ListedVideo) -> None:
        """Take a row, or refuse it: an unknown class, a name that is no file name, a video listed before."""
        unknown = [label for label in video.labels if label not in self._known]
        bad = [stem for stem in video.stems if not is_file_name(stem)]
        first = self._first.setdefault(video.stems, video.where)
        if unknown:
            self.refuse(video.where, f"label {unknown[0]!r} is not one of the {len(self.class_names)} classes")
        elif bad:
            self.refuse(video.where, f"{bad[0]!r} cannot be the name of a video")
        elif first != video.where:
            self.refuse(video.where, f"{video.stems[0]!r} is listed before: {first}")
        else:
            self.videos.append(video)

    def refuse(self, where: str, problem: str) -> None:
        self.problems.append(f"{where}: {problem}")

    def check(self) -> "Listing":
        """This listing; AnnotationError where no row of it can be used."""
        if not self.videos:
            raise AnnotationError(self.problems[0] if self.problems else "no rows in the annotation files")
        return self


def is_file_name(stem: str) -> bool:
    """Whether this names a file in a folder: one part, not hidden, no control characters, no outer spaces."""
    return (
        bool(stem)
        and stem == stem.strip()
        and not stem.startswith(".")
        and stem.isprintable()
        and not re.search(r"[/\\]", stem)
    )


def stem_of(name: str, suffixes: Sequence[str]) -> str:
    """The name without one of these suffixes, in lower or upper case; dots inside a name stay."""
    for suffix in suffixes:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def read_lines(file: Path) -> Iterator[tuple[str, str]]:
    """("line N", text without outer spaces) of every line that is not blank.

    Raises:
        AnnotationError: the file cannot be read, or is not UTF-8.
    """
    for number, line in enumerate(_text(file).split("\n"), 1):
        if line.strip():
            yield f"line {number}", line.strip()


def read_table(file: Path, *, one_line_rows: bool) -> tuple[list[str], Iterator[tuple[str, list[str] | str]]]:
    """The header of a CSV file, and ("line N", cells) of each row; a text instead of cells says what is wrong.

    Args:
        one_line_rows: no cell has a line break, so that a quote that is never closed spoils only its own line.

    Raises:
        AnnotationError: the file cannot be read, is not UTF-8, or is empty.
    """
    lines = [f"{line}\n" for line in _text(file).split("\n")]
    if not lines[0].strip():
        raise AnnotationError(f"{file}: the first line is empty; expected the header of a CSV file")
    header = [name.strip() for name in next(csv.reader(lines[:1]))]
    return header, _one_line_rows(lines, header) if one_line_rows else _rows(lines, header)


def read_json(file: Path) -> object:
    """What a JSON file holds; an object that gives a key more than once is a `Doubled`, with the last value.

    Raises:
        AnnotationError: the file cannot be read, or is not JSON.
    """
    try:
        return json.loads(_text(file), object_pairs_hook=_object)
    except (json.JSONDecodeError, RecursionError) as error:
        raise AnnotationError(f"{file}: not a JSON file ({error})") from error


class Doubled(dict):
    """A JSON object that gave some keys more than once."""

    repeated: list[str]


def seconds(text: object, column: str) -> float:
    """Raises ValueError, which says what the column holds, where that is no time."""
    try:
        value = float(text)
    except (TypeError, ValueError):
        value = -1.0
    if not 0 <= value < float("inf"):
        raise ValueError(f"{column} is {text!r}; expected seconds, zero or more")
    return value


def existing(folder: Path, *names: str) -> Path:
    """The first of these names that is a file in the folder; AnnotationError where none is."""
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
