"""`videoctx bench model`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from jsonargparse.typing import PositiveInt

from videoctx.cli.tool_parser import ToolParser, net_from_config


def model_parser() -> ToolParser:
    """The arguments but `--config`, which `net_from_config` adds."""
    parser = ToolParser(
        prog="videoctx bench model",
        description="Clips a second of the network of a config, evaluation and training, by each way of running it.",
    )
    parser.add_argument(
        "--against",
        type=Literal["pytorchvideo", "none"],
        default="none",
        help="whose network of the same architecture, with the same weights, is measured beside it",
    )
    parser.add_argument("--batch_size", type=PositiveInt | None, help="clips; by default 2 on a CPU, 16 on a GPU")
    parser.add_argument("--clip_len", type=PositiveInt, default=8, help="frames of a clip")
    parser.add_argument("--size", type=PositiveInt, default=224, help="height and width of a clip, in pixels")
    parser.add_argument("--num_classes", type=PositiveInt, default=400, help="classes; Kinetics-400 has 400")
    parser.add_argument("--rounds", type=PositiveInt, default=5, help="in each of which every way has its turn")
    parser.add_argument("--compiled", type=bool, default=True, help="measure torch.compile too, which takes minutes")
    parser.add_argument(
        "--device", type=str, default="cuda" if torch.cuda.is_available() else "cpu", help="cpu or cuda"
    )
    parser.add_argument("--json", type=Path | None, help="write the measurements to this file")
    return parser


def run_bench_model(arguments: Sequence[str]) -> None:
    net, options = net_from_config(model_parser(), arguments)
    from videoctx.bench.model_report import report
    from videoctx.bench.model_speed import ModelBench

    bench = ModelBench(
        net.make,
        against_pytorchvideo=options.against == "pytorchvideo",
        batch_size=options.batch_size,
        clip_len=options.clip_len,
        size=options.size,
        num_classes=options.num_classes,
        rounds=options.rounds,
        compiled=options.compiled,
        device=options.device,
    )
    report(bench.run(), options.json)
