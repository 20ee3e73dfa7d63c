"""Look into every video of a manifest before it is trained on, and write down what was found.

    python -m data_prep.inspect_videos k400/manifest.csv
    python -m data_prep.inspect_videos k400/manifest.csv --output k400/inspected.csv --workers 16
    python -m data_prep.inspect_videos k400/manifest.csv --scheduler tcp://10.0.0.1:8786
    python -m data_prep.inspect_videos k400/manifest.csv --allow_leaks

Each file is decoded once, from the first frame to the last, so that damage is found and `num_frames` is a count and
no promise. The manifest gets the columns of `data_prep.inspect_videos.inspection`; all others, and the order of the rows, stay. Files
that cannot be used are listed and stay in the manifest with their `problem`: training names them, evaluation counts
them as wrong.

Videos that occur twice go to duplicates.csv beside the manifest, those that occur in two splits first
(`data_prep.inspect_videos.duplicates`): the same file, also with other stretches; the same bytes; the same pictures
(`data_prep.inspect_videos.near_duplicates`), whatever their encoding, size, shape and brightness, and with up to a few frames less.
Not found: mirrored, cropped or framed videos, and parts of longer ones. Two videos of a scene in which nothing moves
look alike.

A further run inspects only files that are new, or whose size or time of change is another. Of what lies behind a URL
that is not asked again; `--again` inspects everything. A run that is killed has kept what it found in
OUTPUT.part, from where the next goes on. Only one run at a time writes an OUTPUT.

Exit status: 0; 1 if some files cannot be used or a video is in two splits; 2 if nothing was written; 130 if
interrupted.
"""

import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path

from filelock import FileLock, Timeout
from jsonargparse import auto_cli
from rich.console import Console
from rich.table import Table
from rich.text import Text

from data_prep.command_line.flag_parser import FlagParser
from data_prep.command_line.printable_text import printable
from data_prep.inspect_videos.duplicates import DUPLICATES_FILE, Group, find_duplicates, write_duplicates
from data_prep.inspect_videos.inspection import INSPECTION_COLUMNS, cannot_be_used, file_stamp, inspect_file
from data_prep.manifests.manifest_rows import ManifestRows, read_rows, write_csv
from data_prep.scheduling.run_each import Failure, SchedulerError, run_each
from videoctx.data.annotations import CLASS_FILE, AnnotationError
from videoctx.data.storage.local_files import LocalFiles, StorageError
from videoctx.data.storage.locations import is_url, resolve

NUM_STATS = 16  # files that are looked for at the same time: network folders are slow to answer
MOST_VALUES = 8  # rows of a table
MOST_MEMBERS = 4  # of a group of duplicates on the terminal
GOPS = ((1, 1), (2, 16), (17, 64), (65, 256), (257, 10**9))  # packets


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
    """Look into every video of a manifest before it is trained on, and write down what was found.

    Args:
        manifest: The manifest; its paths may be files, URLs, or members of tar shards.
        output: The manifest to write, by default MANIFEST itself. Elsewhere, relative paths become absolute.
        root: What relative paths in the manifest start from, by default its own folder.
        allow_leaks: Exit with 0 though a video is in two splits.
        again: Inspect every file, also those that were inspected and have not changed.
        show: Problems, and groups of duplicates, on the terminal, at most; the files have all.
        workers: Processes; by default one a core.
        scheduler: Run on the Dask cluster at this address, such as tcp://10.0.0.1:8786; its workers see the same files.
        cache_dir: Where videos from URLs are kept, by default in the system's temporary folder.
        max_cache_bytes: Of the videos kept there.

    Raises:
        AnnotationError: the manifest or a setting cannot be used, or another run is writing OUTPUT.
    """
    if show < 0:
        raise AnnotationError(f"--show is {show}; expected 0 or more")
    if not manifest.is_file():
        raise AnnotationError(f"{manifest}: no such file; expected a manifest")
    output = manifest if output is None else output
    files = LocalFiles(cache_dir, max_cache_bytes=int(max_cache_bytes))
    journal = output.with_name(f"{output.name}.part")
    output.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(output.with_name(f".{output.name}.lock"), timeout=0):
            before = manifest.read_bytes()
            table = read_rows(manifest)
            sources = [_absolute(resolve(manifest.parent if root is None else root, row["path"])) for row in table.rows]
            if again:
                journal.unlink(missing_ok=True)
            known = {} if again else _known(table, sources, journal)
            found = _inspect_all(sources, known, journal, files, workers=workers, scheduler=scheduler)
            rows = [row | found[source] for row, source in zip(table.rows, sources, strict=True)]
            if output.parent.resolve() != manifest.parent.resolve():
                _move(rows, manifest, output, root)
            with Console(stderr=True).status("Comparing"):  # minutes for hundreds of thousands
                groups, num_flat = find_duplicates(rows, table.lines, sources)
            if manifest.read_bytes() != before:
                raise AnnotationError(
                    f"{manifest}: it was changed while its videos were inspected; run again, what was found is kept"
                )
            write_csv(output, rows, list(dict.fromkeys([*table.columns, *INSPECTION_COLUMNS])))
            write_duplicates(output.with_name(DUPLICATES_FILE), groups)
            journal.unlink(missing_ok=True)
    except Timeout as error:
        raise AnnotationError(f"{output}: another run is writing it") from error
    num_new = len(found) - len(known)
    problems = [(line, row) for line, row in zip(table.lines, rows, strict=True) if row["problem"]]
    leaks = [group for group in groups if group.is_leak]
    _show(list(dict(zip(sources, rows, strict=True)).values()))
    _list_problems(problems, manifest, show)
    _list_duplicates(groups, leaks, output.with_name(DUPLICATES_FILE), show)
    if num_flat:
        print(f"{num_flat} files show too little (black, white) for their looks to be compared")
    print(f"{output}: {len(rows)} rows, {len(found)} files, {num_new} of them inspected in this run")
    return 1 if problems or (leaks and not allow_leaks) else 0


