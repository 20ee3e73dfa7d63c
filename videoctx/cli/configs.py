"""`videoctx configs`."""

from collections.abc import Sequence

from videoctx.cli.tool_parser import tool_parser
from videoctx.shipped_configs import list_configs


def run_configs(arguments: Sequence[str]) -> None:
    """List the shipped configs with a line each. `-c NAME` of any command takes one, with or without its folder."""
    parser = tool_parser("videoctx configs", run_configs.__doc__)
    parser.add_argument("pattern", nargs="?", default="*", type=str, help="list only those that match, such as *_gc5")
    options = parser.parse_args(list(arguments))
    pattern = options.pattern
    found = {**list_configs(pattern), **({} if "/" in pattern else list_configs(f"*/{pattern}"))}
    if not found:
        raise ValueError(f"no shipped config matches {pattern!r}; `videoctx configs` lists all")
    width = max(map(len, found))
    for name, description in sorted(found.items()):
        print(f"{name:<{width}}  {description}")
