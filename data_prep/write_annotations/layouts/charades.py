"""Charades (Sigurdsson et al. 2016, arXiv 1604.01753): the official CSV files; each video shows several classes.

`Charades_v1_classes.txt` has lines such as `c000 Holding some clothes`; `Charades_v1_train.csv` and
`Charades_v1_test.csv` have the columns
`id,subject,scene,quality,relevance,verified,script,objects,descriptions,actions,length`, where `actions` is empty or
`c092 11.90 21.20;c147 0.00 12.60` (class, start and end in seconds). Files are `ID.mp4`. Classes are numbered by their
c-number.

The task is classification of whole videos: a video's labels are all classes that occur in it at any time. Sources: the
README of the dataset (prior.allenai.org/projects/data/charades/README.txt) and `convert_to_video_level_labels` of
`slowfast/datasets/utils.py` in github.com/facebookresearch/SlowFast.
"""

import re
from pathlib import Path

from data_prep.write_annotations.layouts.listing import ListedVideo, Listing, existing, read_lines, read_table, seconds
from videoctx.data.annotations import AnnotationError


def read_charades(folder: Path) -> Listing:
    """Read those of the two lists that are in the folder. A video without any action has no labels.

    Raises:
        AnnotationError: no classes, a file of another kind, or no row that can be used.
    """
    name_of = _class_names(existing(folder, "Charades_v1_classes.txt"))
    listing = Listing(list(name_of.values()))
    for split in ("train", "test"):
        file = folder / f"Charades_v1_{split}.csv"
        if not file.is_file():
            continue
        header, rows = read_table(file, one_line_rows=False)
        if not {"id", "actions"}.issubset(header):
            raise AnnotationError(f"{file}: the header lacks id or actions; it is {','.join(header)}")
        for row, cells in rows:
            try:
                if isinstance(cells, str):
                    raise ValueError(cells)
                values = dict(zip(header, cells, strict=True))
                if not values["id"]:
                    raise ValueError("id is empty")
                codes = _codes(values["actions"], name_of)
            except ValueError as error:
                listing.refuse(f"{file}, {row}", str(error))
                continue
            labels = tuple(name_of[code] for code in sorted(codes))
            listing.add(ListedVideo(file, row, (values["id"],), labels, split))
    return listing.check()


def _class_names(file: Path) -> dict[str, str]:
    """Return the class name of each c-number, in order."""
    name_of: dict[str, str] = {}
    for row, line in read_lines(file):
        code, _, name = line.partition(" ")
        if code != f"c{len(name_of):03d}" or not name.strip() or name.strip() in name_of.values():
            raise AnnotationError(f"{file}, {row}: {line!r}; expected 'c{len(name_of):03d} Class name'")
        name_of[code] = name.strip()
    if not name_of:
        raise AnnotationError(f"{file}: no classes; expected 'c000 Class name' and so on")
    return name_of


def _codes(actions: str, name_of: dict[str, str]) -> set[str]:
    codes = set()
    for action in filter(None, (text.strip() for text in actions.split(";"))):
        if not re.fullmatch(r"\S+ \S+ \S+", action):
            raise ValueError(f"action {action!r}; expected 'c092 11.90 21.20'")
        code, *times = action.split()
        start, end = (seconds(text, f"a time of {action!r}") for text in times)
        if code not in name_of:
            raise ValueError(f"action {action!r}: {code!r} is not one of the {len(name_of)} classes")
        if end < start:
            raise ValueError(f"action {action!r} ends before it starts")
        codes.add(code)
    return codes
