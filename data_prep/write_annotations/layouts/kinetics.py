"""Kinetics-400, -600, -700 and -700-2020 (Kay et al. 2017, arXiv 1705.06950): the official CSV and JSON files.

CSV, with a header: `label,youtube_id,time_start,time_end,split[,is_cc]`, labels in quotes or not, seconds in the
YouTube video; the lists of test videos may lack `label`. JSON: `{"ID": {"annotations": {"label": …, "segment":
[start, end]}, "duration": …, "subset": "training", "url": …}, …}`, without a label for test videos.

Videos are named `ID_000027_000037.mp4`, as by the crawlers of ActivityNet and in the archives of CVDF, or
`ID.mp4`. Classes are numbered in the order of their names. Sources: `arrange_by_classes.py` of
github.com/cvdfoundation/kinetics-dataset; `parse_kinetics_splits` in `tools/data/parse_file_list.py` and
`tools/data/kinetics/download.py` of github.com/open-mmlab/mmaction2.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from data_prep.write_annotations.layouts.class_names_file import read_class_names
from data_prep.write_annotations.layouts.listing import Doubled, ListedVideo, Listing, read_json, read_table, seconds
from videoctx.data.annotations import AnnotationError
from videoctx.data.class_names import nfc

SPLITS = {"training": "train", "validation": "val", "validate": "val", "testing": "test"}
TIMES = ("time_start", "time_end")


@dataclass(frozen=True, slots=True)
class _Clip:
    """A row of a file."""

    file: Path
    row: str
    youtube_id: str
    label: str
    split: str
    start: object
    end: object


def annotation_files(folder: Path) -> list[Path]:
    """Return the lists of train, val and test in a folder. `.csv` is preferred to `.txt`, and `.txt` to `.json`.

    Raises:
        AnnotationError: there are no such files.
    """
    files = []
    for names in (("train",), ("val", "validate", "validation"), ("test",)):
        candidates = [folder / f"{name}{suffix}" for suffix in (".csv", ".txt", ".json") for name in names]
        files += [file for file in candidates if file.is_file()][:1]
    if not files:
        raise AnnotationError(
            f"{folder}: no annotation files; expected train.csv, val.csv or test.csv, or the names of files"
        )
    return files


def read_kinetics(files: Sequence[Path], *, class_file: Path | None = None, untrimmed: bool = False) -> Listing:
    """Read all rows of the files.

    Args:
        class_file: the class names, one per line, if the files name only some of them. None: all that the files name.
        untrimmed: `ID.mp4` is the whole YouTube video, so the row's seconds are positions in it.

    Raises:
        AnnotationError: a file that is neither of the two kinds, or no row that can be used.
    """
    problems: list[str] = []
    clips = [clip for file in files for clip in (_json if file.suffix == ".json" else _csv)(file, problems)]
    listed = sorted({nfc(clip.label) for clip in clips} - {""})
    listing = Listing(listed if class_file is None else sorted(read_class_names(class_file)), problems=problems)
    for clip in clips:
        where = f"{clip.file}, {clip.row}"
        try:
            start, end = (seconds(text, name) for text, name in zip((clip.start, clip.end), TIMES, strict=True))
            if not clip.youtube_id:
                raise ValueError("youtube_id is empty")
            if not clip.label and clip.split in ("train", "val"):
                raise ValueError("label is empty")
            if end <= start:
                raise ValueError(f"time_end {end:g} is not after time_start {start:g}")
        except ValueError as error:
            listing.refuse(where, str(error))
            continue
        stems = (f"{clip.youtube_id}_{int(start):06d}_{int(end):06d}", clip.youtube_id)
        labels = (clip.label,) if clip.label else ()
        times = (start, end) if untrimmed else (None, None)
        listing.add(ListedVideo(clip.file, clip.row, stems, labels, clip.split, *times))
    return listing.check()


def _csv(file: Path, problems: list[str]) -> Iterator[_Clip]:
    header, rows = read_table(file, one_line_rows=True)
    lacking = [column for column in ("youtube_id", *TIMES) if column not in header]
    if lacking:
        raise AnnotationError(
            f"{file}: the header lacks {', '.join(lacking)}; expected label,youtube_id,time_start,time_end,split"
        )
    by_name = next((split for split in ("train", "val", "test") if split in file.stem), None)
    if "split" not in header and by_name is None:
        raise AnnotationError(f"{file}: no column 'split', and no train, val or test in the file's name")
    for row, cells in rows:
        if isinstance(cells, str):
            problems.append(f"{file}, {row}: {cells}")
            continue
        values = dict(zip(header, cells, strict=True))
        split = values.get("split", by_name)
        if not split:
            problems.append(f"{file}, {row}: split is empty")
            continue
        yield _Clip(
            *(file, row, values["youtube_id"], values.get("label", "").strip('"')),
            *(SPLITS.get(split, split), values["time_start"], values["time_end"]),
        )


def _json(file: Path, problems: list[str]) -> Iterator[_Clip]:
    entries = read_json(file)
    if not isinstance(entries, dict):
        raise AnnotationError(f'{file}: not annotations of Kinetics; expected {{"ID": {{"annotations": …}}, …}}')
    if isinstance(entries, Doubled):
        problems += [f"{file}, entry {key!r}: listed more than once; the last one is used" for key in entries.repeated]
    for youtube_id, entry in entries.items():
        row = f"entry {youtube_id!r}"
        try:
            annotations, subset = entry.get("annotations") or {}, entry["subset"]
            start, end = annotations["segment"]
            label = annotations.get("label") or ""
            if not (isinstance(subset, str) and isinstance(label, str)):
                raise TypeError
        except (AttributeError, KeyError, TypeError, ValueError):
            problems.append(f"{file}, {row}: expected 'subset' and 'annotations' with a 'segment' of two times")
            continue
        yield _Clip(file, row, youtube_id.strip(), label.strip(), SPLITS.get(subset, subset), start, end)
