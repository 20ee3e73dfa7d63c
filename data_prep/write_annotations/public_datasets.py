"""Manifests of public datasets: their annotation files say which videos there are, the disk says which are here.

A command for each dataset reads the official files (`data_prep.write_annotations.layouts`), looks for the videos below a folder, and
writes a manifest of those that are there, with the classes in the order of the publisher. A table shows what each
class lacks; `missing.csv` beside the manifest names every video that is missing or unreadable, with its row.

Exit status: 0 if every row has its video; 1 if the manifest was written without some rows; 2 if nothing was written.
"""

from collections import Counter
from pathlib import Path
from typing import Literal

from data_prep.command_line.comma_list import items_of
from data_prep.manifests.manifest_output import label_cell, warn, write
from data_prep.manifests.video_files import check_folder, manifest_path
from data_prep.write_annotations.layouts.charades import read_charades
from data_prep.write_annotations.layouts.diving48 import read_diving48
from data_prep.write_annotations.layouts.hmdb51 import read_hmdb51
from data_prep.write_annotations.layouts.jester import read_jester
from data_prep.write_annotations.layouts.kinetics import annotation_files, read_kinetics
from data_prep.write_annotations.layouts.listing import Listing
from data_prep.write_annotations.layouts.something_something import read_something_something
from data_prep.write_annotations.layouts.ucf101 import read_ucf101
from data_prep.write_annotations.listed_videos import MISSING_FILE, search, show, write_missing

MOST_LISTED = 5  # files, where there may be thousands


def kinetics(
    root: Path,
    annotations: str,
    *,
    class_file: Path | None = None,
    untrimmed: bool = False,
    output: Path | None = None,
    probe: bool = False,
    allow_missing: bool = False,
) -> int:
    """Kinetics-400, -600, -700: official CSV or JSON files; ID_000027_000037.mp4 or ID.mp4, in class folders or not.

    Args:
        root: The folder of the videos, at any depth.
        annotations: Comma list of files, or a folder of them: train.csv, val.csv, test.csv.
        class_file: The classes, one a line, where the files name only some of them.
        untrimmed: ID.mp4 is the whole YouTube video; the action's seconds go into the manifest.
        output: The manifest to write, by default ROOT/manifest.csv; classes.txt and missing.csv go beside it.
        probe: Read the container of every video; otherwise only an empty file is unreadable.
        allow_missing: Missing and unreadable videos do not make the exit status 1.
    """
    check_folder(root)
    paths = [Path(item) for item in items_of(annotations)]
    files = [file for path in paths for file in (annotation_files(path) if path.is_dir() else [path])]
    listing = read_kinetics(files, class_file=class_file, untrimmed=untrimmed)
    return _write(root, listing, output, probe=probe, allow_missing=allow_missing)


def ucf101(
    root: Path,
    annotations: Path,
    *,
    fold: Literal[1, 2, 3] = 1,
    output: Path | None = None,
    probe: bool = False,
    allow_missing: bool = False,
) -> int:
    """UCF101: classInd.txt, trainlist01.txt and testlist01.txt; videos in class folders or not.

    Args:
        root: The folder of the videos, at any depth.
        annotations: The folder of the official files (ucfTrainTestlist).
        fold: Which of the three splits.
        output: The manifest to write, by default ROOT/manifest.csv; classes.txt and missing.csv go beside it.
        probe: Read the container of every video; otherwise only an empty file is unreadable.
        allow_missing: Missing and unreadable videos do not make the exit status 1.
    """
    check_folder(root)
    listing = read_ucf101(annotations, fold=fold)
    return _write(root, listing, output, probe=probe, allow_missing=allow_missing, any_case=True)


def hmdb51(
    root: Path,
    annotations: Path,
    *,
    fold: Literal[1, 2, 3] = 1,
    output: Path | None = None,
    probe: bool = False,
    allow_missing: bool = False,
) -> int:
    """HMDB51: CLASS_test_split1.txt of every class; videos marked 0 are in neither train nor test and left out.

    Args:
        root: The folder of the videos, at any depth.
        annotations: The folder of the official files (testTrainMulti_7030_splits).
        fold: Which of the three splits.
        output: The manifest to write, by default ROOT/manifest.csv; classes.txt and missing.csv go beside it.
        probe: Read the container of every video; otherwise only an empty file is unreadable.
        allow_missing: Missing and unreadable videos do not make the exit status 1.
    """
    check_folder(root)
    return _write(root, read_hmdb51(annotations, fold=fold), output, probe=probe, allow_missing=allow_missing)


