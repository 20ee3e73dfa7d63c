"""Write one HTML page that shows what a data set contains, to look at before training or to send to others.

    python -m data_prep.summarize k400/manifest.csv
    python -m data_prep.summarize k400/manifest.csv --output k400.html --videos_per_class 5

The page shows the rows per class and split, durations, resolutions, frame rates, codecs, a few frames of a few videos
per class, problems, and duplicates. Most of this comes from `data_prep.inspect_videos`, which should be run first; the
page states what is missing.

The page is one HTML file with all its images. It needs no network and loads nothing from elsewhere. It is made from
summary.html.j2 with Jinja (https://jinja.palletsprojects.com), which escapes the names of classes and files.

Exit status: 0; 1 if some videos could not be shown; 2 if nothing was written; 130 if interrupted.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from data_prep.command_line.run_command import leave, run_command

SHEET_HEIGHT_PX = 96


def summarize(
    manifest: Path,
    *,
    output: Path | None = None,
    root: str | None = None,
    videos_per_class: int = 3,
    frames_per_video: int = 4,
    workers: int | None = None,
    scheduler: str | None = None,
    cache_dir: Path | None = None,
    max_cache_bytes: float = 50e9,
) -> int:
    """Write one HTML page that shows what a data set contains.

    Args:
        manifest: The manifest, preferably after inspect_videos.
        output: The page to write, by default summary.html beside the manifest.
        root: Folder or URL that relative paths in the manifest start from, by default its own folder.
        videos_per_class: Number of videos per class of which frames are shown.
        frames_per_video: Number of frames per video.
        workers: Number of processes, by default one per core.
        scheduler: Run on the Dask cluster at this address, such as tcp://10.0.0.1:8786; its workers see the same files.
        cache_dir: Folder for videos from URLs, by default in the system's temporary folder.
        max_cache_bytes: Maximum size of that folder.

    Raises:
        AnnotationError: the manifest cannot be used.
        SettingError: an option cannot be used.
    """
    from functools import partial

    from data_prep.command_line.setting_error import check_at_least
    from data_prep.scheduling.run_each import Failure
    from data_prep.summarize.classes import choose_rows, rows_by_class, segment_of, sheet_of
    from data_prep.summarize.contact_sheets import contact_sheet, contact_sheets
    from data_prep.summarize.page import ClassSection, render_page
    from videoctx.atomic_write import atomic_write, check_writable
    from videoctx.data.annotations import CLASS_FILE, read_classes, read_table
    from videoctx.data.storage.local_files import LocalFiles
    from videoctx.terminal import printable

    check_at_least(0, videos_per_class=videos_per_class)
    check_at_least(1, frames_per_video=frames_per_video)
    output = manifest.with_name("summary.html") if output is None else output
    table = read_table(manifest)
    output.parent.mkdir(parents=True, exist_ok=True)
    check_writable(output)
    class_file = manifest.with_name(CLASS_FILE)
    class_names = read_classes(class_file) if class_file.exists() else []
    rows_of = rows_by_class(table.rows, class_names)
    chosen = {name: choose_rows(rows, videos_per_class) for name, rows in rows_of.items()}
    root = str(manifest.parent) if root is None else root
    segment_of_row = {id(row): segment_of(row, root) for rows in chosen.values() for row in rows}
    sheets = contact_sheets(
        list(dict.fromkeys(segment_of_row.values())),
        partial(
            contact_sheet,
            num_frames=frames_per_video,
            height_px=SHEET_HEIGHT_PX,
            files=LocalFiles(cache_dir, max_cache_bytes=int(max_cache_bytes)),
        ),
        workers=workers,
        scheduler=scheduler,
    )
    sections = [
        ClassSection(
            name, number, rows_of[name], [sheet_of(row, name, sheets[segment_of_row[id(row)]]) for row in chosen[name]]
        )
        for number, name in enumerate(rows_of, 1)
    ]
    page = render_page(table, sections, class_names)
    with atomic_write(output) as part:
        part.write_text(page, encoding="utf-8")
    failed = sorted(
        {f"{segment.source}: {sheet.reason}" for segment, sheet in sheets.items() if isinstance(sheet, Failure)}
    )
    for line in [f"{len(failed)} videos could not be shown:", *failed] if failed else []:
        print(printable(line), file=sys.stderr)
    print(f"{output}: {len(page.encode()) / 1e6:.1f} MB, {len(sheets) - len(failed)} videos of {len(sections)} classes")
    return 1 if failed else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run_command(
        "summarize",
        summarize,
        arguments,
        example="k400/manifest.csv --videos_per_class 5",
        when_interrupted="nothing was written",
    )


if __name__ == "__main__":
    leave(main())
