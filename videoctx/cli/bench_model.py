"""`videoctx bench model`."""

from collections.abc import Sequence
from pathlib import Path

from jsonargparse.typing import PositiveInt

from videoctx.cli.output_path import writable_file
from videoctx.cli.tool_parser import ToolParser, net_from_config, tool_parser


def run_bench_model(arguments: Sequence[str]) -> None:
    """Measure the clips per second of a network, in evaluation and in training, with each way of running it."""
    net, options = net_from_config(_parser(), arguments)

    import torch

    from videoctx.bench.model_report import report
    from videoctx.bench.model_speed import ModelBench

    if options.json:
        writable_file(options.json)
    bench = ModelBench(
        net,
        against_pytorchvideo=options.against == "pytorchvideo",
        batch_size=options.batch_size,
        clip_len=options.clip_len,
        size=options.size,
        num_classes=options.num_classes,
        rounds=options.rounds,
        compiled=options.compiled,
        device=options.device or ("cuda" if torch.cuda.is_available() else "cpu"),
    )
    report(bench.run(), options.json)


def _parser() -> ToolParser:
    parser = tool_parser("videoctx bench model", run_bench_model.__doc__)
    parser.add_argument(
        "--against",
        choices=["pytorchvideo", "none"],
        default="none",
        help="also measure its network of the same architecture, with the same weights",
    )
    parser.add_argument("--batch_size", type=PositiveInt | None, help="clips; by default 2 on a CPU, 16 on a GPU")
    parser.add_argument("--clip_len", type=PositiveInt, default=8, help="number of frames of a clip")
    parser.add_argument("--size", type=PositiveInt, default=224, help="height and width of a clip, in pixels")
    parser.add_argument("--num_classes", type=PositiveInt, default=400, help="number of classes")
    parser.add_argument(
        "--rounds", type=PositiveInt, default=5, help="number of rounds, in each of which every way runs"
    )
    parser.add_argument("--compiled", type=bool, default=True, help="also measure torch.compile, which takes minutes")
    parser.add_argument("--device", type=str | None, help="cpu or cuda; by default cuda if there is a GPU")
    parser.add_argument("--json", type=Path | None, metavar="FILE", help="write the measurements to this file")
    return parser
