"""`videoctx classify`."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import Namespace
from jsonargparse.typing import NonNegativeInt, PositiveFloat, PositiveInt

from videoctx.atomic_write import atomic_write
from videoctx.cli.output_path import writable_file
from videoctx.cli.tool_parser import ToolParser, net_from_config, tool_parser

# The options of each mode alone.
MODE_OPTIONS = {
    "VIDEO": ("views",),
    "--timeline": ("stride",),
    "--live": ("speed", "reconnects", "patience_seconds"),
}


def run_classify(arguments: Sequence[str]) -> None:
    """Predict the classes of whole videos, of each moment of a long one (--timeline), or of a live stream (--live)."""
    net, options = net_from_config(_parser(), arguments, required=False)
    mode = _check_mode(options)
    json_file = writable_file(options.json) if options.json else None

    import torch

    from videoctx.inference.classifier import load

    trained = load(options.ckpt_path, net=net.make)
    trained.net.to("cuda" if torch.cuda.is_available() else "cpu")
    if mode != "--live":  # which prepares its own copy of the network
        trained = trained.for_evaluation()
    if mode == "--timeline":
        from videoctx.cli.classify_timeline import classify_timeline

        result = classify_timeline(
            trained,
            options.video[0],
            fps=options.fps,
            folder=options.timeline,
            stride_seconds=options.stride or 1.0,
            num_best=options.top or 5,
        )
    elif mode == "--live":
        from videoctx.cli.classify_live import classify_live

        result = classify_live(
            trained,
            options.live,
            speed=options.speed or 1.0,
            reconnects=3 if options.reconnects is None else options.reconnects,
            patience_seconds=options.patience_seconds or 10.0,
        )
    else:
        from videoctx.cli.classify_videos import classify_videos

        result = classify_videos(
            trained, options.video, views=options.views, fps=options.fps, num_best=options.top or 5
        )
    if json_file:
        _write_json({"checkpoint": options.ckpt_path, **result}, json_file)
    if result.get("num_failed") or result.get("lost"):
        sys.exit(1)


def _parser() -> ToolParser:
    parser = tool_parser("videoctx classify", run_classify.__doc__)
    parser.add_argument("video", nargs="*", type=str, help="videos, folders of videos or of images, or URLs")
    parser.add_argument("--ckpt_path", type=str, required=True, help="a checkpoint of `videoctx fit` or `convert`")
    parser.add_argument(
        "--fps", type=PositiveFloat | None, help="frames per second of videos that are stored as images"
    )
    parser.add_argument("--top", type=PositiveInt | None, help="number of classes to print; by default 5")
    parser.add_argument("--views", type=str | None, help="clips x crops, such as 10x3; by default those of the test")
    parser.add_argument(
        "--json",
        type=Path | None,
        metavar="FILE",
        help="write the result to this file; a byte of a file name that is not UTF-8 is \\udcXX, as in os.fsdecode",
    )
    timeline = parser.add_argument_group("the classes of every moment of one video")
    timeline.add_argument(
        "--timeline", type=Path | None, metavar="FOLDER", help="write a table, a chart and a captioned video to it"
    )
    timeline.add_argument("--stride", type=PositiveFloat | None, help="seconds between two clips; by default 1")
    live = parser.add_argument_group("a live stream")
    live.add_argument(
        "--live",
        type=str | None,
        metavar="SOURCE",
        help="the number of a camera, the URL of a stream, or a file, which is played at its own speed",
    )
    live.add_argument("--speed", type=PositiveFloat | None, help="speed of a file, relative to its own; by default 1")
    live.add_argument("--reconnects", type=NonNegativeInt | None, help="attempts after a stream is lost; by default 3")
    live.add_argument(
        "--patience_seconds",
        type=PositiveFloat | None,
        help="seconds without data after which a stream is lost; by default 10",
    )
    return parser


def _check_mode(options: Namespace) -> str:
    """Return the mode.

    Raises:
        ValueError: an argument is missing, or belongs to another mode.
    """
    mode = "--live" if options.live is not None else "--timeline" if options.timeline is not None else "VIDEO"
    for name, flag in (("video", "VIDEO"), ("timeline", "--timeline"), ("top", "--top"), ("fps", "--fps")):
        if mode == "--live" and options[name]:
            raise ValueError(f"--live has no {flag}")
    if mode == "--timeline" and len(options.video) > 1:
        raise ValueError(f"--timeline takes one video, got {len(options.video)}")
    if mode != "--live" and not options.video:
        raise ValueError("expected a video, a folder of videos or a URL, or --live and a camera or a stream")
    for other, names in MODE_OPTIONS.items():
        for name in names:
            if other != mode and options[name] is not None:
                raise ValueError(f"--{name} is for {'whole videos' if other == 'VIDEO' else other} alone")
    return mode


def _write_json(result: dict[str, object], path: Path) -> None:
    with atomic_write(path) as part:
        text = json.dumps(result, indent=2, ensure_ascii=False) + "\n"
        part.write_text(text, encoding="utf-8", errors="backslashreplace")  # of a surrogate: a JSON escape
