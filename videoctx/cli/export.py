"""`videoctx export`."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import torch

from videoctx.cli.output_file import writable_file
from videoctx.cli.tool_parser import ToolParser, net_from_config
from videoctx.data.storage import LocalFiles
from videoctx.inference.export import FILE_TOLERANCE, TEST_TOLERANCE, export
from videoctx.inference.exported_file import SUFFIX, Format, check_installed
from videoctx.trained import load_trained
from videoctx.visualize.seen_clip import see_clip


def run_export(arguments: Sequence[str]) -> None:
    """Write a trained network, with its preprocessing, as a file that other programs run.

    It takes frames as decoded, (B, T, H, W, 3) uint8 RGB, of any number of clips and of one height and width, the T
    frames as far apart as the file's metadata say, and gives the probabilities of the classes, (B, K).
    """
    parser = ToolParser(prog="videoctx export", description=run_export.__doc__)
    parser.add_argument("--ckpt_path", type=str, required=True, help="a checkpoint that `videoctx fit` wrote")
    parser.add_argument("--format", required=True, choices=get_args(Format))
    parser.add_argument("--output", type=Path, required=True, help="the file to write")
    parser.add_argument("--video", type=str | None, help="a real video, a file or a URL, to compare on")
    parser.add_argument(
        "--frame_size",
        type=str | None,
        help="height x width of the frames, such as 240x320; by default the video's, or else 4:3 with the short side"
        " of the test",
    )
    net, options = net_from_config(parser, arguments, required=False)
    output = writable_file(options.output)
    if output.suffix != (suffix := SUFFIX[options.format]):
        raise ValueError(f"output is {output}; expected a name that ends in {suffix} with format {options.format}")
    frame_size_px = _frame_size(options.frame_size) if options.frame_size else None
    check_installed(options.format)
    trained = load_trained(options.ckpt_path, make_net=net.make)
    real_clip = None
    if options.video:
        with LocalFiles().local_copy(options.video) as file:
            real_clip = torch.from_numpy(see_clip(file, trained.preprocessing).frames)
        video_size_px = tuple(real_clip.shape[1:3])
        if frame_size_px not in (None, video_size_px):
            raise ValueError(
                f"frame_size is {options.frame_size}, but {options.video} has {video_size_px[0]}x{video_size_px[1]};"
                " expected the same"
            )
        frame_size_px = video_size_px
    short_side_px = trained.preprocessing.test_short_side_px
    frame_size_px = frame_size_px or (short_side_px, round(short_side_px * 4 / 3))
    found = export(trained, output, format=options.format, frame_size_px=frame_size_px, real_clip=real_clip)
    height, width = frame_size_px
    real = "a real one among them" if options.video else "none of them real: no --video"
    print(f"{output}: frames (B, {trained.preprocessing.clip_len}, {height}, {width}, 3) uint8, {options.format}")
    print(f"compared on {found.num_clips} clips, {real}; the greatest difference of a probability:")
    print(f"  from the network: {found.from_network:.1e} (accepted: {FILE_TOLERANCE:g})")
    print(f"  from the preprocessing of the test: {found.from_test:.1e} (accepted: {TEST_TOLERANCE:g})")


def _frame_size(text: str) -> tuple[int, int]:
    if not (match := re.fullmatch(r"([1-9]\d*)[x×]([1-9]\d*)", text)):
        raise ValueError(f"frame_size is {text!r}; expected height x width, such as 240x320")
    return int(match[1]), int(match[2])
