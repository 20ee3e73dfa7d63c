"""Something-Something v2 (Goyal et al. 2017, arXiv 1706.04261): the official JSON files.

Version 1 has the CSV files of Jester (`data_prep.write_annotations.layouts.jester`).

`something-something-v2-labels.json` is `{"Class name": "0", …}`; the train and validation files are lists of
`{"id": "74225", "label": …, "template": "Spinning [something] …", "placeholders": […]}`, the test file of
`{"id": …}`. `something-something-v2-test-answers.csv`, if it is there, has lines `ID;class name`. Later copies
name the files `labels.json` and so on. A template without its brackets is the class name;
files are `74225.webm`. Classes are numbered by the labels file. Source: the official files themselves, and
`slowfast/datasets/ssv2.py` of github.com/facebookresearch/SlowFast.
"""

from pathlib import Path

from data_prep.write_annotations.layouts.jester import SOMETHING_V1, read_jester
from data_prep.write_annotations.layouts.listing import ListedVideo, Listing, existing, read_json, read_lines
from videoctx.data.annotations import AnnotationError

PREFIX = "something-something-v2-"
TEST_LABELS = (f"{PREFIX}test-answers.csv", "test-answers.csv")
SPLITS = {"train": "train", "validation": "val", "test": "test"}


def read_something_something(folder: Path) -> Listing:
    """Read those of the three lists that are in the folder. `test-answers.csv`, if it is there, labels the test list.

    Raises:
        AnnotationError: no labels, labels that are not numbered 0, 1, …, or no usable row.
    """
    if any((folder / f"{SOMETHING_V1}{name}.csv").is_file() for name in ("labels", *SPLITS)):
        return read_jester(folder, SOMETHING_V1)
    labels_file = existing(folder, f"{PREFIX}labels.json", "labels.json")
    listing = Listing(_class_names(labels_file))
    test_labels = _test_labels(folder, listing)
    for list_name, split in SPLITS.items():
        candidates = [folder / f"{PREFIX}{list_name}.json", folder / f"{list_name}.json"]
        file = next((file for file in candidates if file.is_file()), None)
        if file is None:
            continue
        entries = read_json(file)
        if not isinstance(entries, list):
            raise AnnotationError(f'{file}: not a list; expected [{{"id": …, "template": …}}, …]')
        for number, entry in enumerate(entries, 1):
            row = f"entry {number}"
            entry = entry if isinstance(entry, dict) else {}
            name, template = entry.get("id"), entry.get("template")
            if not isinstance(name, str) or not name:
                listing.refuse(f"{file}, {row}", "no 'id'; expected a string")
            elif not isinstance(template, str) and (split != "test" or template is not None):
                listing.refuse(f"{file}, {row}", f"video {name!r} has no 'template'; expected a string")
            else:
                label = test_labels.get(name) if template is None else template
                labels = () if label is None else (label.replace("[", "").replace("]", ""),)
                listing.add(ListedVideo(file, row, (name,), labels, split))
    return listing.check()


def _test_labels(folder: Path, listing: Listing) -> dict[str, str]:
    """Return the class name of each test video, from `test-answers.csv`; nothing if there is no such file."""
    file = next((folder / name for name in TEST_LABELS if (folder / name).is_file()), None)
    name_of: dict[str, str] = {}
    for row, line in read_lines(file) if file else ():
        name, _, label = (cell.strip() for cell in line.partition(";"))
        if not name or not label or name_of.setdefault(name, label) != label:
            listing.refuse(f"{file}, {row}", f"{line!r}; expected 'ID;class name', once for each ID")
    return name_of


def _class_names(file: Path) -> list[str]:
    numbers = read_json(file)
    try:
        if not isinstance(numbers, dict):
            raise TypeError
        names = sorted(numbers, key=lambda name: int(numbers[name]))
        numbered = [int(numbers[name]) for name in names]
    except (TypeError, ValueError, KeyError) as error:
        raise AnnotationError(f'{file}: not the labels; expected {{"Class name": "0", …}}') from error
    if not names or numbered != list(range(len(names))):
        raise AnnotationError(f"{file}: the classes are not numbered from 0 without gaps")
    return names
