"""Diving48 V2 (Li, Li, Vasconcelos, ECCV 2018): the official JSON files.

`Diving48_vocab.json` lists the classes in class order, each by its four parts, `["Back", "15som", "05Twis", "FREE"]`;
`Diving48_V2_train.json` and `Diving48_V2_test.json` are lists of `{"vid_name": …, "label": 3, "start_frame": 0,
"end_frame": 119}`. A file, `VID_NAME.mp4`, is already trimmed to those frames. A class name is the parts joined by `+`.
Source: `parse_diving48_splits` in `tools/data/parse_file_list.py` and `tools/data/diving48/label_map.txt` of
github.com/open-mmlab/mmaction2.
"""

from pathlib import Path

from data_prep.write_annotations.layouts.listing import ListedVideo, Listing, existing, read_json
from videoctx.data.annotations import AnnotationError


def read_diving48(folder: Path) -> Listing:
    """Read both lists.

    Raises:
        AnnotationError: a missing file, one of another kind, or no row that can be used.
    """
    vocabulary_file = existing(folder, "Diving48_vocab.json")
    vocabulary = read_json(vocabulary_file)
    try:
        if not isinstance(vocabulary, list):
            raise TypeError
        class_names = [part if isinstance(part, str) else "+".join(part) for part in vocabulary]
    except TypeError as error:
        raise AnnotationError(f'{vocabulary_file}: expected [["Back", "15som", "05Twis", "FREE"], …]') from error
    listing = Listing(class_names)
    for split in ("train", "test"):
        file = existing(folder, f"Diving48_V2_{split}.json")
        entries = read_json(file)
        if not isinstance(entries, list):
            raise AnnotationError(f'{file}: not a list; expected [{{"vid_name": …, "label": …}}, …]')
        for number, entry in enumerate(entries, 1):
            row = f"entry {number}"
            try:
                name, label = _name_and_label(entry, class_names)
            except ValueError as error:
                listing.refuse(f"{file}, {row}", str(error))
                continue
            listing.add(ListedVideo(file, row, (name,), (label,), split))
    return listing.check()


def _name_and_label(entry: object, class_names: list[str]) -> tuple[str, str]:
    entry = entry if isinstance(entry, dict) else {}
    name, number = entry.get("vid_name"), entry.get("label")
    if not isinstance(name, str) or not name:
        raise ValueError("no 'vid_name'; expected a string")
    if type(number) is not int or not 0 <= number < len(class_names):
        raise ValueError(f"label of {name!r} is {number!r}; expected 0 to {len(class_names) - 1}")
    start, end = entry.get("start_frame", 0), entry.get("end_frame")
    if end is not None and not (type(start) is int and type(end) is int and 0 <= start < end):
        raise ValueError(f"frames {start!r} to {end!r} of {name!r}; expected the end after the start")
    return name, class_names[number]
