r"""Write a manifest of your own videos, or of those of a public dataset.

    python -m data_prep.write_annotations folders videos
    python -m data_prep.write_annotations folders videos --group_pattern '(?P<group>.+)_\d+'
    python -m data_prep.write_annotations pattern videos '(?P<label>\w+)/(?P<group>person\d+)_'
    python -m data_prep.write_annotations csv videos labels.csv --group_columns actor,day --test_where actor=7
    python -m data_prep.write_annotations kinetics videos train.csv,val.csv
    python -m data_prep.write_annotations ucf101 UCF-101 ucfTrainTestlist --fold 1
    python -m data_prep.write_annotations lists videos train_list.txt,val_list.txt --class_file classes.txt

The first three are for your own videos. They divide the videos into splits at random such that every recording is in
one split only (`data_prep.write_annotations.group_split`). Their manifest has an additional column, `group`. Classes
are sorted by name, or by value if all of them are numbers; `--class_file` gives them another order. Class names are
written in Unicode's composed form (NFC). Names that look alike (`Run` and `run`, `0` and `00`) and a video with two
labels are refused. What is passed over and how folders were understood is printed.

The other commands, one per dataset, are in `data_prep.write_annotations.public_datasets`: `kinetics`, `ucf101`,
`hmdb51`, `something_something`, `jester`, `diving48`, `charades`, and `lists` for the list
files of other projects (`path label`).

The manifest is described in `videoctx.data.annotations`. A path is relative if the video is in the manifest's folder,
so that both can be moved together, and absolute otherwise.

Exit status: 0; 1 if the manifest was written without some rows of the annotations; 2 if nothing was written; 130 if
interrupted.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from data_prep.command_line.run_command import leave, run_command
from data_prep.write_annotations.public_datasets import PUBLIC_DATASETS

MOST_LISTED = 5  # files, of which there may be thousands


def from_folders(
    root: Path,
    *,
    group_pattern: str | None = None,
    class_file: Path | None = None,
    output: Path | None = None,
    val_fraction: float = 0.0,
    test_fraction: float = 0.2,
    folds: int | None = None,
    seed: int = 0,
    frames_fps: float | None = None,
) -> int:
    """One folder per class: ROOT/CLASS/video.mp4, at any depth; or ROOT/train/CLASS, ROOT/val/CLASS, ROOT/test/CLASS.

    Folders named train, training, val, valid, validation, test or testing are splits, in ROOT or in all class folders,
    and are used as they are.

    Args:
        root: The folder of the class folders. Hidden files and folders are skipped.
        group_pattern: Regular expression with a group (?P<group>...), matched from the start of a file name;
            files in which that group is equal are one recording. By default it is the name without its suffix,
            and with its folders if there are split folders; in ROOT/CLASS/ID/video.mp4 it is the ID.
        class_file: The class names, one per line, in class order. Labels that are numbers are its lines, from 0.
        output: The manifest to write, by default ROOT/manifest.csv. Class names are written to classes.txt beside it.
        val_fraction: Fraction of each class for val.
        test_fraction: Fraction of each class for test. The remaining videos are for train.
        folds: Write this many manifests instead, manifest-fold1.csv and so on; each recording is test in one of them.
        seed: Seed of the random split.
        frames_fps: Folders, .zip and .tar files of images are videos too, with this many frames per second.
    """
    from data_prep.command_line.setting_error import SettingError
    from data_prep.command_line.warning import warn
    from data_prep.write_annotations.own_videos import read_folders
    from data_prep.write_annotations.split_and_write import split_and_write, split_shares

    found = read_folders(root, group_pattern, frames=frames_fps is not None)
    shares = split_shares(val_fraction, test_fraction, folds)
    if found.rows[0].split:
        if val_fraction:
            raise SettingError("--val_fraction: the folders give every video its split; leave it out")
        shares = {}
    if found.left_out:
        warn(f"{len(found.left_out)} video files are left out", found.left_out, most=MOST_LISTED)
    split_and_write(
        root,
        found.rows,
        output,
        shares,
        seed,
        class_file=class_file,
        decisions=found.decisions,
        folds=folds,
        frames_fps=frames_fps,
    )
    if found.without_video:
        warn(f"{len(found.without_video)} folders have no video and are no classes", found.without_video)
    return 0


def from_pattern(
    root: Path,
    regex: str,
    *,
    class_file: Path | None = None,
    output: Path | None = None,
    val_fraction: float = 0.0,
    test_fraction: float = 0.2,
    folds: int | None = None,
    seed: int = 0,
    frames_fps: float | None = None,
) -> int:
    """The path of a video contains its class, and perhaps its recording.

    Args:
        root: The folder of the videos, at any depth. Hidden files and folders are skipped.
        regex: Regular expression with a group (?P<label>...), matched from the start of a file's path in ROOT
            (folders end with /). Files in which a group (?P<group>...) is equal are one recording; without that
            group each file is one. A group (?P<split>...) is the split; without it, splits are random.
        class_file: The class names, one per line, in class order. Labels that are numbers are its lines, from 0.
        output: The manifest to write, by default ROOT/manifest.csv. Class names are written to classes.txt beside it.
        val_fraction: Fraction of each class for val.
        test_fraction: Fraction of each class for test. The remaining videos are for train.
        folds: Write this many manifests instead, manifest-fold1.csv and so on; each recording is test in one of them.
        seed: Seed of the random split.
        frames_fps: Folders, .zip and .tar files of images are videos too, with this many frames per second.
    """
    from data_prep.command_line.warning import warn
    from data_prep.write_annotations.own_videos import read_pattern
    from data_prep.write_annotations.split_and_write import split_and_write, split_shares

    found = read_pattern(root, regex, frames=frames_fps is not None)
    shares = split_shares(val_fraction, test_fraction, folds)
    if found.left_out:
        warn(f"{len(found.left_out)} video files are left out", found.left_out, most=MOST_LISTED)
    if all(row.split for row in found.rows):
        shares = {}
    split_and_write(
        root,
        found.rows,
        output,
        shares,
        seed,
        class_file=class_file,
        decisions=found.decisions,
        folds=folds,
        frames_fps=frames_fps,
    )
    return 0


def from_csv(
    root: Path,
    csv_file: Path,
    *,
    path_column: str = "path",
    label_column: str = "label",
    group_columns: str = "",
    start_column: str | None = None,
    end_column: str | None = None,
    split_column: str | None = None,
    val_where: str = "",
    test_where: str = "",
    class_file: Path | None = None,
    output: Path | None = None,
    val_fraction: float = 0.0,
    test_fraction: float = 0.2,
    folds: int | None = None,
    seed: int = 0,
    frames_fps: float | None = None,
) -> int:
    """A CSV file with a header has one row per video, or per segment of a video.

    Args:
        root: Folder that the paths in the CSV file start from.
        csv_file: The CSV file; if it does not exist, the file of that name in ROOT.
        path_column: Column of the video's path.
        label_column: Column of the class name, or of several: run|jump.
        group_columns: Comma-separated columns; rows with equal values in all of them are one recording. By default
            the rows of one file are.
        start_column: Column of the second at which the action starts; empty cell: at the start of the video.
        end_column: Column of the second at which the action ends; empty cell: at the end of the video.
        split_column: Column of the split, which is used as it is. No video is then split at random.
        val_where: Comma-separated COLUMN=VALUE: these rows are val, and val_fraction is ignored. Values of one column
            are alternatives, and all columns must match: actor=3,actor=5,room=a is actor 3 or 5, in room a.
        test_where: The same for test.
        class_file: The class names, one per line, in class order. Labels that are numbers are its lines, from 0.
        output: The manifest to write, by default ROOT/manifest.csv. Class names are written to classes.txt beside it.
        val_fraction: Fraction of each class for val, of the rows without a given split.
        test_fraction: Fraction of each class for test, of the same rows. The remaining ones are for train.
        folds: Write this many manifests instead, manifest-fold1.csv and so on; each recording is test in one of them.
        seed: Seed of the random split.
        frames_fps: Folders, .zip and .tar files of images are videos too, with this many frames per second.
    """
    from data_prep.command_line.comma_list import split_comma_list
    from data_prep.command_line.setting_error import SettingError
    from data_prep.command_line.warning import warn
    from data_prep.write_annotations.own_videos import read_csv_rows
    from data_prep.write_annotations.split_and_write import column_condition, split_and_write, split_shares

    if folds is not None and (split_column or val_where or test_where):
        raise SettingError("--folds divides all rows; leave out --split_column, --val_where and --test_where")
    if split_column and (val_where or test_where or val_fraction):
        raise SettingError(
            "--split_column gives every row its split; leave out --val_where, --test_where and --val_fraction"
        )
    shares = split_shares(0.0 if val_where else val_fraction, 0.0 if test_where else test_fraction, folds)
    csv_file = csv_file if csv_file.exists() else root / csv_file
    output = root / "manifest.csv" if output is None else output
    if csv_file.exists() and output.exists() and output.samefile(csv_file):
        raise SettingError(f"{output}: this is the CSV file that is read; expected another --output")
    conditions = {"val": val_where, "test": test_where}
    rows, left_out = read_csv_rows(
        root,
        csv_file,
        path_column=path_column,
        label_column=label_column,
        group_columns=split_comma_list(group_columns),
        start_column=start_column,
        end_column=end_column,
        split_column=split_column,
        conditions={name: column_condition(f"--{name}_where", text) for name, text in conditions.items() if text},
        frames=frames_fps is not None,
    )
    if left_out:
        warn(f"{len(left_out)} rows are left out", left_out)
    shares = {} if split_column else shares
    split_and_write(root, rows, output, shares, seed, class_file=class_file, folds=folds, frames_fps=frames_fps)
    return 1 if left_out else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand and return its exit status."""
    own_videos: dict[str, Callable[..., int]] = {"folders": from_folders, "pattern": from_pattern, "csv": from_csv}
    return run_command(
        "write_annotations",
        own_videos | PUBLIC_DATASETS,
        arguments,
        example="folders videos",
        when_interrupted="nothing was written",
    )


if __name__ == "__main__":
    leave(main())
