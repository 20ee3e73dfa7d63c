r"""UCF101 (Soomro, Zamir, Shah 2012, arXiv 1212.0402): the official folder `ucfTrainTestlist`.

`classInd.txt` has lines such as `1 ApplyEyeMakeup`, `trainlist01.txt` lines such as
`ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1`, and `testlist01.txt` only the path. There are three folds. Classes are
numbered by `classInd.txt`. Source: the official files themselves, and `parse_ucf101_splits` in
`tools/data/parse_file_list.py` of github.com/open-mmlab/mmaction2.

Differs from the lists: the case of file names is ignored, because the archives contain `v_HandStandPushups` and
`v_HandstandPushups`.
"""

from pathlib import Path

from data_prep.write_annotations.layouts.listing import ListedVideo, Listing, existing, read_lines, stem_of
from videoctx.data.annotations import AnnotationError
from videoctx.data.storage.locations import VIDEO_SUFFIXES


def read_ucf101(folder: Path, *, fold: int) -> Listing:
    """Read the rows of one fold.

    Raises:
        AnnotationError: a missing file, a class list that has gaps, or no row that can be used.
    """
    class_file = existing(folder, "classInd.txt")
    number_of: dict[str, int] = {}
    for where, line in read_lines(class_file):
        number, _, name = line.partition(" ")
        if not number.isdecimal() or int(number) != len(number_of) + 1 or name.strip() in number_of:
            raise AnnotationError(f"{class_file}, {where}: {line!r}; expected '{len(number_of) + 1} ClassName'")
        number_of[name.strip()] = int(number)
    listing = Listing(list(number_of))
    for split in ("train", "test"):
        file = existing(folder, f"{split}list{fold:02d}.txt")
        for row, line in read_lines(file):
            where = f"{file}, {row}"
            path, _, number = line.partition(" ")
            label, _, name = path.partition("/")
            if split == "train" and not number.strip().isdecimal():
                listing.refuse(where, f"{line!r}; expected 'Class/video.avi NUMBER'")
            elif split == "test" and number:
                listing.refuse(where, f"{line!r}; expected 'Class/video.avi'")
            elif label in number_of and number and number_of[label] != int(number):
                listing.refuse(where, f"class {label!r} is {number_of[label]} in {class_file.name}, not {number}")
            else:
                listing.add(ListedVideo(file, row, (stem_of(name, VIDEO_SUFFIXES),), (label,), split))
    return listing.check()
