"""`videoctx bench gpu`."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from jsonargparse.typing import PositiveFloat

from videoctx.cli.tool_parser import tool_parser

Part = Literal["tests", "model", "data", "fit"]
PARTS: tuple[Part, ...] = ("tests", "model", "data", "fit")


def run_bench_gpu(arguments: Sequence[str]) -> None:
    """Run everything that needs a GPU: tests, networks, the data path, and real runs.

    Each part ends within its minutes. What is done is kept, and a second call runs what is left. Without a CUDA device
    every step is skipped, and the table tells so.
    """
    parser = tool_parser("videoctx bench gpu", run_bench_gpu.__doc__)
    parser.add_argument("--part", choices=PARTS, help="run one part alone; by default all")
    parser.add_argument("--folder", type=Path, default=Path("build/gpu"), help="results, videos and runs")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda", help="cpu, with --tiny, to try it")
    parser.add_argument("--tiny", action="store_true", help="tiny sizes, which measure nothing")
    parser.add_argument("--minutes_per_part", type=PositiveFloat, default=9.0, help="time limit of a part")
    parser.add_argument("--json", type=Path | None, metavar="FILE", help="all results; by default FOLDER/gpu.json")
    options = parser.parse_args(list(arguments))

    from videoctx.bench.gpu.runner import GpuBench
    from videoctx.bench.gpu.table import report

    bench = GpuBench(
        options.folder.resolve(), device=options.device, tiny=options.tiny, minutes_per_part=options.minutes_per_part
    )
    files = bench.run([options.part] if options.part else PARTS)
    if not report(files, options.json or options.folder / "gpu.json"):
        sys.exit(1)
