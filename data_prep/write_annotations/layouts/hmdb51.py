"""HMDB51 (Kuehne et al., ICCV 2011): the official folder `testTrainMulti_7030_splits`.

There is one file per class and fold, `brush_hair_test_split1.txt`, with lines such as `video.avi 1`: 1 is train, 2 is
test, 0 is neither. Classes are numbered in the order of their names. Source: the official files themselves, and
`parse_hmdb51_split` in `tools/data/parse_file_list.py` of github.com/open-mmlab/mmaction2.
"""

from pathlib import Path

from data_prep.write_annotations.layouts.listing import ListedVideo, Listing, read_lines, stem_of
from videoctx.data.annotations import AnnotationError
from videoctx.data.storage.locations import VIDEO_SUFFIXES

SPLITS = {"0": None, "1": "train", "2": "test"}


def read_hmdb51(folder: Path, *, fold: int) -> Listing:
    """Read the rows of one fold that are in train or test.

    Raises:
        AnnotationError: no file of that fold, or no row that can be used.
    """
    ending = f"_test_split{fold}.txt"
    files = {file.name.removesuffix(ending): file for file in folder.glob(f"*{ending}")}
    if not files:
        raise AnnotationError(f"{folder}: no file CLASS{ending}; expected the official split files of HMDB51")
    listing = Listing(sorted(files))
    for label in sorted(files):
        for row, line in read_lines(files[label]):
            name, _, code = line.rpartition(" ")
            if code not in SPLITS:
                listing.refuse(f"{files[label]}, {row}", f"{line!r}; expected 'video.avi 0', 1 or 2")
            elif split := SPLITS[code]:
                stem = stem_of(name.strip(), VIDEO_SUFFIXES)
                listing.add(ListedVideo(files[label], row, (stem,), (label,), split))
    return listing.check()
