"""`videoctx classify VIDEO`: the classes of whole videos."""

import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from videoctx.data.decoding.containers import VideoDecodeError
from videoctx.data.storage.local_files import LocalFiles
from videoctx.evaluation.view_subset import Views
from videoctx.inference.prediction import Prediction, predict
from videoctx.inference.video_paths import video_paths
from videoctx.trained import TrainedNetwork


def classify_videos(trained: TrainedNetwork, video: str, *, views: str | None, num_best: int) -> dict[str, Any]:
    """Print the classes of a video, or of each video of a folder, and return the result for JSON.

    Args:
        views: clips x crops, such as 10x3; by default those of the test.
    """
    paths = video_paths(video)
    num_clips, num_crops = Views.parse(views) if views else trained.preprocessing.views
    files = LocalFiles()
    predictions = []
    for path in paths:
        try:
            predictions.append(predict(trained, path, files, num_clips=num_clips, num_crops=num_crops))
        except VideoDecodeError as error:  # it cannot be fetched
            predictions.append(Prediction(path, None, error.reason))
    if len(paths) == 1:
        print(paths[0])
    Console().print(_table(predictions, trained.class_names, num_best))
    for prediction in predictions:
        if prediction.failure:
            print(f"{prediction.path}: {prediction.failure}", file=sys.stderr)
    return {
        "views": [num_clips, num_crops],
        "num_failed": sum(prediction.failure is not None for prediction in predictions),
        "videos": [_as_dict(prediction, trained.class_names, num_best) for prediction in predictions],
    }


def _table(predictions: Sequence[Prediction], class_names: Sequence[str], num_best: int) -> Table:
    """Return a row per class for a single video, and a row per video for several."""
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


def _as_dict(prediction: Prediction, class_names: Sequence[str], num_best: int) -> dict[str, Any]:
    if prediction.failure:
        return {"video": prediction.path, "failure": prediction.failure}
    best = prediction.best(class_names, num_best)
    classes = [{"class": name, "probability": probability} for name, probability in best]
    return {"video": prediction.path, "classes": classes}
