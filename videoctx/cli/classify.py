"""`videoctx classify`."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from jsonargparse import Namespace
from jsonargparse.typing import PositiveFloat, PositiveInt
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from videoctx.atomic_write import atomic_write
from videoctx.cli.classify_live import classify_live
from videoctx.cli.classify_timeline import classify_timeline
from videoctx.cli.output_file import writable_file
from videoctx.cli.tool_parser import ToolParser, net_from_config
from videoctx.data.containers import VideoDecodeError
from videoctx.data.storage import LocalFiles
from videoctx.evaluation.view_subset import Views
from videoctx.inference.prediction import Prediction, predict
from videoctx.inference.video_paths import video_paths
from videoctx.trained import TrainedNetwork, load_trained

# What belongs to one use of the tool alone.
OWN = {
    "VIDEO": ("views",),
    "--timeline": ("stride",),
    "--live": ("speed", "reconnects", "patience_seconds"),
}


def run_classify(arguments: Sequence[str]) -> None:
    """Say what is done in videos: in each as a whole, along a long one (--timeline), or as it happens (--live)."""
    parser = ToolParser(prog="videoctx classify", description=run_classify.__doc__)
    parser.add_argument("video", nargs="?", type=str, help="a video, a folder of videos, or a URL")
    parser.add_argument("--ckpt_path", type=str, required=True, help="a checkpoint that `videoctx fit` wrote")
    parser.add_argument("--top", type=PositiveInt | None, help="how many classes to tell; by default 5")
    parser.add_argument("--views", type=str | None, help="clips x crops, such as 10x3; by default those of the test")
    parser.add_argument("--json", type=Path | None, help="file for the result")
    parser.add_argument("--timeline", type=Path | None, help="folder for a table, a chart and a video of what is when")
    parser.add_argument("--stride", type=PositiveFloat | None, help="seconds between clips of it; by default 1")
    parser.add_argument("--live", type=str | None, help="number of a camera, URL of a stream, or a file at its pace")
    parser.add_argument("--speed", type=PositiveFloat | None, help="of a file, relative to its own pace; by default 1")
    parser.add_argument("--reconnects", type=int | None, help="attempts when a stream dies; by default 3")
    parser.add_argument("--patience_seconds", type=PositiveFloat | None, help="with a silent stream; by default 10")
    net, options = net_from_config(parser, arguments, required=False)
    num_best = options.top or 5
    use = _use(options)
    json_file = writable_file(options.json) if options.json else None
    trained = load_trained(options.ckpt_path, make_net=net.make)
    trained.net.to("cuda" if torch.cuda.is_available() else "cpu")
    if use != "--live":  # which makes a network of its own
        trained = trained.for_evaluation()
    if use == "--timeline":
        result = classify_timeline(
            trained, options.video, folder=options.timeline, stride_seconds=options.stride or 1.0, num_best=num_best
        )
    elif use == "--live":
        result = classify_live(
            trained,
            options.live,
            speed=options.speed or 1.0,
            reconnects=3 if options.reconnects is None else options.reconnects,
            patience_seconds=options.patience_seconds or 10.0,
        )
    else:
        views = Views.parse(options.views) if options.views else Views(*trained.preprocessing.test_views)
        result = _classify_videos(trained, video_paths(options.video), views, num_best=num_best)
    if json_file:
        _write_json({"checkpoint": options.ckpt_path, **result}, json_file)
    if result.get("num_failed") or result.get("lost"):
        sys.exit(1)


def _use(options: Namespace) -> str:
    """Raises ValueError where an argument is missing, or is for another use of the tool."""
    use = "--live" if options.live is not None else "--timeline" if options.timeline is not None else "VIDEO"
    for name, shown in (("video", "VIDEO"), ("timeline", "--timeline"), ("top", "--top")):
        if use == "--live" and options[name] is not None:
            raise ValueError(f"--live has no {shown}")
    if use != "--live" and options.video is None:
        raise ValueError("expected a video, a folder of videos or a URL, or --live and a camera or a stream")
    for other, names in OWN.items():
        for name in names:
            if other != use and options[name] is not None:
                raise ValueError(f"--{name} is for {'a video as a whole' if other == 'VIDEO' else other} alone")
    if options.reconnects is not None and options.reconnects < 0:
        raise ValueError(f"reconnects is {options.reconnects}; expected 0 or more")
    return use


def _classify_videos(trained: TrainedNetwork, paths: Sequence[str], views: Views, *, num_best: int) -> dict:
    files = LocalFiles()
    predictions = []
    for path in paths:
        try:
            predictions.append(predict(trained, path, files, num_clips=views.num_clips, num_crops=views.num_crops))
        except VideoDecodeError as error:  # it could not be fetched
            predictions.append(Prediction(path, None, error.reason))
    if len(paths) == 1:
        print(paths[0])
    Console().print(_table(predictions, trained.class_names, num_best))
    for prediction in predictions:
        if prediction.failure:
            print(f"{prediction.path}: {prediction.failure}", file=sys.stderr)
    return {
        "views": list(views),
        "num_failed": sum(prediction.failure is not None for prediction in predictions),
        "videos": [_described(prediction, trained.class_names, num_best) for prediction in predictions],
    }


def _table(predictions: Sequence[Prediction], class_names: Sequence[str], num_best: int) -> Table:
    """A row per class of a single video; of several, a row per video."""
    if len(predictions) == 1 and not predictions[0].failure:
        table = Table("class")
        table.add_column("probability", justify="right")
        for name, probability in predictions[0].best(class_names, num_best):
            table.add_row(escape(name), f"{probability:.1%}")
        return table
    table = Table("video", "class, probability")
    for prediction in predictions:
        best = ", ".join(f"{name} {probability:.1%}" for name, probability in prediction.best(class_names, num_best))
        table.add_row(escape(prediction.path), escape(best or f"failed: {prediction.failure}"))
    return table


def _described(prediction: Prediction, class_names: Sequence[str], num_best: int) -> dict:
    if prediction.failure:
        return {"video": prediction.path, "failure": prediction.failure}
    best = prediction.best(class_names, num_best)
    classes = [{"class": name, "probability": probability} for name, probability in best]
    return {"video": prediction.path, "classes": classes}


def _write_json(result: dict, path: Path) -> None:
    with atomic_write(path) as part:
        part.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
