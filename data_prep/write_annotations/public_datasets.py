"""Commands that write manifests of public datasets, and of list files of other projects.

Each command reads the official annotation files (`data_prep.write_annotations.layouts`), searches for the videos in a
folder, and writes a manifest of those that exist, with the classes in the publisher's order. A table shows what each
class lacks. `missing.csv` beside the manifest lists every video that is missing or unreadable.

Exit status: 0 if every row has its video; 1 if the manifest was written without some rows; 2 if nothing was written.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from data_prep.write_annotations.layouts.listing import Listing

MOST_LISTED = 5  # files, of which there may be thousands


def kinetics(
    root: Path,
    annotations: str,
    *,
    class_file: Path | None = None,
    untrimmed: bool = False,
    frames_fps: float | None = None,
    output: Path | None = None,
    probe: bool = False,
    allow_missing: bool = False,
) -> int:
    """Kinetics-400, -600, -700: official CSV or JSON files; ID_000027_000037.mp4 or ID.mp4, in class folders or not.

    Args:
        root: The folder of the videos, at any depth.
        annotations: Comma-separated files, or a folder of them: train.csv, val.csv, test.csv.
        class_file: The class names, one per line, if the files name only some of them.
        untrimmed: ID.mp4 is the whole YouTube video; the manifest gets the seconds of the action.
        frames_fps: Folders, .zip and .tar files of images are videos too, with this many frames per second.
        output: The manifest to write, by default ROOT/manifest.csv; classes.txt and missing.csv are beside it.
        probe: Read the container of every video. Without it, only an empty file counts as unreadable.
        allow_missing: Exit with status 0 even if videos are missing or unreadable.
    """
    from data_prep.command_line.comma_list import split_comma_list
    from data_prep.write_annotations.layouts.kinetics import annotation_files, read_kinetics

    def read() -> "Listing":
        paths = [Path(item) for item in split_comma_list(annotations)]
        files = [file for path in paths for file in (annotation_files(path) if path.is_dir() else [path])]
        return read_kinetics(files, class_file=class_file, untrimmed=untrimmed)

    return _write(root, read, output, probe=probe, allow_missing=allow_missing, frames_fps=frames_fps)


def ucf101(
    root: Path,
    annotations: Path,
    *,
    fold: Literal[1, 2, 3] = 1,
    frames_fps: float | None = None,
    output: Path | None = None,
    probe: bool = False,
    allow_missing: bool = False,
) -> int:
    """UCF101: classInd.txt, trainlist01.txt and testlist01.txt; videos in class folders or not.

    Args:
        root: The folder of the videos, at any depth.
        annotations: The folder of the official files (ucfTrainTestlist).
        fold: One of the three official splits.
        frames_fps: Folders, .zip and .tar files of images are videos too, with this many frames per second.
        output: The manifest to write, by default ROOT/manifest.csv; classes.txt and missing.csv are beside it.
        probe: Read the container of every video. Without it, only an empty file counts as unreadable.
        allow_missing: Exit with status 0 even if videos are missing or unreadable.
    """
    from data_prep.write_annotations.layouts.ucf101 import read_ucf101

    return _write(
        root,
        lambda: read_ucf101(annotations, fold=fold),
        output,
        probe=probe,
        allow_missing=allow_missing,
        frames_fps=frames_fps,
        any_case=True,
    )


def hmdb51(
    root: Path,
    annotations: Path,
    *,
    fold: Literal[1, 2, 3] = 1,
    frames_fps: float | None = None,
    output: Path | None = None,
    probe: bool = False,
    allow_missing: bool = False,
) -> int:
    """HMDB51: CLASS_test_split1.txt of every class; videos marked 0 are in neither train nor test, and are left out.

    Args:
        root: The folder of the videos, at any depth.
        annotations: The folder of the official files (testTrainMulti_7030_splits).
        fold: One of the three official splits.
        frames_fps: Folders, .zip and .tar files of images are videos too, with this many frames per second.
        output: The manifest to write, by default ROOT/manifest.csv; classes.txt and missing.csv are beside it.
        probe: Read the container of every video. Without it, only an empty file counts as unreadable.
        allow_missing: Exit with status 0 even if videos are missing or unreadable.
    """
    from data_prep.write_annotations.layouts.hmdb51 import read_hmdb51

    return _write(
        root,
        lambda: read_hmdb51(annotations, fold=fold),
        output,
        probe=probe,
        allow_missing=allow_missing,
        frames_fps=frames_fps,
    )


def something_something(
    root: Path,
    annotations: Path,
    *,
    frames_fps: float | None = None,
    output: Path | None = None,
    probe: bool = False,
    allow_missing: bool = False,
) -> int:
    """Something-Something v2: something-something-v2-labels.json, -train.json, …; or v1: -v1-labels.csv, ….

    Args:
        root: The folder of the videos (ID.webm), or with frames_fps of folders of images (ID/00001.jpg), at any depth.
        annotations: The folder of the official files; missing lists are left out.
        frames_fps: Folders, .zip and .tar files of images are videos too, with this many frames per second; 12 here.
        output: The manifest to write, by default ROOT/manifest.csv; classes.txt and missing.csv are beside it.
        probe: Read the container of every video. Without it, only an empty file counts as unreadable.
        allow_missing: Exit with status 0 even if videos are missing or unreadable.
    """
    from data_prep.write_annotations.layouts.something_something import read_something_something

    return _write(
        root,
        lambda: read_something_something(annotations),
        output,
        probe=probe,
        allow_missing=allow_missing,
        frames_fps=frames_fps,
    )


def jester(
    root: Path,
    annotations: Path,
    *,
    frames_fps: float | None = None,
    output: Path | None = None,
    probe: bool = False,
    allow_missing: bool = False,
) -> int:
    """Jester: jester-v1-labels.csv, -train.csv, -validation.csv, -test.csv; folders of images, or videos.

    Args:
        root: The folder of the videos (ID.mp4), or with frames_fps of folders of images (ID/00001.jpg), at any depth.
        annotations: The folder of the official files; missing lists are left out.
        frames_fps: Folders, .zip and .tar files of images are videos too, with this many frames per second; 12 here.
        output: The manifest to write, by default ROOT/manifest.csv; classes.txt and missing.csv are beside it.
        probe: Read the container of every video. Without it, only an empty file counts as unreadable.
        allow_missing: Exit with status 0 even if videos are missing or unreadable.
    """
    from data_prep.write_annotations.layouts.jester import read_jester

    return _write(
        root,
        lambda: read_jester(annotations),
        output,
        probe=probe,
        allow_missing=allow_missing,
        frames_fps=frames_fps,
    )


def diving48(
    root: Path,
    annotations: Path,
    *,
    frames_fps: float | None = None,
    output: Path | None = None,
    probe: bool = False,
    allow_missing: bool = False,
) -> int:
    """Diving48 V2: Diving48_vocab.json, Diving48_V2_train.json, Diving48_V2_test.json.

    Args:
        root: The folder of the videos (VID_NAME.mp4), at any depth.
        annotations: The folder of the official files.
        frames_fps: Folders, .zip and .tar files of images are videos too, with this many frames per second.
        output: The manifest to write, by default ROOT/manifest.csv; classes.txt and missing.csv are beside it.
        probe: Read the container of every video. Without it, only an empty file counts as unreadable.
        allow_missing: Exit with status 0 even if videos are missing or unreadable.
    """
    from data_prep.write_annotations.layouts.diving48 import read_diving48

    return _write(
        root,
        lambda: read_diving48(annotations),
        output,
        probe=probe,
        allow_missing=allow_missing,
        frames_fps=frames_fps,
    )


def charades(
    root: Path,
    annotations: Path,
    *,
    frames_fps: float | None = None,
    output: Path | None = None,
    probe: bool = False,
    allow_missing: bool = False,
) -> int:
    """Charades: Charades_v1_classes.txt, Charades_v1_train.csv, Charades_v1_test.csv; several classes per video.

    Args:
        root: The folder of the videos (ID.mp4), at any depth.
        annotations: The folder of the official files.
        frames_fps: Folders, .zip and .tar files of images are videos too, with this many frames per second.
        output: The manifest to write, by default ROOT/manifest.csv; classes.txt and missing.csv are beside it.
        probe: Read the container of every video. Without it, only an empty file counts as unreadable.
        allow_missing: Exit with status 0 even if videos are missing or unreadable.
    """
    from data_prep.write_annotations.layouts.charades import read_charades

    return _write(
        root,
        lambda: read_charades(annotations),
        output,
        probe=probe,
        allow_missing=allow_missing,
        frames_fps=frames_fps,
    )


def lists(
    root: Path,
    files: str,
    *,
    class_file: Path | None = None,
    delimiter: Literal["tab", "semicolon", "comma", "space"] | None = None,
    columns: Literal["path,labels", "path,frames,labels", "path,offset,frames,labels"] | None = None,
    frames_fps: float | None = None,
    output: Path | None = None,
    probe: bool = False,
    allow_missing: bool = False,
) -> int:
    """List files of mmaction2, PySlowFast, TSM and others: path label, path frames label, several labels, ID;class.

    Args:
        root: The folder that the paths start from, or of videos at any depth if the lists have names without folders.
            Front folders that all paths share may be missing in it. A file may have another video suffix than listed.
        files: Comma-separated files whose names contain train, val or test, or with their splits: train=a.txt,dev=b.txt
        class_file: The class names, one per line, in class order. Labels that are numbers are its lines, from 0.
            Without it, numbers are the class names. A .json file has a list of names, or {"name": number}.
        delimiter: What separates the columns. By default it is seen from the lines.
        columns: Which columns there are. By default it is seen from the lines.
        frames_fps: Folders, .zip and .tar files of images are videos too, with this many frames per second. Offset and
            number of frames of a line choose some of the images.
        output: The manifest to write, by default ROOT/manifest.csv; classes.txt and missing.csv are beside it.
        probe: Read the container of every video. Without it, only an empty file counts as unreadable.
        allow_missing: Exit with status 0 even if videos are missing or unreadable.
    """
    from data_prep.command_line.comma_list import split_comma_list
    from data_prep.write_annotations.layouts.list_files import read_lists, split_and_file

    def read() -> "Listing":
        splits_and_files = [split_and_file(item) for item in split_comma_list(files)]
        return read_lists(splits_and_files, class_file=class_file, delimiter=delimiter, columns=columns)

    return _write(root, read, output, probe=probe, allow_missing=allow_missing, frames_fps=frames_fps)


PUBLIC_DATASETS: dict[str, Callable[..., int]] = {
    "kinetics": kinetics,
    "ucf101": ucf101,
    "hmdb51": hmdb51,
    "something_something": something_something,
    "jester": jester,
    "diving48": diving48,
    "charades": charades,
    "lists": lists,
}


def _write(
    root: Path,
    read: Callable[[], "Listing"],
    output: Path | None,
    *,
    probe: bool,
    allow_missing: bool,
    any_case: bool = False,
    frames_fps: float | None = None,
) -> int:
    """Find the videos, write the manifest and `missing.csv`, print a summary, and return the exit status."""
    from collections import Counter

    from data_prep.command_line.warning import warn
    from data_prep.manifests.manifest_output import label_cell, write_manifest_and_warn
    from data_prep.manifests.video_files import check_folder, check_frames_fps, manifest_path, with_rate
    from data_prep.write_annotations.listed_videos import MISSING_FILE, print_table, search, write_missing

    check_frames_fps(frames_fps)
    check_folder(root)
    listing = read()
    output = root / "manifest.csv" if output is None else output
    result = search(root, listing, any_case=any_case, probe_files=probe, frames_fps=frames_fps)
    rows: list[dict[str, object]] = [
        with_rate(
            {
                "path": manifest_path(path, output.parent),
                "label": label_cell(video.labels),
                "split": video.split,
                "start_seconds": video.start_seconds,
                "end_seconds": video.end_seconds,
            },
            path,
            frames_fps,
        )
        for video, path in result.found
    ]
    write_manifest_and_warn(output, rows, listing.class_names)
    missing_file = output.parent / MISSING_FILE
    write_missing(missing_file, result)
    for decision in listing.decisions:
        print(decision)
    print_table(listing, result)
    several = sum(len(video.labels) > 1 for video, _ in result.found)
    if several:
        print(f"{several} rows have several labels; to train with them: --data.multi_label true")
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
