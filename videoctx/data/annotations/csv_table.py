"""A CSV file with a header, read as columns of text.

`csv.reader` defines what a row is. Where the file has nothing but commas, line feeds and cells that are quoted as a
whole, pyarrow splits the same rows in a fraction of the time. `csv.reader` reads the rest, from the first megabyte on
that has another quotation mark, a line end inside of a cell, a carriage return, a blank line, a ragged row, or a byte
that is not UTF-8.
"""

import codecs
import csv
import io
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from videoctx.data.annotations.annotation_error import AnnotationError

BLOCK_BYTES = 2**20  # read at a time
ROWS_AT_ONCE = 4096  # by `csv.reader`, and of the rows that are made of columns
EDGES = np.frombuffer(b',\n"', np.uint8)  # beside a quotation mark at an end of a cell
SPACE = "".join(filter(str.isspace, map(chr, range(0x3001))))  # what `str.strip` removes; U+3000 is the last


class CsvChunk(NamedTuple):
    """Consecutive rows."""

    cells: pa.RecordBatch  # text without surrounding spaces, one column per name
    lines: Sequence[int]  # last line of each row in the file
    bad_rows: dict[int, str]  # why a row cannot be used, by line


class CsvFile:
    """A CSV file whose header has been read.

    Args:
        required_columns: Columns that the header must have.
        kind: What error messages call the file.
        may_be_empty: Accept a file without rows.

    Raises:
        AnnotationError: The file cannot be read, is not CSV in UTF-8, or lacks a required column or has it twice.
    """

    def __init__(self, file: Path, required_columns: Sequence[str], *, kind: str, may_be_empty: bool = False) -> None:
        self.file = file
        self.kind = kind
        self.may_be_empty = may_be_empty
        self._line = 0  # last line of the last row that `csv.reader` has read
        with self._errors(), file.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.reader(stream)
            self.columns = tuple(name.strip() for name in next(reader, ()))
            self._line = reader.line_num
        refuse_doubled(file, [name for name in self.columns if name in required_columns])
        missing = [name for name in required_columns if name not in self.columns]
        if missing:
            raise AnnotationError(
                f"{file}: the header lacks {', '.join(missing)}; expected columns {', '.join(required_columns)};"
                f" its columns are {', '.join(self.columns) or 'none'}"
            )

    def chunks(self, names: Collection[str] | None = None) -> Iterator[CsvChunk]:
        """Yield all rows, in file order.

        Args:
            names: Columns that are read, of those that the file has. None: all.

        Raises:
            AnnotationError: The file cannot be read, is not CSV in UTF-8, or has no rows.
        """
        # Of columns with the same name, the last one is read.
        wanted = {name: at for at, name in enumerate(self.columns) if names is None or name in names}
        num_rows = start = 0
        first_line = 1
        with self._errors(), self.file.open("rb") as stream:
            if _is_plain(stream.readline()):
                start, first_line = stream.tell(), 2
                while block := stream.read(BLOCK_BYTES) + stream.readline():
                    cells = _plain_cells(block, len(self.columns), wanted)
                    if cells is None:
                        break
                    yield CsvChunk(_stripped(cells), range(first_line, first_line + len(cells)), {})
                    num_rows += len(cells)
                    start, first_line = stream.tell(), first_line + len(cells)
                else:
                    start = -1
        if start >= 0:
            for chunk in self._other_chunks(start, first_line, wanted):
                yield chunk
                num_rows += len(chunk.lines)
        if not num_rows and not self.may_be_empty:
            raise AnnotationError(f"{self.file}: the {self.kind} has no rows")

    def _other_chunks(self, start: int, first_line: int, wanted: dict[str, int]) -> Iterator[CsvChunk]:
        """Yield the rows from the byte `start` on, which is the beginning of a line, by `csv.reader`."""
        self._line = max(self._line, first_line - 1)
        with self._errors(), self.file.open("rb") as binary:
            binary.seek(start)
            stream = io.TextIOWrapper(binary, encoding="utf-8" if start else "utf-8-sig", newline="")
            reader = csv.reader(stream)
            if not start:
                next(reader, None)
            numbered = self._numbered(reader, first_line - 1)
            while rows := list(islice(numbered, ROWS_AT_ONCE)):
                lines = [line for line, _ in rows]
                num = len(self.columns)
                bad = {line: f"expected {num} columns as in the header" for line, row in rows if len(row) != num}
                whole = [row + [""] * (num - len(row)) if line in bad else row for line, row in rows]
                cells = [pa.array([row[at] for row in whole], pa.string()) for at in wanted.values()]
                yield CsvChunk(_stripped(pa.record_batch(cells, names=list(wanted))), lines, bad)

    def _numbered(self, rows: Any, lines_before: int) -> Iterator[tuple[int, list[str]]]:
        """Yield the rows of a `csv.reader` that are not blank, each with its last line."""
        for row in rows:
            self._line = lines_before + rows.line_num
            if row:
                yield self._line, row

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn the errors of reading into an `AnnotationError`."""
        try:
            yield
        except OSError as error:
            raise AnnotationError(f"{self.file}: cannot read the {self.kind} ({error.strerror})") from error
        except UnicodeDecodeError as error:
            first = self._decoding_error() or error  # from the start of the file, as its message counts bytes
            raise AnnotationError(f"{self.file}: the {self.kind} is not UTF-8 text ({first})") from error
        except csv.Error as error:
            raise AnnotationError(f"{self.file}, line {self._line}: not a CSV row ({error})") from error

    def _decoding_error(self) -> UnicodeDecodeError | None:
        with self.file.open(newline="", encoding="utf-8-sig") as stream:
            try:
                for _ in stream:
                    pass
            except UnicodeDecodeError as error:
                return error
        return None


class CsvRows(Sequence[dict[str, str]]):
    """Rows that are made of columns of text when they are asked for."""

    def __init__(self, cells: pa.Table) -> None:
        self.cells = cells

    def __len__(self) -> int:
        return int(self.cells.num_rows)

    @overload
    def __getitem__(self, index: int) -> dict[str, str]: ...

    @overload
    def __getitem__(self, index: slice) -> list[dict[str, str]]: ...

    def __getitem__(self, index: int | slice) -> dict[str, str] | list[dict[str, str]]:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        at = range(len(self))[index]
        return {name: column[at].as_py() for name, column in zip(self.cells.column_names, self.cells, strict=True)}

    def __iter__(self) -> Iterator[dict[str, str]]:
        for batch in self.cells.to_batches(ROWS_AT_ONCE):
            yield from batch.to_pylist()


@dataclass(frozen=True, slots=True)
class CsvTable:
    """All rows of a CSV file with a header, in file order. Cells are text without surrounding spaces."""

    file: Path
    columns: tuple[str, ...]
    rows: CsvRows
    lines: list[int]  # last line of each row in the file
    bad_rows: dict[int, str]  # why a row cannot be used, by line

    def refuse_bad_rows(self) -> None:
        """Raise an AnnotationError for the first bad row, if there is one."""
        refuse_bad_row(self.file, self.bad_rows)


def read_csv(file: Path, required_columns: Sequence[str], *, kind: str, may_be_empty: bool = False) -> CsvTable:
    """Read all rows of a CSV file with a header, with all columns.

    Rows with more or fewer columns than the header are listed in `bad_rows`.

    Args:
        required_columns: Columns that the header must have.
        kind: What error messages call the file.
        may_be_empty: Accept a file without rows.

    Raises:
        AnnotationError: The file cannot be read, is not CSV in UTF-8, has no rows, or lacks a required column or has it
            twice.
    """
    opened = CsvFile(file, required_columns, kind=kind, may_be_empty=may_be_empty)
    chunks = list(opened.chunks())
    schema = pa.schema([(name, pa.string()) for name in dict.fromkeys(opened.columns)])
    cells = pa.Table.from_batches([chunk.cells for chunk in chunks], schema)
    lines = [line for chunk in chunks for line in chunk.lines]
    bad_rows = {line: reason for chunk in chunks for line, reason in chunk.bad_rows.items()}
    return CsvTable(file, opened.columns, CsvRows(cells), lines, bad_rows)


def refuse_bad_row(file: Path, bad_rows: dict[int, str]) -> None:
    """Raise an AnnotationError for the first bad row, if there is one.

    Args:
        bad_rows: Why a row cannot be used, by line.
    """
    if bad_rows:
        line = min(bad_rows)
        raise AnnotationError(f"{file}, line {line}: {bad_rows[line]}")


def refuse_doubled(file: Path, columns: Sequence[str]) -> None:
    """Raise an AnnotationError if a name comes twice."""
    doubled = sorted({name for name in columns if columns.count(name) > 1})
    if doubled:
        raise AnnotationError(f"{file}: the header names a column twice: {', '.join(map(repr, doubled))}")


def _is_plain(block: bytes) -> bool:
    """Return whether all cells are bare or quoted as a whole, and lines end with a line feed and are not blank."""
    if b"\r" in block or b"\0" in block or b"\n\n" in block or block.startswith(b"\n"):
        return False
    try:
        block.decode()
    except UnicodeDecodeError:
        return False
    if max(map(len, block.split(b"\n"))) >= csv.field_size_limit():
        return False
    return b'"' not in block or _has_whole_quotes(block)


def _has_whole_quotes(block: bytes) -> bool:
    """Return whether each quotation mark begins or ends a cell of one line, or is one of two that stand for one.

    Then the marks open and close quotes in turn, two marks in the middle of a cell closing and opening them.
    """
    content = np.frombuffer(block, np.uint8)
    marks = np.flatnonzero(content == ord('"'))
    if len(marks) % 2:
        return False
    opening, closing = marks[::2], marks[1::2]
    before = np.where(opening > 0, content[opening - 1], ord("\n"))
    after = np.where(closing + 1 < len(content), content[np.minimum(closing + 1, len(content) - 1)], ord("\n"))
    if not (np.isin(before, EDGES).all() and np.isin(after, EDGES).all()):
        return False
    line_ends = np.flatnonzero(content == ord("\n"))
    return bool((np.searchsorted(line_ends, opening) == np.searchsorted(line_ends, closing)).all())


def _plain_cells(block: bytes, num_columns: int, wanted: dict[str, int]) -> pa.RecordBatch | None:
    """Return the columns of these lines. None: `csv.reader` has to read them."""
    if not _is_plain(block) or block.startswith(codecs.BOM_UTF8):  # pyarrow would remove the mark
        return None
    names = [str(at) for at in range(num_columns)]
    try:
        table = pyarrow.csv.read_csv(
            pa.BufferReader(block),
            pyarrow.csv.ReadOptions(use_threads=False, block_size=len(block) + 1, column_names=names),
            pyarrow.csv.ParseOptions(quote_char='"' if b'"' in block else False),
            pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), include_columns=[names[at] for at in wanted.values()]
            ),
        )
    except pa.ArrowInvalid:  # a ragged row
        return None
    return pa.RecordBatch.from_arrays([column.combine_chunks() for column in table.columns], names=list(wanted))


def _stripped(cells: pa.RecordBatch) -> pa.RecordBatch:
    columns = [pc.utf8_trim(column, characters=SPACE) for column in cells.columns]
    return pa.RecordBatch.from_arrays(columns, names=cells.schema.names)
