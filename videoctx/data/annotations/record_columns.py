"""Many rows of a manifest at once: text becomes the columns of `VideoRecords`, and rows that break a rule are found.

The rules are those of `videoctx.data.annotations.row_check.RowCheck`, which then reports the row.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from videoctx.data.annotations.row_check import RowCheck
from videoctx.data.annotations.video_records import ROW, VideoRecords

UNKNOWN = -2  # code of a label that names an unknown class


class RecordColumns:
    """Columns of the rows that have been added.

    Args:
        check: The rules.
        split: Split of all rows.
    """

    def __init__(self, check: RowCheck, *, split: str) -> None:
        self.check = check
        self._codes = {split: 0}  # of the texts
        self._label_codes: dict[str, int] = {}  # by cell
        self._set_codes: dict[tuple[int, ...], int] = {}
        self._paths: list[pa.Array] = []
        self._rows = np.zeros(0, ROW)

    def add(self, cells: pa.RecordBatch) -> np.ndarray:
        """Add rows, and return which of them break a rule, (n,) bool.

        Args:
            cells: Text in the columns of the manifest, labels in Unicode's composed form.
        """
        num = len(cells)
        self._rows.resize(len(self._rows) + num, refcheck=False)  # moves pages, where a concatenation would copy them
        rows = self._rows[-num:] if num else self._rows[:0]
        column: dict[str, pa.Array] = dict(zip(cells.schema.names, cells.columns, strict=True))

        def numbers(name: str) -> tuple[np.ndarray, np.ndarray]:
            return parsed_numbers(column[name]) if name in column else (np.full(num, np.nan), np.zeros(num, bool))

        def given(name: str) -> np.ndarray:
            return is_given(column[name]) if name in column else np.zeros(num, bool)

        def codes(name: str, code_of: Callable[[str], int]) -> np.ndarray:
            return coded(column[name], code_of) if name in column else np.full(num, -1)

        rows["label"] = codes("label", self._label_code)
        bad = ~given("path") | (rows["label"] == UNKNOWN)
        if self.check.labels_required and not self.check.multi_label:
            bad |= rows["label"] == -1
        for name in ("start_seconds", "end_seconds", "weight"):
            rows[name], refused = numbers(name)
            bad |= refused
        bad |= rows["end_seconds"] <= rows["start_seconds"]  # False for NaN
        rows["weight"] = np.where(np.isnan(rows["weight"]), 1.0, rows["weight"])

        inspected = given("size_bytes")
        for name in ("size_bytes", "num_frames", "fps", "video_stream"):
            rows[name], refused = numbers(name)
            bad |= refused if name == "fps" else refused & inspected
        for name in ("num_frames", "fps"):
            rows[name] = np.nan_to_num(rows[name])
        rows["decoders"], rows["problem"] = codes("decoders", self._code), codes("problem", self._code)
        rows["variable_frame_rate"] = given("variable_frame_rate")
        usable = given("decoders") & (rows["num_frames"] > 0)
        bad |= inspected & ~given("problem") & ~usable
        self._paths.append(column["path"].cast(pa.binary()))
        return bad

    def records(self, root: str | Path) -> VideoRecords:
        """Return the records of all rows, whose relative paths start from `root`. None of them may break a rule."""
        return VideoRecords(
            pa.chunked_array(self._paths, pa.binary()),
            self._rows,
            list(self._codes),
            root=root,
            label_sets=list(self._set_codes) if self.check.multi_label else None,
            num_classes=len(self.check.class_names),
        )

    def _code(self, text: str) -> int:
        return self._codes.setdefault(text, len(self._codes)) if text else -1

    def _label_code(self, cell: str) -> int:
        code = self._label_codes.get(cell)
        if code is None:
            indices = self.check.class_indices(cell)
            if indices is None:
                code = UNKNOWN
            elif self.check.multi_label:
                code = self._set_codes.setdefault(indices, len(self._set_codes))
            else:
                code = min(indices, default=-1)
            self._label_codes[cell] = code
        return code


def is_given(column: pa.Array) -> np.ndarray:
    """Return which cells are not empty, (n,) bool."""
    return np.asarray(pc.not_equal(column, "").to_numpy(zero_copy_only=False))


def coded(column: pa.Array, code_of: Callable[[str], int]) -> np.ndarray:
    """Return the code of each cell, (n,) int64. `code_of` is called once per distinct text."""
    encoded = column.dictionary_encode()
    codes = np.array([code_of(text) for text in encoded.dictionary.to_pylist()], np.int64)
    return codes[encoded.indices.to_numpy()]


def parsed_numbers(column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers in cells of text, (n,) float64, and which cells are refused, (n,) bool.

    The numbers are those of `float`. An empty cell is NaN and is not refused.
    """
    given = is_given(column)
    if not given.any():
        return np.full(len(column), np.nan), given
    try:
        values = pc.if_else(pc.not_equal(column, ""), column, None).cast(pa.float64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:  # `float` reads more, such as 1_000
        values = np.array([_float(text) for text in column.to_pylist()])
    return values, given & ~((values >= 0) & (values < np.inf))


def _float(text: str) -> float:
    try:
        return float(text) if text else np.nan
    except ValueError:
        return -1.0
