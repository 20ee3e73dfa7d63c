"""What `inspect_videos` prints about the files, their problems and the duplicates."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.table import Table
from rich.text import Text

from data_prep.command_line.most_frequent import most_frequent
from data_prep.inspect_videos.duplicates import Group
from videoctx.printed_tables import Console
from videoctx.terminal import printable

MOST_VALUES = 8  # rows of the table per property
MOST_MEMBERS = 4  # printed per group of duplicates
GOPS = ((1, 1), (2, 16), (17, 64), (65, 256), (257, 10**9))  # packets


def print_file_table(rows: Sequence[Mapping[str, str]]) -> None:
    """Print a table of the properties of the files; `rows` has one row per file."""
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
        counted = most_frequent(values, MOST_VALUES)
        for index, (value, count) in enumerate(counted):
            table.add_row(
                name if index == 0 else "", Text(printable(value)), str(count), end_section=index == len(counted) - 1
            )
    Console().print(table)


def print_problems(problems: Sequence[tuple[int, Mapping[str, str]]], manifest: Path, show: int) -> None:
    """Print the rows whose file cannot be used.

    Args:
        problems: line of the manifest and row.
        show: print at most this many.
    """
    if not problems:
        return
    print(f"{len(problems)} rows have a file that cannot be used:", file=sys.stderr)
    for line, row in problems[:show]:
        print(f"  {manifest}, line {line}: {printable(row['path'])}: {printable(row['problem'])}", file=sys.stderr)
    if len(problems) > show:
        print(f"  and {len(problems) - show} more: column problem of the manifest", file=sys.stderr)


def print_duplicates(groups: Sequence[Group], path: Path, show: int) -> None:
    """Print the groups of duplicates.

    Args:
        path: the file that lists all of them.
        show: print at most this many.
    """
    if not groups:
        print("no duplicate videos")
        return
    num_leaks = sum(group.is_leak for group in groups)
    print(
        f"{len(groups)} videos occur more than once, {num_leaks} of them in more than one split: {path}",
        file=sys.stderr,
    )
    for group in groups[:show]:
        where = f"LEAK between {' and '.join(map(printable, group.splits))}" if group.is_leak else "in one split"
        print(f"  {where}: {group.how}{', with different labels' * group.has_several_labels}", file=sys.stderr)
        for member in group.members[:MOST_MEMBERS]:
            seconds = " to ".join(member.row.get(column) or "…" for column in ("start_seconds", "end_seconds"))
            segment = "" if seconds == "… to …" else f", {seconds} s"
            print(
                f"    line {member.line}, {member.row['split']}: {printable(member.row['path'])}{segment}",
                file=sys.stderr,
            )
        if len(group.members) > MOST_MEMBERS:
            print(f"    and {len(group.members) - MOST_MEMBERS} more rows", file=sys.stderr)
    if len(groups) > show:
        print(f"  and {len(groups) - show} more", file=sys.stderr)


def _gop(packets: int) -> str:
    low, high = next((low, high) for low, high in GOPS if packets <= high)
    return str(low) if low == high else f"over {low - 1}" if high == GOPS[-1][1] else f"{low} to {high}"
