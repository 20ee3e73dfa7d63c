"""Decode every video of a manifest once, write what it contains into the manifest, and find duplicates.

    python -m data_prep.inspect_videos k400/manifest.csv
    python -m data_prep.inspect_videos k400/manifest.csv --output k400/inspected.csv --workers 16
    python -m data_prep.inspect_videos k400/manifest.csv --scheduler tcp://10.0.0.1:8786
    python -m data_prep.inspect_videos k400/manifest.csv --allow_leaks

Each file is decoded from the first frame to the last, so damage is found and `num_frames` is a count. Of a folder or
archive of images, each image is decoded, and the frame rate in `fps` is kept. The manifest gets
the columns of `data_prep.manifests.inspection_columns`; other columns and the order of the rows are kept. Files that
cannot be used are listed and stay in the manifest with their `problem`: training reports them by name, and evaluation
counts them as incorrect.

Videos that occur more than once are written to duplicates.csv beside the manifest, those in two splits first
(`data_prep.inspect_videos.duplicates`): the same file, also with different segments; the same bytes; or similar frames
(`data_prep.inspect_videos.near_duplicates`), whatever their encoding, size, shape and brightness, with up to a few
frames cut off. Mirrored, cropped or framed videos and parts of longer ones are not found. Two videos of a scene without
motion look alike.

A further run inspects only files that are new or whose size or modification time has changed. Files behind URLs are not
checked again, unless `--again` is given. A killed run keeps its results in OUTPUT.part, from which the next run
resumes. Only one run at a time writes an OUTPUT.

Exit status: 0; 1 if some files cannot be used or a video is in two splits; 2 if nothing was written; 130 if
interrupted.
"""

from collections.abc import Sequence
from pathlib import Path

from data_prep.command_line.run_command import leave, run_command


def inspect_videos(
    manifest: Path,
    *,
    output: Path | None = None,
    root: str | None = None,
    allow_leaks: bool = False,
    again: bool = False,
    show: int = 20,
    workers: int | None = None,
    scheduler: str | None = None,
    cache_dir: Path | None = None,
    max_cache_bytes: float = 50e9,
) -> int:
    """Decode every video of a manifest once, write what it contains into the manifest, and find duplicates.

    Args:
        manifest: The manifest; its paths may be files, URLs, or members of tar shards.
        output: The manifest to write, by default MANIFEST itself. In another folder, relative paths become absolute.
        root: Folder or URL that relative paths in the manifest start from, by default its own folder.
        allow_leaks: Exit with status 0 even if a video is in two splits.
        again: Inspect every file again, including those that have not changed.
        show: Print at most this many problems and groups of duplicates; the files have all of them.
        workers: Number of processes, by default one per core.
        scheduler: Run on the Dask cluster at this address, such as tcp://10.0.0.1:8786; its workers see the same files.
        cache_dir: Folder for videos from URLs, by default in the system's temporary folder.
        max_cache_bytes: Maximum size of that folder.

    Raises:
        AnnotationError: the manifest cannot be used, or another run is writing OUTPUT.
        SettingError: an option cannot be used.
    """
    from filelock import FileLock, Timeout

    from data_prep.command_line.setting_error import check_at_least
    from data_prep.inspect_videos.all_files import absolute, inspect_all, known_results, rows_for_other_folder
    from data_prep.inspect_videos.duplicates import find_duplicates, write_duplicates
    from data_prep.inspect_videos.image_inspection import with_found
    from data_prep.inspect_videos.printed_report import print_duplicates, print_file_table, print_problems
    from data_prep.manifests.csv_output import write_csv
    from data_prep.manifests.inspection_columns import DUPLICATES_FILE, INSPECTION_COLUMNS
    from videoctx.atomic_write import check_writable
    from videoctx.data.annotations import AnnotationError, read_table
    from videoctx.data.storage.local_files import LocalFiles
    from videoctx.data.storage.locations import resolve
    from videoctx.printed_tables import Console

    check_at_least(0, show=show)
    if not manifest.is_file():
        raise AnnotationError(f"{manifest}: no such file; expected a manifest")
    output = manifest if output is None else output
    files = LocalFiles(cache_dir, max_cache_bytes=int(max_cache_bytes))
    journal = output.with_name(f"{output.name}.part")
    output.parent.mkdir(parents=True, exist_ok=True)
    check_writable(output)
    try:
        with FileLock(output.with_name(f".{output.name}.lock"), timeout=0):
            before = manifest.read_bytes()
            table = read_table(manifest)
            start = manifest.parent if root is None else root
            sources = [absolute(resolve(start, row["path"])) for row in table.rows]
            if again:
                journal.unlink(missing_ok=True)
            known = {} if again else known_results(table, sources, journal)
            found = inspect_all(sources, known, journal, files, workers=workers, scheduler=scheduler)
            rows = [with_found(row, found[source]) for row, source in zip(table.rows, sources, strict=True)]
            if output.parent.resolve() != manifest.parent.resolve():
                rows = rows_for_other_folder(rows, manifest, output, root)
            with Console(stderr=True).status("Comparing"):  # takes minutes for hundreds of thousands of videos
                groups, num_flat = find_duplicates(rows, table.lines, sources)
            if manifest.read_bytes() != before:
                raise AnnotationError(
                    f"{manifest}: it was changed while its videos were inspected; run again, the results are kept"
                )
            write_csv(output, rows, list(dict.fromkeys([*table.columns, *INSPECTION_COLUMNS])))
            write_duplicates(output.with_name(DUPLICATES_FILE), groups)
            journal.unlink(missing_ok=True)
    except Timeout as error:
        raise AnnotationError(f"{output}: another run is writing it") from error
    problems = [(line, row) for line, row in zip(table.lines, rows, strict=True) if row["problem"]]
    leaks = [group for group in groups if group.is_leak]
    print_file_table(list(dict(zip(sources, rows, strict=True)).values()))
    print_problems(problems, manifest, show)
    print_duplicates(groups, output.with_name(DUPLICATES_FILE), show)
    if num_flat:
        print(f"{num_flat} files show too little (black, white) to be compared")
    print(f"{output}: {len(rows)} rows, {len(found)} files, {len(found) - len(known)} of them inspected in this run")
    return 1 if problems or (leaks and not allow_leaks) else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run_command("inspect_videos", inspect_videos, arguments, example="k400/manifest.csv --workers 16")


if __name__ == "__main__":
    leave(main())
