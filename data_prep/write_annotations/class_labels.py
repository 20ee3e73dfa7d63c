"""Make class names of the labels that were read, and refuse those that can be taken for each other."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from data_prep.write_annotations.group_split import Row
from data_prep.write_annotations.layouts.class_names_file import read_class_names
from data_prep.write_annotations.split_folders import split_of_name
from videoctx.data.annotations import AnnotationError, refuse_look_alikes
from videoctx.data.class_names import nfc
from videoctx.first_few import first_few

MOST_LISTED = 5  # class names, of which there may be hundreds


def named_classes(
    root: Path, rows: Sequence[Row], class_file: Path | None = None
) -> tuple[list[Row], list[str], list[str]]:
    """Return the rows with class names as labels, the names in class order, and messages about decisions.

    Names are in Unicode's composed form (NFC) and without outer spaces. Without a class file they are sorted, by value
    if all of them are numbers.

    Args:
        class_file: All class names in class order. Labels that are numbers, and not names in it, are its lines, from 0.

    Raises:
        AnnotationError: Labels look alike or are names of splits, or the class file lacks one.
    """
    raw = sorted({label for row in rows for label in row.labels})
    composed = [nfc(label) for label in raw]
    refuse_look_alikes(dict.fromkeys(composed), root)
    decisions = [
        f"label {name!r} is written in more than one form of Unicode; it is one class, in the composed form (NFC)"
        for name in dict.fromkeys(composed)
        if composed.count(name) > 1
    ]
    label_of = {label: name.strip() for label, name in zip(raw, composed, strict=True)}
    decisions += [
        f"label {name!r} has spaces around it; the class is {name.strip()!r}"
        for name in dict.fromkeys(composed)
        if name != name.strip()
    ]
    labels = sorted(set(label_of.values()))
    splits = {split_of_name(label) for label in labels}
    if len(splits) > 1 and None not in splits:
        raise AnnotationError(
            f"{root}: the classes would be {', '.join(labels)}, which are splits; expected the labels of the videos"
        )
    numbers = all(label.isdecimal() for label in labels)
    if class_file is not None:
        names = read_class_names(class_file)
        if numbers and not set(labels) <= set(names):
            label_of, more = _lines_of(class_file, names, label_of)
            decisions += more
        unknown = sorted(set(label_of.values()) - set(names))
        if unknown:
            raise AnnotationError(
                f"{class_file}: label {unknown[0]!r} is not one of its {len(names)} classes"
                f" ({first_few(names, MOST_LISTED)})"
            )
    else:
        names = sorted(labels, key=int) if numbers else labels
        if numbers:
            decisions += _renumbered(names)
    rows = [replace(row, labels=tuple(dict.fromkeys(label_of[label] for label in row.labels))) for row in rows]
    several = sum(len(row.labels) > 1 for row in rows)
    if several:
        decisions.append(f"{several} rows have several labels; to train with them: --data.multi_label true")
    return rows, names, decisions


def _lines_of(class_file: Path, names: Sequence[str], label_of: dict[str, str]) -> tuple[dict[str, str], list[str]]:
    """Return the names in the lines of these numbers, from 0."""
    numbers = sorted(int(label) for label in label_of.values())
    if numbers[-1] >= len(names):
        from_one = numbers[0] == 1 and numbers[-1] == len(names)
        raise AnnotationError(
            f"{class_file}: label {numbers[-1]} is no line of it; expected 0 to {len(names) - 1}"
            + (", and the labels seem to start from 1: subtract 1, or use the names" if from_one else "")
        )
    meanings = [f"{number} is {names[number]!r}" for number in numbers]
    decision = f"labels are lines of {class_file}, from 0: {first_few(meanings, MOST_LISTED)}"
    return {raw: names[int(label)] for raw, label in label_of.items()}, [decision]


def _renumbered(names: Sequence[str]) -> list[str]:
    """Return a message if the classes are numbers and their indices others; `names` are sorted by value."""
    changed = [(index, name) for index, name in enumerate(names) if int(name) != index]
    if not changed:
        return []
    index, name = changed[0]
    present = {int(name) for name in names}
    gaps = [str(number) for number in range(int(names[-1])) if number not in present] if int(names[-1]) < 10**6 else []
    lacking = f"not all of them are there (no {first_few(gaps, MOST_LISTED)})" if gaps else "they have large gaps"
    return [
        f"labels are numbers, and {lacking}. They are kept as class names, but class indices count from 0 without gaps:"
        f" class {name!r} has index {index}. With --class_file, a line for each number, indices are the numbers"
    ]
