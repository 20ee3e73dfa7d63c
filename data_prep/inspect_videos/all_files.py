"""Inspecting the files of a manifest, except those whose results of an earlier run still hold."""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path

from data_prep.inspect_videos.inspection import cannot_be_used, file_stamp, inspect_file
from data_prep.manifests.inspection_columns import INSPECTION_COLUMNS
from data_prep.scheduling.run_each import Failure, run_each
from videoctx.atomic_write import ErrorsNaming, atomic_write
from videoctx.data.annotations import CLASS_FILE, CsvTable
from videoctx.data.storage.local_files import LocalFiles
from videoctx.data.storage.locations import is_url, resolve

NUM_STATS = 16  # files whose stamps are read at the same time: network folders respond slowly

Found = dict[str, str]  # the inspection columns of a file


def known_results(table: CsvTable, sources: Sequence[str], journal: Path) -> dict[str, Found]:
    """Return the results in the manifest and in the journal, by file, for the files that have not changed since.

    Args:
        sources: the file of each row.
        journal: the results of a run that was killed.
    """
    found = {
        source: {column: row[column] for column in INSPECTION_COLUMNS}
        for source, row in zip(sources, table.rows, strict=True)
        if row.get("size_bytes") and row.keys() >= set(INSPECTION_COLUMNS)
    } | _read_journal(journal)
    wanted = [source for source in dict.fromkeys(sources) if source in found]
    with ThreadPoolExecutor(NUM_STATS) as pool:
        stamps = pool.map(file_stamp, wanted)
    # A file without a stamp is missing or remote. If it had a problem, the problem may be gone now.
    return {
        source: found[source]
        for source, stamp in zip(wanted, stamps, strict=True)
        if found[source]["file_stamp"] == stamp and (stamp or (_is_remote(source) and not found[source]["problem"]))
    }


def inspect_all(
    sources: Sequence[str],
    known: Mapping[str, Found],
    journal: Path,
    files: LocalFiles,
    *,
    workers: int | None,
    scheduler: str | None,
) -> dict[str, Found]:
    """Inspect every file that is not in `known`; return the results of all. Each result is added to the journal."""
    found = dict(known)
    unknown = [source for source in dict.fromkeys(sources) if source not in known]
    if not unknown:
        return found
    inspect = partial(inspect_file, files=files)
    with (
        ErrorsNaming([journal]),
        journal.open("a", encoding="utf-8") as file,
        closing(run_each(inspect, unknown, description="Inspecting", workers=workers, scheduler=scheduler)) as outcomes,
    ):
        file.write("\n")  # ends a line that was cut off
        for source, outcome in outcomes:
            if isinstance(outcome, Failure):
                found[source] = cannot_be_used(outcome.reason)
                continue
            found[source] = outcome
            file.write(json.dumps({"source": source, "found": outcome}) + "\n")
            file.flush()
    return found


def rows_for_other_folder(rows: Sequence[Found], manifest: Path, output: Path, root: str | None) -> list[Found]:
    """Return the rows of a manifest such that they are valid in another folder; copy the class file there."""
    class_file = output.with_name(CLASS_FILE)
    if (manifest.parent / CLASS_FILE).exists() and not class_file.exists():
        with atomic_write(class_file) as part:
            shutil.copyfile(manifest.parent / CLASS_FILE, part)
    if root is not None:
        return list(rows)
    return [row | {"path": resolve(manifest.parent.absolute(), row["path"])} for row in rows]


def absolute(source: str) -> str:
    """Return the path or URL of the same file for a worker that has another working directory."""
    return source if is_url(source) and not source.startswith("tar://") else resolve(os.getcwd(), source)


def _read_journal(journal: Path) -> dict[str, Found]:
    """Return the results of a run that was killed; its last line may be cut off."""
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


def _is_remote(source: str) -> bool:
    return is_url(source.rpartition("::")[2].removeprefix("file://"))
