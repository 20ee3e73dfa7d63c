"""`videoctx attention`."""

from collections.abc import Sequence
from pathlib import Path

import torch
from jsonargparse import Namespace
from jsonargparse.typing import PositiveInt

from videoctx.atomic_write import atomic_write
from videoctx.cli.attention_analysis import analyze
from videoctx.cli.output_folder import made_folder
from videoctx.cli.tool_parser import ToolParser, net_from_config
from videoctx.data.storage import LocalFiles
from videoctx.trained import TrainedNetwork, load_trained
from videoctx.visualize.attention import attending_blocks, find_block, watch
from videoctx.visualize.contact_sheet import write_contact_sheet
from videoctx.visualize.gradcam import grad_cam
from videoctx.visualize.overlay import Overlay
from videoctx.visualize.seen_clip import Query, SeenClip, see_clip
from videoctx.visualize.video_file import write_video

SLIDE_FPS = 2.0  # of the overlay where the video does not say how fast it is

# The tool's uses: what each needs, and what else belongs to it alone.
NEEDED = {"--method map": ("video",), "--method gradcam": ("video", "layer"), "--analyze": ("manifest",)}
OPTIONAL = {
    "--method map": ("video", "block", "query"),
    "--method gradcam": ("video", "target_class"),
    "--analyze": ("split", "num_videos", "max_queries"),
}


def run_attention(arguments: Sequence[str]) -> None:
    """Show where a trained network looks: the attention of a context block, or Grad-CAM of any layer, over a video.

    With --analyze: how much the attention of every block depends on who asks, over the videos of a manifest.
    """
    parser = ToolParser(prog="videoctx attention", description=run_attention.__doc__)
    parser.add_argument("video", nargs="?", type=str, help="a video: a file or a URL")
    parser.add_argument("--ckpt_path", type=str, required=True, help="a checkpoint that `videoctx fit` wrote")
    parser.add_argument("--output", type=Path, default=Path("attention"), help="folder to write to")
    parser.add_argument("--method", default="map", choices=["map", "gradcam"], help="attention map, or Grad-CAM")
    parser.add_argument("--block", type=str | None, help="whose attention: res4.5; by default the last that has one")
    parser.add_argument(
        "--query",
        type=str | None,
        help="position that attends, in the video's pixels, at a second or in a frame: 120,64,2.5 or 120,64,75f; by"
        " default the one to which the block adds most, in the middle of the video",
    )
    parser.add_argument("--layer", type=str | None, help="of Grad-CAM: res5, or any whose output is (B, C, T, H, W)")
    parser.add_argument("--target_class", type=str | None, help="of Grad-CAM; by default the one that is predicted")
    parser.add_argument("--analyze", action="store_true", help="measure instead of showing")
    parser.add_argument("--manifest", type=str | None, help="of the videos to analyze")
    parser.add_argument("--split", type=str | None, help="of the manifest; by default test")
    parser.add_argument("--num_videos", type=PositiveInt | None, help="so many, drawn evenly; by default all")
    parser.add_argument("--max_queries", type=PositiveInt | None, help="whose pairs are compared; by default 256")
    net, options = net_from_config(parser, arguments, required=False)
    use = "--analyze" if options.analyze else f"--method {options.method}"
    _check_use(options, use)
    trained = load_trained(options.ckpt_path, make_net=net.make)
    trained.net.to("cuda" if torch.cuda.is_available() else "cpu")
    if options.analyze:
        analyze(
            trained,
            manifest=Path(options.manifest),
            split=options.split or "test",
            num_videos=options.num_videos,
            max_queries=options.max_queries or 256,
            output=options.output,
        )
        return
    query = Query.parse(options.query) if options.query else None
    if options.method == "map":
        find_block(trained.net, options.block)  # before the video is read
    with LocalFiles().local_copy(options.video) as file:
        clip = see_clip(file, trained.preprocessing, query=query)
    if options.method == "map":
        name, title, overlay = _attention_map(trained, clip, options.block, query)
    else:
        name, title, overlay = _class_activation(trained, clip, options.layer, options.target_class)
    shown = Path(options.video.partition("::")[0])  # of a shard: its member
    _write(overlay, clip, made_folder(options.output) / f"{shown.stem}-{name}", f"{shown.name}: {title}")


