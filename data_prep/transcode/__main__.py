"""Re-encode the videos of a manifest once, so that training reads them quickly and exactly.

    python -m data_prep.transcode k400/manifest.csv k400_256
    python -m data_prep.transcode ava/manifest.csv ava_320 --short_side_px 320 --fps 30
    python -m data_prep.transcode k400/manifest.csv /shared/k400_256 --scheduler tcp://10.0.0.1:8786

`data_prep.transcode.encoders` describes the new videos. A segment of a video (`start_seconds`, `end_seconds`) becomes a
file of its own, and the new manifest has no seconds. OUTPUT has the same folders as the sources; sources outside the
manifest's folder are in it under their absolute paths. OUTPUT also gets manifest.csv, classes.txt and, if something
failed, failures.csv.

| source             | segment     | file in OUTPUT             |
|--------------------|-------------|----------------------------|
| `run/a.mp4`        | all         | `run/a.mp4`                |
| `run/a.avi`        | all         | `run/a.avi.mp4`            |
| `run/a.mp4`        | 1.5 to 4 s  | `run/a@1.5-4s.mp4`         |
| `/data/b.mp4`      | from 2 s on | `data/b@2-end.mp4`         |
| `../b.mp4`         | all         | `home/me/b.mp4`            |
| `run/frames`       | all         | `run/frames.mp4`           |

The last one is a folder of images, whose rate is the row's `fps`. PyAV encodes those, also with --ffmpeg.

A file appears under its name only when it is complete, has been read back, and is on the disk. Its metadata (`comment`)
records its source and settings. A further run skips files that were made from the same source with the same settings,
and makes the others. The source is compared by size and modification time; one that no longer exists counts as the
same. Several runs may work on one OUTPUT. Nothing in OUTPUT is deleted except temporary files whose writer has died.

Exit status: 0; 1 if some rows failed: they are not in the new manifest, and failures.csv has the reasons; 2 if nothing
could be done; 130 if interrupted.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from data_prep.command_line.run_command import leave, run_command

MOST_LISTED = 10  # failures that are printed; the file has all of them
X264Preset = Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"]


def transcode(
    manifest: Path,
    output: Path,
    *,
    root: Path | None = None,
    short_side_px: int = 256,
    fps: float | None = None,
    crf: int = 20,
    preset: X264Preset = "fast",
    ffmpeg: bool = False,
    workers: int | None = None,
    scheduler: str | None = None,
) -> int:
    """Re-encode the videos of a manifest: small, exact and quick to read.

    Args:
        manifest: The manifest of the sources, with classes.txt beside it.
        output: Folder for the new videos, manifest.csv and classes.txt; created if missing.
        root: Folder that relative paths in the manifest start from, by default the manifest's folder.
        short_side_px: Pixels of the shorter side, even. Smaller videos keep their size, cropped to even sides.
        fps: Frames per second of all results, such as 30 or 29.97. By default each keeps its source's average.
        crf: Constant rate factor of x264, 0 to 51: smaller is better and larger; x264's own default is 23.
        preset: Preset of x264: slower ones give smaller files.
        ffmpeg: Use the ffmpeg program, 5.1 or newer, instead of PyAV.
        workers: Number of processes, each with one encoder thread; by default one per core.
        scheduler: Run on the Dask cluster at this address, such as tcp://10.0.0.1:8786; its workers see the same files.

    Raises:
        AnnotationError: the manifest cannot be used.
        SettingError: an option cannot be used.
    """
    from contextlib import closing
    from functools import partial

    from data_prep.scheduling.run_each import Failure, run_each
    from data_prep.transcode.encoders import Encoding
    from data_prep.transcode.jobs import job_of_rows, source_size
    from data_prep.transcode.make_file import make_file
    from data_prep.transcode.output_folder import MANIFEST, prepare_output, print_failures, write_tables
    from data_prep.transcode.temporary_files import remove_stale
    from videoctx.data.annotations import CLASS_FILE, read_classes, read_table

    encoding = Encoding(short_side_px=short_side_px, fps=fps, crf=crf, preset=preset)
    if ffmpeg and scheduler is None:
        _check_ffmpeg()
    root = manifest.parent if root is None else root
    class_names = read_classes(manifest.parent / CLASS_FILE)
    prepare_output(output, sources=(manifest.parent, root))
    table = read_table(manifest, refuse_bad_rows=False)
    jobs, failures = job_of_rows(table, Path(os.path.abspath(root)), Path(os.path.abspath(output)))
    lines_of: dict[object, list[int]] = {}
    for line, job in jobs.items():
        lines_of.setdefault(job, []).append(line)
    remove_stale(output)
    num_made = 0
    try:
        make = partial(make_file, encoding=encoding, ffmpeg=ffmpeg)
        largest_first = sorted(set(jobs.values()), key=source_size, reverse=True)  # no large one is left for the end
        with closing(
            run_each(make, largest_first, description="Transcoding", workers=workers, scheduler=scheduler)
        ) as outcomes:
            for job, outcome in outcomes:
                if isinstance(outcome, Failure):
                    failures |= dict.fromkeys(lines_of[job], outcome.reason)
                else:
                    num_made += outcome
    finally:
        remove_stale(output)
    if failures:  # printed before anything is written, because the disk may be full
        print_failures(table, failures, output, MOST_LISTED)
    targets = {line: job.target for line, job in jobs.items() if line not in failures}
    write_tables(output, table, targets, class_names, failures)
    num_files = len(set(targets.values()))
    print(f"{output / MANIFEST}: {len(targets)} rows, {num_files} files, {num_made} of them made in this run")
    return 1 if failures else 0


def _check_ffmpeg() -> None:
    import shutil

    from data_prep.command_line.setting_error import SettingError

    if shutil.which("ffmpeg") is None:
        raise SettingError("--ffmpeg: the program ffmpeg is not installed here; leave the option out to use PyAV")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run_command("transcode", transcode, arguments, example="k400/manifest.csv k400_256 --short_side_px 256")


if __name__ == "__main__":
    leave(main())
