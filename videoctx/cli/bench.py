"""`videoctx bench`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from jsonargparse.typing import PositiveInt

from videoctx.cli.bench_model import model_parser, run_bench_model
from videoctx.cli.tool_parser import ToolParser

MEMORY_VIDEOS = 2000


def run_bench(arguments: Sequence[str]) -> None:
    """Measure a part of the package against what it replaces."""
    parser = ToolParser(prog="videoctx bench", description=run_bench.__doc__)
    subcommands = parser.add_subcommands(required=True)

    non_local = ToolParser(description="Non-local affinities with the N × M matrix and without it.")
    non_local.add_argument("--inner_channels", type=PositiveInt, default=256, help="width of θ, φ and g")
    non_local.add_argument("--repeats", type=PositiveInt, default=3, help="timed runs; the median is given")
    non_local.add_argument("--json", type=Path | None, help="write the measurements to this file")
    subcommands.add_subcommand("nonlocal", non_local)

    data = ToolParser(description="The data path, stage by stage, and against other ways of reading the same clips.")
    data.add_argument("--manifest", type=Path | None, help="measure its videos, not made ones, against bare decoding")
    data.add_argument("--split", type=str, default="train", help="of the manifest")
    data.add_argument(
        "--against",
        type=Literal["all", "pytorchvideo", "per-view", "none"],
        default="all",
        help="what reads the made videos, beside bare decoding",
    )
    data.add_argument("--clip_len", type=PositiveInt, default=8, help="frames of a training clip")
    data.add_argument("--frame_interval", type=PositiveInt, default=8, help="distance between them")
    data.add_argument("--batch_size", type=PositiveInt, default=8, help="training clips")
    data.add_argument("--num_workers", type=PositiveInt, default=2, help="processes of each side; one a core")
    data.add_argument("--num_clips", type=PositiveInt, default=96, help="training clips that a side reads in a round")
    data.add_argument("--rounds", type=PositiveInt, default=5, help="in each of which every side has its turn")
    data.add_argument("--memory", action="store_true", help="also watch the loader's memory over 2 000 videos")
    data.add_argument("--videos_dir", type=Path | None, help="keep the made videos here; by default a temporary folder")
    data.add_argument("--json", type=Path | None, help="write the measurements to this file")
    subcommands.add_subcommand("data", data)

    subcommands.add_subcommand("model", model_parser())
    if arguments[:1] == ["model"]:  # takes a config, and so reads its arguments itself
        run_bench_model(arguments[1:])
        return

    options = parser.parse_args(list(arguments))
    if options.subcommand == "nonlocal":
        from videoctx.bench.non_local import bench_non_local, report

        options = options["nonlocal"]
        report(bench_non_local(inner_channels=options.inner_channels, repeats=options.repeats), options.json)
    else:
        from videoctx.bench.data_path import DataBench
        from videoctx.bench.data_report import report

        options = options["data"].as_dict()
        json_file, memory = options.pop("json"), options.pop("memory")
        report(DataBench(**options, memory_videos=MEMORY_VIDEOS if memory else 0).run(), json_file)
