"""The classes of one video as a table, in a terminal with a bar for each probability."""

from collections.abc import Iterable

from rich.cells import cell_len
from rich.markup import escape
from rich.table import Table

from videoctx.printed_tables import Console
from videoctx.terminal import printable

BLOCKS = " ▏▎▍▌▋▊▉█"  # eighths of a character
MOST_BAR, LEAST_BAR, LEAST_NAME = 40, 6, 10  # characters
STYLE = "cyan"
HEADINGS = ("class", "probability")
BORDERS = 10  # characters of a table of three columns beside their content


def class_table(classes: Iterable[tuple[str, float]], console: Console) -> Table:
    """Return a row per class with its probability, and a bar where a person reads it and the terminal has room.

    Args:
        classes: names and probabilities.
        console: that it is printed to. A file or another program gets no bars; NO_COLOR turns the color off.
    """
    rows = [(printable(name), probability) for name, probability in classes]
    width = _bar_width(max((cell_len(name) for name, _ in rows), default=0), console)
    table = Table()
    table.add_column(HEADINGS[0], overflow="fold")
    table.add_column(HEADINGS[1], justify="right", no_wrap=True)
    if width:
        table.add_column("", min_width=width, max_width=width, no_wrap=True, style=STYLE)
    for name, probability in rows:
        bars = [bar(probability, width, ascii_only=console.options.ascii_only)] if width else []
        table.add_row(escape(name), f"{probability:.1%}", *bars)
    return table


def bar(share: float, width: int, *, ascii_only: bool = False) -> str:
    """Return a bar of `share` of `width` characters.

    >>> bar(0.55, 10), bar(0.55, 10, ascii_only=True)
    ('█████▌', '######')
    """
    if ascii_only:
        return "#" * round(share * width)
    whole, eighths = divmod(round(share * width * 8), 8)
    return (BLOCKS[8] * whole + BLOCKS[eighths]).rstrip()


def _bar_width(longest_name: int, console: Console) -> int:
    """Return the characters of a bar; 0 without bars. Names are folded to `LEAST_NAME` characters to make room."""
    if not console.is_terminal:
        return 0
    room = console.width - BORDERS - len(HEADINGS[1])
    width = min(MOST_BAR, room - max(min(longest_name, room - LEAST_BAR), min(longest_name, LEAST_NAME)))
    return width if width >= LEAST_BAR else 0