def _check_use(options: Namespace, use: str) -> None:
    """Raises ValueError where an argument is missing, or is for another use of the tool."""
    own = {*NEEDED[use], *OPTIONAL[use]}
    for other in NEEDED:
        for name in (*NEEDED[other], *OPTIONAL[other]):
            if name not in own and options[name] is not None:
                raise ValueError(f"{use} has no {_flag(name)}, which is for {other}")
    for name in NEEDED[use]:
        if options[name] is None:
            raise ValueError(f"{use} needs {_flag(name)}; --help says what it is")


def _flag(name: str) -> str:
    return "VIDEO" if name == "video" else f"--{name}"


def _attention_map(
    trained: TrainedNetwork, clip: SeenClip, block: str | None, query: Query | None
) -> tuple[str, str, Overlay]:
    """File name, title and overlay."""
    name = find_block(trained.net, block)
    watched = watch(trained.net, clip.input.to(_device(trained)), [name])[name]
    attention = watched.attention
    place = clip.place(query) if query else attention.queries.center(watched.strongest_query())
    cell = attention.queries.nearest(place)
    values = attention.seen_from(cell).double().numpy()
    unit = "weight"
    if attention.is_distribution:
        values, unit = values * attention.num_keys, "weight / mean weight"
    kind = type(attending_blocks(trained.net)[name]).__name__
    title, at = f"{kind} at {name}, the same map for every position", None
    if attention.depends_on_query:
        at = frame, x, y = clip.on_video(place)
        chosen = "" if query else ", the position to which it adds most"
        title = f"{kind} at {name}, seen from x {x:.0f}, y {y:.0f} in frame {clip.indices[frame]}{chosen}"
    overlay = Overlay(frames=clip.frames, values=clip.upsample(values, attention.keys), unit=unit, query=at)
    return name, title, overlay


def _class_activation(
    trained: TrainedNetwork, clip: SeenClip, layer: str, target_class: str | None
) -> tuple[str, str, Overlay]:
    """File name, title and overlay."""
    if target_class is not None and target_class not in trained.class_names:
        raise ValueError(f"no class {target_class!r}; expected one of {', '.join(trained.class_names)}")
    index = None if target_class is None else trained.class_names.index(target_class)
    activation = grad_cam(trained.net, clip.input.to(_device(trained)), layer, class_index=index)
    probability = float(trained.probabilities(activation.logits)[activation.class_index])
    title = f"Grad-CAM of {trained.class_names[activation.class_index]!r} ({probability:.1%}) at {layer}"
    if not activation.map.any():
        title += ": nothing there speaks for it"
    map = activation.map.double()
    values = clip.upsample((map / (map.max() or 1.0)).numpy(), activation.grid)
    return f"gradcam-{layer}", title, Overlay(frames=clip.frames, values=values, unit="Grad-CAM / its greatest")


def _write(overlay: Overlay, clip: SeenClip, path: Path, title: str) -> None:
    """PATH.mp4 and PATH.png, both or none."""
    timed = clip.fps > 0
    labels = [f"frame {index}" + (f" · {index / clip.fps:.2f} s" if timed else "") for index in clip.indices]
    steps = [step for step in clip.indices[1:] - clip.indices[:-1] if step > 0]
    fps = clip.fps / min(steps, default=1) if timed else SLIDE_FPS
    video, sheet = (path.with_name(f"{path.name}{suffix}") for suffix in (".mp4", ".png"))
    with atomic_write(video) as video_part, atomic_write(sheet) as sheet_part:
        write_video(video_part, overlay.pictures(), fps=fps)
        write_contact_sheet(sheet_part, overlay, title=title, labels=labels)
    print(f"{title}\n{video}\n{sheet}")


def _device(trained: TrainedNetwork) -> torch.device:
    return next(trained.net.parameters()).device
