"""`videoctx complexity`."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from jsonargparse.typing import PositiveInt
from rich.table import Table

from videoctx.cli.tool_parser import net_from_config, tool_parser
from videoctx.printed_tables import Console

if TYPE_CHECKING:
    from videoctx.models.complexity import Complexity


def run_complexity(arguments: Sequence[str]) -> None:
    """Print the parameters and multiply-adds of a network: in total, per stage, and per context block."""
    parser = tool_parser("videoctx complexity", run_complexity.__doc__)
    parser.add_argument("--clip_len", type=PositiveInt, default=8, help="number of frames of the clip")
    parser.add_argument("--size", type=PositiveInt, default=224, help="height and width of the clip, in pixels")
    parser.add_argument("--num_classes", type=PositiveInt, default=400, help="number of classes")
    parser.add_argument("--json", action="store_true", help="print JSON with plain counts instead of a table")
    net, options = net_from_config(parser, arguments)

    from videoctx.models.complexity import complexity

    result = complexity(lambda: net(options.num_classes), clip_len=options.clip_len, size=options.size)
    if options.json:
        print(json.dumps(result.as_dict(), indent=2))
    else:
        _print_table(result, title=f"one clip of {options.clip_len} frames at {options.size} × {options.size}")


def _print_table(result: "Complexity", *, title: str) -> None:
    table = Table("part", "kind", title=title)
    for heading in ("parameters", "multiply-adds"):
        table.add_column(heading, justify="right")
    for parts in (result.stages, result.context_blocks):
        for part in parts:
            table.add_row(part.name, part.kind, f"{part.params:,}", f"{part.macs:,}")
        table.add_section()
    table.add_row("total", "", f"{result.params:,}", f"{result.macs:,}", style="bold")
    Console().print(table)
