"""`videoctx features`."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import Namespace
from jsonargparse.typing import NonNegativeInt, PositiveFloat

from videoctx.cli.output_path import writable_file
from videoctx.cli.tool_parser import Network, ToolParser, net_from_config, tool_parser
from videoctx.terminal import printable

if TYPE_CHECKING:
    from videoctx.inference.classifier import Classifier


def run_features(arguments: Sequence[str]) -> None:
    """Write the features of videos to a file: what the classifier of a network sees, or the output of any layer.

    The network is that of a checkpoint (--ckpt_path), or one with starting weights and without training
    (--model.weights, with -c for its architecture and its clips, or a config that names them). Videos that cannot be
    read are listed in the file and at the end, with exit status 1. `videoctx probe` trains a linear classifier on the
    file.
    """
    parser = _parser()
    net, options = net_from_config(parser, arguments, required=False, settings=_settings, values=["model.weights"])
    if options.ckpt_path and not any(argument.startswith("--model.weights") for argument in arguments):
        options.model.weights = None  # those that a config names are what the training of the checkpoint started from
    if (options.ckpt_path is None) == (options.model.weights is None):
        raise ValueError("expected either --ckpt_path, a trained network, or --model.weights, starting weights")
    if options.ckpt_path and any(argument.startswith("--data.") for argument in arguments):
        raise ValueError("--data is for --model.weights; a checkpoint stores its clips, and --views sets their number")
    output = writable_file(Path(options.output))

    import torch
    from rich.progress import Progress

    from videoctx.evaluation.card import file_hash
    from videoctx.evaluation.feature_file import FeatureWriter, check_feature_file
    from videoctx.inference.feature_extraction import extract_features, listed_videos
    from videoctx.models.network_name import network_name

    check_feature_file(output)
    videos = listed_videos(options.sources, splits=options.split or (), fps=options.fps)
    model = _model(net, options)
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    source = options.ckpt_path or options.model.weights
    views = model.chosen_views(options.views)
    metadata = {
        "level": options.level,
        "layer": options.layer,
        "views": list(views),
        "network": network_name(model.net),
        "checkpoint": {"path": source, "sha256": file_hash(Path(source))},
        "clip_placement": model.preprocessing.clip_grid.placement,
        "preprocessing": model.preprocessing.as_dict(),
    }
    failures, shape = [], (0, 0)
    with (
        Progress(transient=True, disable=not sys.stdout.isatty()) as progress,
        FeatureWriter(output, metadata) as writer,
    ):
        task = progress.add_task("features", total=len(videos))
        for video in extract_features(
            model,
            videos,
            layer=options.layer,
            views=(views.num_clips, views.num_crops),
            per_view=options.level == "clip",
            num_workers=options.num_workers,
        ):
            writer.write(video)
            if video.vectors is None:
                failures.append(f"{video.path}: {video.failure}")
            else:
                shape = shape[0] + len(video.vectors), video.vectors.shape[1]
            progress.advance(task)
    of_views = "views" if options.level == "clip" else f"means of {views} views"
    print(
        printable(f"{output}: {shape[0]} {of_views} of {len(videos) - len(failures)} videos, {shape[1]} numbers each")
    )
    for failure in failures:
        print(printable(failure), file=sys.stderr)
    if failures:
        sys.exit(1)


def _parser() -> ToolParser:
    parser = tool_parser("videoctx features", run_features.__doc__)
    parser.add_argument("sources", nargs="+", type=str, help="a manifest (*.csv); or videos, folders of them, or URLs")
    parser.add_argument("-o", "--output", type=str, required=True, help="file to write: *.parquet or *.npz")
    parser.add_argument("--ckpt_path", type=str | None, help="a checkpoint of `videoctx fit` or `convert`")
    parser.add_argument(
        "--model.weights",
        type=str | None,
        metavar="FILE",
        help="starting weights of any project, without training; --data.clips.NAME and --data.test.NAME set the clips",
    )
    parser.add_argument(
        "--layer", type=str | None, help="layer by name, such as res4; by default what the classifier sees"
    )
    parser.add_argument(
        "--level", default="video", choices=["clip", "video"], help="a vector per view, or the mean of a video's views"
    )
    parser.add_argument("--views", type=str | None, help="clips x crops, such as 10x3; by default those of the test")
    parser.add_argument("--split", type=str, nargs="+", help="splits of the manifest; by default all")
    parser.add_argument("--fps", type=PositiveFloat | None, help="frames per second of images without a manifest")
    parser.add_argument("--num_workers", type=NonNegativeInt, default=4, help="decoding processes")
    return parser


def _settings() -> Mapping[str, type]:
    from videoctx.data.settings import ClipSettings, TestSettings

    return {"data.clips": ClipSettings, "data.test": TestSettings}


def _model(net: Network, options: Namespace) -> "Classifier":
    if options.ckpt_path:
        from videoctx.inference.classifier import load

        return load(options.ckpt_path, net=net.make)
    from videoctx.inference.starting_network import starting_network

    given: dict[str, Any] = {name: value for name, kind in _settings().items() if (value := options[name]) != kind()}
    model, loaded = starting_network(
        options.model.weights, net=net.make, clips=given.get("data.clips"), test=given.get("data.test")
    )
    made = model.preprocessing
    clips = f"{made.described_clips} clips, protocol {made.protocol}"
    print(printable(f"{options.model.weights}: {clips}; not loaded: {loaded}"))
    return model
