"""`videoctx complexity`."""

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from jsonargparse.typing import PositiveInt
from rich.table import Table

from videoctx.cli.tool_parser import net_from_config, tool_parser
from videoctx.printed_tables import Console

if TYPE_CHECKING:
    from torch import nn

    from videoctx.models.complexity import Complexity


def run_complexity(arguments: Sequence[str]) -> None:
    """Print the parameters and multiply-adds of a network: in total, per stage, and per context block.

    The network is that of a config, or the one that a checkpoint of any project is for.
    """
    parser = tool_parser("videoctx complexity", run_complexity.__doc__)
    parser.add_argument("--ckpt_path", type=str | None, help="a checkpoint whose network is counted, on its clips")
    parser.add_argument("--clip_len", type=PositiveInt | None, help="number of frames of the clip; by default 8")
    parser.add_argument(
        "--size", type=PositiveInt | None, help="height and width of the clip, in pixels; by default 224"
    )
    parser.add_argument("--num_classes", type=PositiveInt | None, help="number of classes; by default 400")
    parser.add_argument("--json", action="store_true", help="print JSON with plain counts instead of a table")
    net, options = net_from_config(parser, arguments, required=False)
    if (net.make is None) == (options.ckpt_path is None):
        raise ValueError("expected a network, as -c CONFIG, or --ckpt_path, and not both")

    from videoctx.models.complexity import complexity

    make, usual = net.make, UsualClip(8, 224, 400)
    if options.ckpt_path is not None:
        make, usual = _of_checkpoint(options.ckpt_path)
    assert make is not None
    num_classes = options.num_classes or usual.num_classes
    clip_len, size = options.clip_len or usual.clip_len, options.size or usual.size_px
    result = complexity(partial(make, num_classes), clip_len=clip_len, size=size)
    if options.json:
        print(json.dumps(result.as_dict(), indent=2))
    else:
        _print_table(result, title=f"one clip of {clip_len} frames at {size} × {size}")


class UsualClip(NamedTuple):
    """What is counted unless options say otherwise."""

    clip_len: int
    size_px: int
    num_classes: int


def _of_checkpoint(path: str) -> tuple[Callable[[int], "nn.Module"], UsualClip]:
    """Return the network of a checkpoint, and the clips of its test.

    Raises:
        ValueError: The file is no checkpoint, or does not tell its network.
    """
    from videoctx.inference.published_preprocessing import published_preprocessing
    from videoctx.models.checkpoints import read_checkpoint
    from videoctx.models.network_config import build_network

    checkpoint = read_checkpoint(path)
    if checkpoint.net is None:
        raise ValueError(
            f"{path}: {checkpoint.unknown_net or 'has no config of its network'}; give the network with -c"
        )
    made = published_preprocessing(checkpoint, Path(path).name)
    usual = UsualClip(made.clip_len, made.crop_size_px, checkpoint.num_classes or 400)
    return partial(build_network, checkpoint.net), usual


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
