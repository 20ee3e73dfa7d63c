"""`videoctx attention`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import Namespace
from jsonargparse.typing import PositiveFloat, PositiveInt

from videoctx.cli.output_path import writable_folder
from videoctx.cli.tool_parser import ToolParser, net_from_config, tool_parser

if TYPE_CHECKING:
    from videoctx.inference.classifier import Classifier

# The arguments that each mode needs, and the others that it alone accepts.
NEEDED = {"--method map": ("video",), "--method gradcam": ("video", "layer"), "--analyze": ("manifest",)}
OPTIONAL = {
    "--method map": ("video", "fps", "block", "query"),
    "--method gradcam": ("video", "fps", "target_class"),
    "--analyze": ("split", "num_videos", "max_queries"),
}


def run_attention(arguments: Sequence[str]) -> None:
    """Show where a trained network looks in a video: the attention of a context block, or Grad-CAM of a layer.

    With --analyze, measure how much the attention of every block depends on the query, over the videos of a manifest.
    """
    net, options = net_from_config(_parser(), arguments, required=False)
    mode = "--analyze" if options.analyze else f"--method {options.method}"
    _check_mode(options, mode)

    import torch

    from videoctx.inference.classifier import load

    trained = load(options.ckpt_path, net=net.make)
    trained.net.to("cuda" if torch.cuda.is_available() else "cpu")
    if options.analyze:
        from videoctx.cli.attention_analysis import analyze

        analyze(
            trained,
            manifest=Path(options.manifest),
            split=options.split or "test",
            num_videos=options.num_videos,
            max_queries=options.max_queries or 256,
            output=options.output,
        )
    else:
        _explain(trained, options)


def _parser() -> ToolParser:
    parser = tool_parser("videoctx attention", run_attention.__doc__)
    parser.add_argument("video", nargs="?", type=str, help="a video: a file, a folder of images or a URL")
    parser.add_argument("--ckpt_path", type=str, required=True, help="a checkpoint of `videoctx fit` or `convert`")
    parser.add_argument(
        "--fps", type=PositiveFloat | None, help="frames per second of a video that is stored as images"
    )
    parser.add_argument("--output", type=Path, default=Path("attention"), help="folder to write to")
    parser.add_argument("--method", default="map", choices=["map", "gradcam"], help="attention map, or Grad-CAM")
    attention = parser.add_argument_group("--method map")
    attention.add_argument(
        "--block", type=str | None, help="name of a context block, such as res4.5; by default the last with attention"
    )
    attention.add_argument(
        "--query",
        type=str | None,
        help="position that attends, in pixels of the video, at a second or in a frame: 120,64,2.5 or 120,64,75f;"
        " by default the position to which the block adds most, in the middle of the video",
    )
    grad_cam = parser.add_argument_group("--method gradcam")
    grad_cam.add_argument("--layer", type=str | None, help="res5, or any layer whose output is (B, C, T, H, W)")
    grad_cam.add_argument(
        "--target_class", type=str | None, metavar="CLASS", help="name of a class; by default the predicted one"
    )
    analysis = parser.add_argument_group("measure instead of showing")
    analysis.add_argument("--analyze", action="store_true", help="measure over the videos of a manifest")
    analysis.add_argument("--manifest", type=str | None, help="the manifest")
    analysis.add_argument("--split", type=str | None, help="split of the manifest; by default test")
    analysis.add_argument(
        "--num_videos", type=PositiveInt | None, help="number of videos, at even distances; by default all"
    )
    analysis.add_argument(
        "--max_queries", type=PositiveInt | None, help="queries per clip whose pairs are compared; by default 256"
    )
    return parser


def _check_mode(options: Namespace, mode: str) -> None:
    """Raise a ValueError if an argument is missing, or belongs to another mode."""
    accepted = {*NEEDED[mode], *OPTIONAL[mode]}
    for other in NEEDED:
        for name in (*NEEDED[other], *OPTIONAL[other]):
            if name not in accepted and options[name] is not None:
                raise ValueError(f"{mode} has no {_flag(name)}, which is for {other}")
    for name in NEEDED[mode]:
        if options[name] is None:
            raise ValueError(f"{mode} needs {_flag(name)}; --help describes it")


def _flag(name: str) -> str:
    return "VIDEO" if name == "video" else f"--{name}"


def _explain(trained: "Classifier", options: Namespace) -> None:
    from videoctx.data.storage.local_files import LocalFiles
    from videoctx.inference.explanation import explain_by_attention, explain_by_grad_cam, write_explanation
    from videoctx.visualize.attention import find_block
    from videoctx.visualize.clip_on_video import Query, read_clip

    query = Query.parse(options.query) if options.query else None
    if options.method == "map":
        find_block(trained.net, options.block)  # before the video is read
    with LocalFiles().local_copy(options.video) as file:
        clip = read_clip(file, trained.preprocessing, query=query, images_fps=options.fps)
    if options.method == "map":
        explanation = explain_by_attention(trained, clip, block=options.block, query=query)
    else:
        explanation = explain_by_grad_cam(trained, clip, layer=options.layer, target_class=options.target_class)
    name = Path(options.video.partition("::")[0])  # of a file inside a shard: the file's
    title = f"{name.name}: {explanation.title}"
    path = writable_folder(options.output) / f"{name.stem}-{explanation.name}"
    video, sheet = write_explanation(explanation, clip, path, title=title)
    print(f"{title}\n{video}\n{sheet}")
