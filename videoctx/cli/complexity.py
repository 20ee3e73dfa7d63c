"""`videoctx complexity`."""

import json
from collections.abc import Sequence

from jsonargparse.typing import PositiveInt
from rich.console import Console
from rich.table import Table

from videoctx.cli.tool_parser import ToolParser, net_from_config
from videoctx.models.complexity import complexity


def run_complexity(arguments: Sequence[str]) -> None:
    """Parameters and multiply-adds of a network, in all, by stage, and by context block."""
    parser = ToolParser(prog="videoctx complexity", description=run_complexity.__doc__)
    parser.add_argument("--clip_len", type=PositiveInt, default=8, help="frames of the clip")
    parser.add_argument("--size", type=PositiveInt, default=224, help="height and width of the clip, in pixels")
    parser.add_argument("--num_classes", type=PositiveInt, default=400, help="classes; Kinetics-400 has 400")
    parser.add_argument("--json", action="store_true", help="print JSON with plain counts instead of a table")
    net, options = net_from_config(parser, arguments)
    result = complexity(lambda: net(options.num_classes), clip_len=options.clip_len, size=options.size)
    if options.json:
        print(json.dumps(result.as_dict(), indent=2))
        return
    table = Table(title=f"one clip of {options.clip_len} frames at {options.size} × {options.size}")
    for heading, justify in (
        ("part", "left"),
        ("kind", "left"),
        ("parameters", "right"),
        ("multiply-adds", "right"),
    ):
        table.add_column(heading, justify=justify)
    for part in result.stages:
        table.add_row(part.name, part.kind, f"{part.params:,}", f"{part.macs:,}")
    table.add_section()
    for part in result.context_blocks:
        table.add_row(part.name, part.kind, f"{part.params:,}", f"{part.macs:,}")
    table.add_section()
    table.add_row("in all", "", f"{result.params:,}", f"{result.macs:,}", style="bold")
    Console().print(table)
