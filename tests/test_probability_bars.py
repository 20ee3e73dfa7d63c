"""The bars of `videoctx classify` in a terminal: they fit it, and a pipe gets plain numbers."""

import io
import re

from tests.each_case import each_case
from videoctx.cli.probability_bars import BLOCKS, bar, class_table
from videoctx.printed_tables import Console

CLASSES = [("riding a bike", 0.756), ("a name that is longer than most terminals are wide", 0.2), ("[x]", 0.044)]


def printed(*, width: int, classes=CLASSES, encoding: str = "utf-8", **options) -> list[str]:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(file=file, width=width, **options)
    console.print(class_table(classes, console))
    file.flush()
    return file.buffer.getvalue().decode().splitlines()


def num_blocks(line: str) -> int:
    return sum(line.count(block) for block in BLOCKS[1:])


@each_case("width", [40, 80, 200])
def test_bars_fit_the_terminal_and_no_name_is_cut(width):
    lines = [re.sub(r"\x1b\[.*?m", "", line) for line in printed(width=width, force_terminal=True, no_color=True)]
    assert max(map(len, lines)) <= width
    cells = [[cell.strip() for cell in line.strip("│").split("│")] for line in lines if line.startswith("│")]
    for name, _ in CLASSES:
        assert name.replace(" ", "") in "".join(row[0] for row in cells).replace(" ", "")
    bars = [row[2] for row in cells if row[1]]
    assert [bool(text) for text in bars] == [True] * 3
    assert len(bars[0]) > 2 * len(bars[1]) > len(bars[2])
    assert [row[1] for row in cells if row[1]] == ["75.6%", "20.0%", "4.4%"]


def test_a_pipe_gets_numbers_without_bars_and_colors():
    lines = printed(width=80)
    assert sum(map(num_blocks, lines)) == 0
    assert "\x1b" not in "".join(lines)
    assert sum("%" in line for line in lines) == 3


def test_no_color_leaves_the_bars(monkeypatch):
    colored = "".join(printed(width=80, force_terminal=True, color_system="standard"))
    assert "\x1b[36m" in colored
    monkeypatch.setenv("NO_COLOR", "1")
    plain = "".join(printed(width=80, force_terminal=True, color_system="standard"))
    assert "\x1b[36m" not in plain
    assert num_blocks(plain) == num_blocks(colored) > 5


def test_a_terminal_without_unicode_or_room():
    lines = printed(width=80, force_terminal=True, no_color=True, encoding="ascii")
    assert any("####" in line for line in lines)
    assert sum(map(num_blocks, printed(width=24, force_terminal=True, no_color=True))) == 0


@each_case(("share", "wanted"), [(0.0, ""), (1.0, "████"), (0.5, "██"), (0.03125, "▏")])
def test_bar(share, wanted):
    assert bar(share, 4) == wanted
