"""`videoctx export`."""

import re
from collections.abc import Sequence
from pathlib import Path

from jsonargparse.typing import PositiveFloat

from videoctx.cli.output_path import writable_file
from videoctx.cli.tool_parser import ToolParser, net_from_config, tool_parser

FORMATS = ("torch-export", "onnx")  # those of `videoctx.inference.exported_file`, whose import takes seconds


def run_export(arguments: Sequence[str]) -> None:
    """Write a trained network with its preprocessing as a file that other programs run.

    Input: frames as decoded, (B, T, H, W, 3) uint8 RGB, of any B, H and W and the T of the network's clips. The file's
    metadata state the sizes and the distance between frames. Output: the probabilities of the classes, (B, K).
    """
    net, options = net_from_config(_parser(), arguments, required=False)
    output = writable_file(options.output)

    import torch

    from videoctx.data.storage.local_files import LocalFiles
    from videoctx.inference.classifier import load
    from videoctx.inference.export import FILE_TOLERANCE, TEST_TOLERANCE, export
    from videoctx.inference.exported_file import SUFFIX, check_installed
    from videoctx.visualize.clip_on_video import read_clip

    if output.suffix != (suffix := SUFFIX[options.format]):
        raise ValueError(f"output is {output}; expected a name that ends in {suffix} with format {options.format}")
    frame_size_px = _frame_size(options.frame_size) if options.frame_size else None
    check_installed(options.format)
    trained = load(options.ckpt_path, net=net.make)
    real_clip = None
    if options.video:
        with LocalFiles().local_copy(options.video) as file:
            real_clip = torch.from_numpy(read_clip(file, trained.preprocessing, images_fps=options.fps).frames)
        height, width = real_clip.shape[1:3]
        if frame_size_px not in (None, (height, width)):
            raise ValueError(
                f"frame_size is {options.frame_size}, but {options.video} has {height}x{width}; expected the same"
            )
    found = export(trained, output, format=options.format, frame_size_px=frame_size_px, real_clip=real_clip)
    real = "one of them real" if options.video else "none of them real, as there is no --video"
    sizes = "{}, {}".format(*frame_size_px) if frame_size_px else "H, W"
    print(f"{output}: frames (B, {trained.preprocessing.clip_len}, {sizes}, 3) uint8, {options.format}")
    print(f"compared on {found.num_clips} clips, {real}; largest difference of a probability:")
    print(f"  from the network: {found.from_network:.1e} (accepted: {FILE_TOLERANCE:g})")
    print(f"  from the preprocessing of the test: {found.from_test:.1e} (accepted: {TEST_TOLERANCE:g})")


def _parser() -> ToolParser:
    parser = tool_parser("videoctx export", run_export.__doc__)
    parser.add_argument("--ckpt_path", type=str, required=True, help="a checkpoint of `videoctx fit` or `convert`")
    parser.add_argument("--format", required=True, choices=FORMATS, help="format of the file")
    parser.add_argument("--output", type=Path, required=True, help="file to write")
    parser.add_argument("--video", type=str | None, help="a real video to compare on: a file or a URL")
    parser.add_argument(
        "--fps", type=PositiveFloat | None, help="frames per second of a --video that is stored as images"
    )
    parser.add_argument(
        "--frame_size",
        type=str | None,
        metavar="HxW",
        help="the one height x width of the frames that the file takes, such as 240x320, for runtimes that need it; by"
        " default the file takes any",
    )
    return parser


def _frame_size(text: str) -> tuple[int, int]:
    if not (match := re.fullmatch(r"([1-9]\d*)[x×]([1-9]\d*)", text)):
        raise ValueError(f"frame_size is {text!r}; expected height x width, such as 240x320")
    return int(match[1]), int(match[2])