def _known(table: ManifestRows, sources: Sequence[str], journal: Path) -> dict[str, dict[str, str]]:
    """What was found before, by file, of those that have not changed since."""
    found = {
        source: {column: row[column] for column in INSPECTION_COLUMNS}
        for source, row in zip(sources, table.rows, strict=True)
        if row.get("size_bytes") and row.keys() >= set(INSPECTION_COLUMNS)
    } | _read_journal(journal)
    wanted = [source for source in dict.fromkeys(sources) if source in found]
    with ThreadPoolExecutor(NUM_STATS) as pool:
        stamps = pool.map(file_stamp, wanted)
    # Without a stamp, of what is missing here or elsewhere, a problem may have passed.
    return {
        source: found[source]
        for source, stamp in zip(wanted, stamps, strict=True)
        if found[source]["file_stamp"] == stamp and (stamp or (_is_remote(source) and not found[source]["problem"]))
    }


def _inspect_all(
    sources: Sequence[str],
    known: Mapping[str, dict[str, str]],
    journal: Path,
    files: LocalFiles,
    *,
    workers: int | None,
    scheduler: str | None,
) -> dict[str, dict[str, str]]:
    """What is found in each file; the journal has it as soon as it is known."""
    found = dict(known)
    unknown = [source for source in dict.fromkeys(sources) if source not in known]
    if not unknown:
        return found
    inspect = partial(inspect_file, files=files)
    with (
        journal.open("a", encoding="utf-8") as file,
        closing(run_each(inspect, unknown, description="Inspecting", workers=workers, scheduler=scheduler)) as outcomes,
    ):
        file.write("\n")  # after a line that was cut short
        for source, outcome in outcomes:
            if isinstance(outcome, Failure):
                found[source] = cannot_be_used(outcome.reason)
                continue
            found[source] = outcome
            file.write(json.dumps({"source": source, "found": outcome}) + "\n")
            file.flush()
    return found


def _read_journal(journal: Path) -> dict[str, dict[str, str]]:
    """What a run that was killed has found; its last line may be cut short."""
    found = {}
    if journal.exists():
        for line in journal.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                entry = json.loads(line)
                if entry["found"].keys() == set(INSPECTION_COLUMNS):
                    found[entry["source"]] = entry["found"]
            except (ValueError, TypeError, KeyError, AttributeError):
                continue
    return found


def _absolute(source: str) -> str:
    """The same file for a worker that has another working directory."""
    return source if is_url(source) and not source.startswith("tar://") else resolve(os.getcwd(), source)


def _is_remote(source: str) -> bool:
    return is_url(source.rpartition("::")[2].removeprefix("file://"))


