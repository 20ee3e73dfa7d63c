"""Finds and reads the `results.json` of tested runs."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

RESULT_FILE = "results.json"
COUNTS = ("num_videos", "num_views", "num_failed")


def result_files(folders: Sequence[Path]) -> list[Path]:
    """Return the results in some folders and below them, sorted by path.

    Raises:
        ValueError: there are none.
    """
    files = sorted({file for folder in folders for file in folder.rglob(RESULT_FILE)})
    if not files:
        names = ", ".join(map(str, folders))
        raise ValueError(f"{names}: no {RESULT_FILE} in there; `videoctx test` writes one per run")
    return files


def read_result(file: Path) -> dict[str, Any]:
    """Return the metrics and counts of a tested run.

    Raises:
        ValueError: it is not a result, or a truncated one.
    """
    try:
        result = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file}: not a result, or a truncated one: {error}") from error
    missing = {"num_parameters", *COUNTS} - (result.keys() if isinstance(result, dict) else set())
    if missing:
        raise ValueError(f"{file}: not a result of `videoctx test`: it lacks {', '.join(sorted(missing))}")
    return result
