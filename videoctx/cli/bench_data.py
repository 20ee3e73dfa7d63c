"""`videoctx bench data`."""

from collections.abc import Sequence
from pathlib import Path

from jsonargparse.typing import PositiveInt

from videoctx.cli.output_path import writable_file
from videoctx.cli.tool_parser import tool_parser

MEMORY_VIDEOS = 2000


def run_bench_data(arguments: Sequence[str]) -> None:
    """Measure the data path stage by stage, and against other ways of reading the same clips."""
    parser = tool_parser("videoctx bench data", run_bench_data.__doc__)
    parser.add_argument("--manifest", type=Path | None, help="measure its videos, not synthetic ones")
    parser.add_argument("--split", type=str, default="train", help="split of the manifest")
    parser.add_argument(
        "--part",
        choices=["all", "bare", "loaders", "views", "rows"],
        default="all",
        help="decoding alone, loaders of training clips, the 10 × 3 views of a test, or the rows of a large manifest",
    )
    parser.add_argument(
        "--against",
        choices=["all", "pytorchvideo", "torchcodec", "spdl", "none"],
        default="all",
        help="the project whose decoder and loader are measured too, besides decord",
    )
    parser.add_argument("--clip_len", type=PositiveInt, default=8, help="number of frames of a training clip")
    parser.add_argument("--frame_interval", type=PositiveInt, default=8, help="distance between the frames of a clip")
    parser.add_argument(
        "--decoded_short_side_px",
        type=PositiveInt | None,
        help="let the loader scale larger frames to this short side where they are decoded",
    )
    parser.add_argument("--batch_size", type=PositiveInt, default=8, help="training clips per batch")
    parser.add_argument(
        "--num_workers", type=PositiveInt, default=2, help="processes of each way of reading; one per core"
    )
    parser.add_argument(
        "--size",
        choices=["small", "large"],
        default="small",
        help="number of clips and rounds: some minutes on two cores, or a quarter of an hour",
    )
    parser.add_argument("--num_clips", type=PositiveInt | None, help="training clips per round, instead of the size's")
    parser.add_argument(
        "--rounds", type=PositiveInt | None, help="rounds, in each of which every way runs, instead of the size's"
    )
    parser.add_argument("--memory", action="store_true", help="also watch the loader's memory over 2 000 videos")
    parser.add_argument(
        "--videos_dir", type=Path | None, help="keep the synthetic videos here; by default in a temporary folder"
    )
    parser.add_argument("--json", type=Path | None, metavar="FILE", help="write the measurements to this file")
    options = parser.parse_args(list(arguments)).as_dict()

    from videoctx.bench.data_path import PARTS, SIZES, DataBench
    from videoctx.bench.data_report import report

    json_file, memory = options.pop("json"), options.pop("memory")
    if json_file:
        writable_file(json_file)
    part = options.pop("part")
    parts = PARTS if part == "all" else (part,)
    size = SIZES[options.pop("size")]
    given = {name: value for name, value in options.items() if value is not None}
    report(DataBench(**size | given, parts=parts, memory_videos=MEMORY_VIDEOS if memory else 0).run(), json_file)
