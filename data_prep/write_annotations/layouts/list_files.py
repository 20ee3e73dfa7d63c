"""List files of other projects: `path label` and its relatives (`data_prep.write_annotations.layouts.list_lines`).

A label that is a number is a class index, from 0. The class file gives the names (`class_names_file`). Without it the
classes are called by their numbers, also those that no line has, so that the index of a class is its number.
"""

import posixpath
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from data_prep.write_annotations.layouts.class_names_file import read_class_names
from data_prep.write_annotations.layouts.list_lines import (
    UNLABELED,
    Columns,
    Delimiter,
    ListFile,
    is_number,
    read_list_file,
)
from data_prep.write_annotations.layouts.listing import ListedVideo, Listing, stem_of
from videoctx.data.annotations import AnnotationError
from videoctx.data.class_names import nfc
from videoctx.data.storage.locations import VIDEO_SUFFIXES

SPLIT_WORD = re.compile(r"(?<![a-z])(train|val|test)")
MOST_CLASSES = 100_000  # that numbers without names may stand for


def split_and_file(item: str) -> tuple[str, Path]:
    """Return the split and the file of `SPLIT=FILE`, or of a file whose name contains train, val or test.

    >>> split_and_file("kinetics400_val_list_videos.txt")[0], split_and_file("dev=list.txt")[0]
    ('val', 'dev')

    Raises:
        AnnotationError: The name has none of these words, or several.
    """
    split, equals, file = item.partition("=")
    if equals and re.fullmatch(r"[\w-]+", split) and not Path(item).exists():
        return split, Path(file)
    words = sorted(set(SPLIT_WORD.findall(Path(item).stem.lower())))
    if len(words) != 1:
        raise AnnotationError(
            f"{item}: its name has {' and '.join(words) or 'none of train, val and test'}; expected SPLIT=FILE, as"
            f" train={item}"
        )
    return words[0], Path(item)


def read_lists(
    files: Sequence[tuple[str, Path]],
    *,
    class_file: Path | None = None,
    delimiter: Delimiter | None = None,
    columns: Columns | None = None,
) -> Listing:
    """Return the rows of the lists; the decisions are how each file was understood.

    Args:
        files: The split and the path of each.

    Raises:
        AnnotationError: A file cannot be read or understood, labels count from 1, or no row can be used.
    """
    names = None if class_file is None else read_class_names(class_file)
    num_classes = None if names is None else len(names)
    lists = [read_list_file(file, num_classes=num_classes, delimiter=delimiter, columns=columns) for _, file in files]
    name_of, class_names = _classes(lists, names, class_file)
    paths = [line.path for read in lists for line in read.lines]
    by_path = any("/" in posixpath.normpath(path) for path in paths)
    listing = Listing(class_names, by_path=by_path)
    for (split, file), read in zip(files, lists, strict=True):
        for line in read.lines:
            if line.problem:
                listing.refuse(f"{file}, {line.row}", line.problem)
                continue
            path = posixpath.normpath(line.path)
            stem = path if by_path else stem_of(path, VIDEO_SUFFIXES)
            labels = tuple(name_of.get(label, label) for label in line.labels)
            video = ListedVideo(file, line.row, (stem,), labels, split)
            listing.add(replace(video, num_frames=line.num_frames, first_frame=line.offset))
    listing.decisions += [
        f"{file}: {split}, {len(read.lines)} lines of {read.columns}, separated by {read.delimiter}"
        for (split, file), read in zip(files, lists, strict=True)
    ]
    if unlabeled := sum(line.is_unlabeled for read in lists for line in read.lines):
        listing.decisions.append(f"{unlabeled} lines have the label {UNLABELED}, which is read as no label")
    return listing.check()


def _classes(
    lists: Sequence[ListFile], names: list[str] | None, class_file: Path | None
) -> tuple[dict[str, str], list[str]]:
    """Return the class name of each label, and all class names in class order."""
    labels = sorted({label for read in lists for line in read.lines if not line.problem for label in line.labels})
    numbers = sorted({int(label) for label in labels if is_number(label)})
    if names is not None:
        if not numbers or {nfc(label) for label in labels} <= set(names):
            return {}, names
        if numbers[0] == 1 and numbers[-1] == len(names):
            raise AnnotationError(
                f"{class_file}: label {numbers[-1]} is no line of it; expected 0 to {len(names) - 1}, and the labels"
                " seem to start from 1: subtract 1, or put a line before the first class"
            )
        found = {label: int(label) for label in labels if is_number(label) and int(label) < len(names)}
        return {label: names[number] for label, number in found.items()}, names
    if not labels:
        raise AnnotationError("the lists have no labels; expected --class_file with the class names, one per line")
    if not all(map(is_number, labels)):
        return {}, sorted({nfc(label) for label in labels})
    if numbers[-1] >= MOST_CLASSES:
        raise AnnotationError(
            f"label {numbers[-1]} would be one of {numbers[-1] + 1} classes; expected class indices from 0, or"
            " --columns path,frames,labels if the second column is the number of frames"
        )
    return {label: str(int(label)) for label in labels}, [str(number) for number in range(numbers[-1] + 1)]
