"""The lines of a list file: a path, perhaps a number of frames, and labels.

| written by | line |
|---|---|
| mmaction2, TSN, TSM: videos | `path label`, or `path label label …` if a video shows several classes |
| mmaction2, TSN, TSM: folders of frames | `path frames label`, or with several labels; `path offset frames label` |
| PySlowFast | `path label` or `path frames label`, separated by a space, a comma or another character |
| Something-Something, Jester | `ID;class name` |

A label of -1, as in lists of test videos, is no label.

Sources: `mmaction/datasets/video_dataset.py` and `rawframe_dataset.py` of github.com/open-mmlab/mmaction2,
`slowfast/datasets/kinetics.py` of github.com/facebookresearch/SlowFast.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from data_prep.write_annotations.layouts.listing import read_lines
from videoctx.data.annotations import LABEL_SEPARATOR, AnnotationError
from videoctx.data.storage.locations import VIDEO_SUFFIXES

Columns = Literal["path,labels", "path,frames,labels", "path,offset,frames,labels"]
Delimiter = Literal["tab", "semicolon", "comma", "space"]
CHARACTER: dict[Delimiter, str] = {"tab": "\t", "semicolon": ";", "comma": ",", "space": " "}
HEADER = ("path", "video", "file", "filename", "name", "id"), ("label", "class", "label_index", "class_index")
UNLABELED = "-1"  # of a video whose label is not given, as in lists of test videos


@dataclass(frozen=True, slots=True)
class ListLine:
    """A line of a list file."""

    row: str  # "line 7"
    path: str  # as it is written
    labels: tuple[str, ...]  # numbers or class names; empty: not given
    problem: str = ""  # why the line cannot be used; empty: it can
    num_frames: int | None = None
    offset: int = 0  # number of frames before the first one
    is_unlabeled: bool = False  # the label is -1


@dataclass(frozen=True, slots=True)
class ListFile:
    """The lines of a list file, and how they were understood."""

    lines: list[ListLine]
    delimiter: Delimiter
    columns: Columns


def read_list_file(
    file: Path, *, num_classes: int | None, delimiter: Delimiter | None = None, columns: Columns | None = None
) -> ListFile:
    """Read a list file. What separates the columns, and whether there is a number of frames, are seen from its lines.

    Args:
        num_classes: A second column with a larger number is the number of frames. None: the classes are not known.

    Raises:
        AnnotationError: The file cannot be read, has no lines or a header, or its columns have two possible meanings.
    """
    lines = list(read_lines(file))
    if not lines:
        raise AnnotationError(f"{file}: no lines; expected 'path label' on each")
    texts = [text for _, text in lines]
    separator = _seen_delimiter(texts) if delimiter is None else delimiter
    rows = [_cells(text, separator) for text in texts]
    if _is_header(rows[0], rows[1:]):
        raise AnnotationError(f"{file}: line 1 is a header; expected lines 'path label', or the command csv")
    columns = columns or _columns(file, rows, num_classes)
    with_labels = any(len(cells) > 1 for cells in rows)
    parsed = [_line(row, cells, columns, with_labels) for (row, _), cells in zip(lines, rows, strict=True)]
    return ListFile(parsed, separator, columns)


def _is_header(first: Sequence[str], others: Sequence[Sequence[str]]) -> bool:
    """Return whether the first line has the usual names of columns, or words where all others have numbers."""
    if len(first) < 2:
        return False
    if all(cell.lower() in names for cell, names in zip(first, HEADER, strict=False)):
        return True
    numbers = [[_are_numbers(cell) for cell in cells[1:]] for cells in (first, *others)]
    return bool(others) and not any(numbers[0]) and all(found and all(found) for found in numbers[1:])


def _seen_delimiter(texts: Sequence[str]) -> Delimiter:
    return max(CHARACTER, key=lambda name: _fit([_cells(text, name) for text in texts]))


def is_number(text: str) -> bool:
    """Return whether the text is a number of ASCII digits."""
    return text.isascii() and text.isdecimal()


def _is_label(cell: str) -> bool:
    return cell == UNLABELED or is_number(cell)


def _are_numbers(cell: str) -> bool:
    """Return whether a cell is a number, several of them, or that of no label.

    >>> _are_numbers("3|5"), _are_numbers("-1"), _are_numbers("run")
    (True, True, False)
    """
    return _is_label(cell.replace(LABEL_SEPARATOR, ""))


def _cells(text: str, delimiter: Delimiter) -> list[str]:
    """Return the path and the other cells of a line.

    >>> _cells("my video.mp4 3 5", "space"), _cells("a.mp4 riding a bike", "space")
    (['my video.mp4', '3', '5'], ['a.mp4', 'riding a bike'])
    """
    if delimiter != "space":
        character = CHARACTER[delimiter]
        cells = next(csv.reader([text], delimiter=character)) if '"' in text else text.split(character)
        cells = [cell.strip() for cell in cells]
        return cells[:-1] if len(cells) > 2 and not cells[-1] else cells
    words = text.split()
    numbers = len(words)
    while numbers > 1 and _are_numbers(words[numbers - 1]):
        numbers -= 1
    if numbers < len(words) and (numbers == 1 or _is_video(words[numbers - 1])):
        return [text.rsplit(maxsplit=len(words) - numbers)[0], *words[numbers:]]
    ends = next((end for end, word in enumerate(words, 1) if _is_video(word)), None)
    if ends is None and numbers < len(words):
        return [text.rsplit(maxsplit=len(words) - numbers)[0], *words[numbers:]]
    return [" ".join(words[: ends or 1]), " ".join(words[ends or 1 :])] if len(words) > (ends or 1) else [text]


def _is_video(path: str) -> bool:
    return path.lower().endswith(VIDEO_SUFFIXES)


def _fit(rows: Sequence[Sequence[str]]) -> tuple[int, int, int]:
    """Return how many lines have a video and numbers, anything and numbers, at least two cells."""
    several = [cells for cells in rows if len(cells) > 1 and cells[0]]
    numbers = [cells for cells in several if all(map(_are_numbers, cells[1:]))]
    return sum(_is_video(cells[0]) for cells in numbers), len(numbers), len(several)


def _columns(file: Path, rows: Sequence[Sequence[str]], num_classes: int | None) -> Columns:
    if any(len(cells) < 3 or not (is_number(cells[1]) and _is_label(cells[2])) for cells in rows):
        return "path,labels"
    if not any(_is_video(cells[0]) for cells in rows):  # folders of frames
        if all(len(cells) == 4 and _is_label(cells[3]) for cells in rows) and _have_offsets(rows, num_classes):
            return "path,offset,frames,labels"
        return "path,frames,labels"
    if num_classes is not None and any(int(cells[1]) >= num_classes for cells in rows):
        return "path,frames,labels"
    raise AnnotationError(
        f"{file}: every line has several numbers ({' '.join(rows[0][1:])}), which may be labels, or a number of frames"
        " and labels; expected --columns path,labels or --columns path,frames,labels"
    )


def _have_offsets(rows: Sequence[Sequence[str]], num_classes: int | None) -> bool:
    """Return whether lines of three numbers are offset, frames and label: no frames at all, or no such class."""
    return any(int(cells[1]) == 0 or (num_classes is not None and int(cells[2]) >= num_classes) for cells in rows)


def _line(row: str, cells: Sequence[str], columns: Columns, with_labels: bool) -> ListLine:
    path, *values = cells
    expected = {
        "path,labels": "a path and labels",
        "path,frames,labels": "a path, a number of frames and labels",
        "path,offset,frames,labels": "a path, an offset, a number of frames and labels",
    }[columns]
    numbers, labels_of = [], values
    if columns != "path,labels":
        count = columns.count(",") - 1
        numbers, labels_of = values[:count], values[count:]
        if len(numbers) < count or not all(map(is_number, numbers)) or int(numbers[-1]) == 0:
            return ListLine(row, path, (), f"{', '.join(cells)!r}; expected {expected}")
    labels = [label.strip() for value in labels_of for label in value.split(LABEL_SEPARATOR)]
    problem = ""
    is_given = labels != [UNLABELED]
    if not path or not all(labels) or (with_labels and not labels) or (is_given and UNLABELED in labels):
        problem = f"{', '.join(cells)!r}; expected {expected}"
    num_frames = int(numbers[-1]) if numbers else None
    offset = int(numbers[0]) if len(numbers) == 2 else 0
    given = tuple(dict.fromkeys(labels)) if is_given else ()
    return ListLine(row, path, given, problem, num_frames, offset, is_unlabeled=not is_given)
