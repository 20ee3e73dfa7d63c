"""Jester v1 (Materzynska et al., ICCV Workshops 2019) and Something-Something v1 (Goyal et al., ICCV 2017,
arXiv 1706.04261): the official CSV files of TwentyBN, which have no header.

`jester-v1-labels.csv` has one class name per line, in class order; `jester-v1-train.csv` and `-validation.csv` have
`ID;class name`, `-test.csv` the ID alone. Those of `something-something-v1-` are alike. Later copies name the files
`labels.csv` and so on. The publisher ships each video as a folder of JPEG images of 12 frames per second,
`ID/00001.jpg`. Source: `parse_jester_splits` and `parse_sthv1_splits` in `tools/data/parse_file_list.py` and
`tools/data/jester/README.md` of github.com/open-mmlab/mmaction2.
"""

from pathlib import Path

from data_prep.write_annotations.layouts.listing import ListedVideo, Listing, existing, read_lines
from videoctx.data.annotations import read_classes

SPLITS = {"train": "train", "validation": "val", "test": "test"}


JESTER, SOMETHING_V1 = "jester-v1-", "something-something-v1-"


def read_jester(folder: Path, prefix: str = JESTER) -> Listing:
    """Read those of the three lists that are in the folder.

    Args:
        prefix: Of the names of the files.

    Raises:
        AnnotationError: no labels, or no row that can be used.
    """
    listing = Listing(read_classes(existing(folder, f"{prefix}labels.csv", "labels.csv")))
    for name, split in SPLITS.items():
        candidates = [folder / f"{prefix}{name}.csv", folder / f"{name}.csv"]
        file = next((file for file in candidates if file.is_file()), None)
        if file is None:
            continue
        for row, line in read_lines(file):
            name, *label = (cell.strip() for cell in line.split(";"))
            if not name or len(label) > 1 or (split != "test" and not any(label)):
                listing.refuse(f"{file}, {row}", f"{line!r}; expected 'ID;class name'")
            else:
                listing.add(ListedVideo(file, row, (name,), tuple(text for text in label if text), split))
    return listing.check()
