"""A table that fits the width of a terminal, without a cell that is cut."""

from collections.abc import Iterator, Sequence

from rich.cells import cell_len
from rich.markup import escape
from rich.table import Table

from videoctx.terminal import printable

LEAST_NAME = 16  # characters to which the names of rows are folded at most
BORDER = 3  # characters beside the content of a column: a line and two spaces
INDENT = "  "
Rows = Sequence[Sequence[str]]


def fitted_table(
    headings: Sequence[str], rows: Rows, *, width: int, caption: str, optional: Sequence[str] = ()
) -> Table:
    """Return a table of rows, each with a name in its first cell.

    The first of these layouts that fits is taken: a line per row; intervals, which are in brackets, below their values;
    without optional columns, which the caption names; with names folded to several lines. Where none fits, each row is
    a list of its cells, one per line.

    Args:
        headings: Of the columns.
        rows: Cells as text.
        width: Of the terminal, in characters.
        caption: Below the table.
        optional: Headings of columns that may be left out, the least important first.

    >>> table = fitted_table(["run", "top-1"], [["slow_r50_gc5", "75.00% (74.38 – 75.62)"]], width=40, caption="test")
    >>> len(table.columns)
    2
    """
    headings, rows = [printable(text) for text in headings], [[printable(cell) for cell in row] for row in rows]
    for shown, folded in _layouts(len(headings), [headings.index(name) for name in optional if name in headings]):
        for change in (_same, _interval_below) if not folded else (_interval_below,):
            cells = [[change(row[column]) for column in shown] for row in [headings, *rows]]
            widths = [max(map(_width, column)) for column in zip(*cells, strict=True)]
            name = min(widths[0], LEAST_NAME) if folded else widths[0]
            if name + sum(widths[1:]) + BORDER * len(widths) + 1 <= width:
                left_out = [heading for column, heading in enumerate(headings) if column not in shown]
                return _table(cells, _with(caption, left_out), has_lines=name < widths[0] or change is not _same)
    return _records(headings, rows, width=width, caption=caption)


def _layouts(num_columns: int, optional: Sequence[int]) -> Iterator[tuple[list[int], bool]]:
    """Yield the columns that are shown, and whether names are folded."""
    for folded in (False, True):
        for count in range(len(optional) + 1):
            yield [column for column in range(num_columns) if column not in optional[:count]], folded


def _same(cell: str) -> str:
    return cell


def _interval_below(cell: str) -> str:
    return cell.replace(" (", "\n(")


def _width(cell: str) -> int:
    return max(map(cell_len, cell.split("\n")))


def _with(caption: str, left_out: Sequence[str]) -> str:
    return f"{caption}; not shown at this width: {', '.join(left_out)}" if left_out else caption


def _table(cells: Rows, caption: str, *, has_lines: bool) -> Table:
    table = Table(caption=escape(caption), show_lines=has_lines)
    for column, heading in enumerate(cells[0]):
        table.add_column(escape(heading), justify="right" if column else "left", overflow="fold", no_wrap=column > 0)
    for row in cells[1:]:
        table.add_row(*map(escape, row))
    return table


def _records(headings: Sequence[str], rows: Rows, *, width: int, caption: str) -> Table:
    """Return a table of one column, in which each row is a list of headings and cells below its name."""
    start = max(map(cell_len, headings[1:]), default=0) + len(INDENT) + 2  # of the cells
    on_one_line = all(start + cell_len(cell) <= width - BORDER - 1 for row in rows for cell in row[1:])
    change = _same if on_one_line else _interval_below
    table = Table(caption=escape(caption), show_lines=True, show_header=False)
    table.add_column(overflow="fold")
    for name, *cells in rows:
        lines = [name]
        for heading, cell in zip(headings[1:], cells, strict=True):
            first, *below = change(cell).split("\n")
            lines.append(f"{INDENT}{heading}".ljust(start) + first)
            lines += [" " * start + part for part in below]
        table.add_row("\n".join(map(escape, lines)))
    return table