def something_something(
    root: Path, annotations: Path, *, output: Path | None = None, probe: bool = False, allow_missing: bool = False
) -> int:
    """Something-Something v2: something-something-v2-labels.json, -train.json, -validation.json, -test.json.

    Args:
        root: The folder of the videos (ID.webm), at any depth.
        annotations: The folder of the official files; lists that are not there are left out.
        output: The manifest to write, by default ROOT/manifest.csv; classes.txt and missing.csv go beside it.
        probe: Read the container of every video; otherwise only an empty file is unreadable.
        allow_missing: Missing and unreadable videos do not make the exit status 1.
    """
    check_folder(root)
    return _write(root, read_something_something(annotations), output, probe=probe, allow_missing=allow_missing)


def jester(
    root: Path, annotations: Path, *, output: Path | None = None, probe: bool = False, allow_missing: bool = False
) -> int:
    """Jester: jester-v1-labels.csv, -train.csv, -validation.csv, -test.csv; the folders of frames made into videos.

    Args:
        root: The folder of the videos (ID.mp4), at any depth.
        annotations: The folder of the official files; lists that are not there are left out.
        output: The manifest to write, by default ROOT/manifest.csv; classes.txt and missing.csv go beside it.
        probe: Read the container of every video; otherwise only an empty file is unreadable.
        allow_missing: Missing and unreadable videos do not make the exit status 1.
    """
    check_folder(root)
    return _write(root, read_jester(annotations), output, probe=probe, allow_missing=allow_missing)


def diving48(
    root: Path, annotations: Path, *, output: Path | None = None, probe: bool = False, allow_missing: bool = False
) -> int:
    """Diving48 V2: Diving48_vocab.json, Diving48_V2_train.json, Diving48_V2_test.json.

    Args:
        root: The folder of the videos (VID_NAME.mp4), at any depth.
        annotations: The folder of the official files.
        output: The manifest to write, by default ROOT/manifest.csv; classes.txt and missing.csv go beside it.
        probe: Read the container of every video; otherwise only an empty file is unreadable.
        allow_missing: Missing and unreadable videos do not make the exit status 1.
    """
    check_folder(root)
    return _write(root, read_diving48(annotations), output, probe=probe, allow_missing=allow_missing)


def charades(
    root: Path, annotations: Path, *, output: Path | None = None, probe: bool = False, allow_missing: bool = False
) -> int:
    """Charades: Charades_v1_classes.txt, Charades_v1_train.csv, Charades_v1_test.csv; several classes a video.

    Args:
        root: The folder of the videos (ID.mp4), at any depth.
        annotations: The folder of the official files.
        output: The manifest to write, by default ROOT/manifest.csv; classes.txt and missing.csv go beside it.
        probe: Read the container of every video; otherwise only an empty file is unreadable.
        allow_missing: Missing and unreadable videos do not make the exit status 1.
    """
    check_folder(root)
    return _write(root, read_charades(annotations), output, probe=probe, allow_missing=allow_missing)


COMMANDS = {
    "kinetics": kinetics,
    "ucf101": ucf101,
    "hmdb51": hmdb51,
    "something_something": something_something,
    "jester": jester,
    "diving48": diving48,
    "charades": charades,
}


def _write(
    root: Path,
    listing: Listing,
    output: Path | None,
    *,
    probe: bool,
    allow_missing: bool,
    any_case: bool = False,
) -> int:
    """Find the videos, write the manifest and `missing.csv`, show both, and give the exit status."""
    output = root / "manifest.csv" if output is None else output
    result = search(root, listing, any_case=any_case, probe_files=probe)
    rows = [
        {
            "path": manifest_path(path, output.parent),
            "label": label_cell(video.labels),
            "split": video.split,
            "start_seconds": video.start_seconds,
            "end_seconds": video.end_seconds,
        }
        for video, path in result.found
    ]
    write(output, rows, listing.class_names)
    missing_file = output.parent / MISSING_FILE
    write_missing(missing_file, result)
    show(listing, result)
    splits = ", ".join(f"{count} {split}" for split, count in Counter(row["split"] for row in rows).items())
    print(f"{output}: {len(rows)} rows ({splits}), {len(listing.class_names)} classes")
    if result.problems:
        warn(f"{len(result.problems)} rows cannot be used and are left out", result.problems)
    if result.missing or result.unreadable:
        lines = [f"{video.where}: missing, {path!r}" for video, path in result.missing[:MOST_LISTED]]
        lines += [f"{video.where}: {str(path)!r}: {why}" for video, path, why in result.unreadable[:MOST_LISTED]]
        warn(
            f"{len(result.missing)} videos are missing and {len(result.unreadable)} unreadable, and left out;"
            f" all of them are in {missing_file}",
            lines,
        )
    lacking = (result.missing or result.unreadable) and not allow_missing
    return 1 if result.problems or lacking else 0