def _move(rows: Sequence[dict[str, str]], manifest: Path, output: Path, root: str | None) -> None:
    """Make the rows of a manifest ready for one in another folder."""
    if root is None:
        for row in rows:
            row["path"] = resolve(manifest.parent.absolute(), row["path"])
    class_file = output.with_name(CLASS_FILE)
    if (manifest.parent / CLASS_FILE).exists() and not class_file.exists():
        shutil.copyfile(manifest.parent / CLASS_FILE, class_file)


def _show(rows: Sequence[Mapping[str, str]]) -> None:
    """A table of what the files are like; one row for each of them."""
    usable = [row for row in rows if not row["problem"]]
    columns = {
        "container": [row["container"] for row in usable],
        "codec": [row["codec"] for row in usable],
        "resolution": [f"{row['width']}×{row['height']}" for row in usable],
        "frames/s": [f"{float(row['fps']):.4g}{' on average' * bool(row['variable_frame_rate'])}" for row in usable],
        "largest GOP": [_gop(int(row["gop"])) for row in usable],
        "exact decoders": [row["decoders"] for row in usable],
        "problem": [row["problem"] for row in rows if row["problem"]],
    }
    table = Table("", "value", "files", title="files")
    for name, values in columns.items():
        counted = Counter(values).most_common()
        shown = counted if len(counted) <= MOST_VALUES else counted[: MOST_VALUES - 1]
        others = sum(count for _, count in counted[len(shown) :])
        if others:
            shown = [*shown, (f"{len(counted) - len(shown)} others", others)]
        for index, (value, count) in enumerate(shown):
            table.add_row(
                name if index == 0 else "", Text(printable(value)), str(count), end_section=index == len(shown) - 1
            )
    Console().print(table)


def _gop(packets: int) -> str:
    low, high = next((low, high) for low, high in GOPS if packets <= high)
    return str(low) if low == high else f"over {low - 1}" if high == GOPS[-1][1] else f"{low} to {high}"


def _list_problems(problems: Sequence[tuple[int, Mapping[str, str]]], manifest: Path, show: int) -> None:
    if not problems:
        return
    print(f"{len(problems)} rows have a file that cannot be used:", file=sys.stderr)
    for line, row in problems[:show]:
        print(f"  {manifest}, line {line}: {printable(row['path'])}: {printable(row['problem'])}", file=sys.stderr)
    if len(problems) > show:
        print(f"  and {len(problems) - show} more: column problem of the manifest", file=sys.stderr)


def _list_duplicates(groups: Sequence[Group], leaks: Sequence[Group], path: Path, show: int) -> None:
    if not groups:
        print("no video is there twice")
        return
    print(
        f"{len(groups)} videos are there more than once, {len(leaks)} of them in more than one split: {path}",
        file=sys.stderr,
    )
    for group in groups[:show]:
        where = f"LEAK between {' and '.join(map(printable, group.splits))}" if group.is_leak else "in one split"
        print(f"  {where}: {group.how}{', with different labels' * group.has_several_labels}", file=sys.stderr)
        for member in group.members[:MOST_MEMBERS]:
            stretch = " to ".join(member.row.get(column) or "…" for column in ("start_seconds", "end_seconds"))
            said = "" if stretch == "… to …" else f", {stretch} s"
            print(
                f"    line {member.line}, {member.row['split']}: {printable(member.row['path'])}{said}", file=sys.stderr
            )
        if len(group.members) > MOST_MEMBERS:
            print(f"    and {len(group.members) - MOST_MEMBERS} more rows", file=sys.stderr)
    if len(groups) > show:
        print(f"  and {len(groups) - show} more", file=sys.stderr)


def main(arguments: Sequence[str] | None = None) -> int:
    """Inspect and return the exit status; an error is one line on the error stream."""
    try:
        return auto_cli(
            inspect_videos,
            args=arguments,
            parser_class=FlagParser,
            prog="python -m data_prep.inspect_videos",
            epilog="example: python -m data_prep.inspect_videos k400/manifest.csv --workers 16",
        )
    except (AnnotationError, SchedulerError, StorageError, OSError, ValueError) as error:
        print(f"inspect_videos: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("inspect_videos: interrupted; run it again to do the rest", file=sys.stderr)
        return 130


if __name__ == "__main__":
    from data_prep.inspect_videos.__main__ import (
        main as main_by_name,  # other processes know this module by its name only
    )

    sys.exit(main_by_name())
