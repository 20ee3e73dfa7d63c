"""`videoctx classify VIDEO`: the classes of whole videos."""

import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from videoctx.evaluation.view_subset import Views
from videoctx.inference.classifier import Classifier
from videoctx.inference.prediction import Prediction
from videoctx.inference.video_paths import video_paths


def classify_videos(trained: Classifier, video: str, *, views: str | None, num_best: int) -> dict[str, Any]:
    """Print the classes of a video, or of each video of a folder, and return the result for JSON.

    Args:
        views: clips x crops, such as 10x3; by default those of the test.
    """
    paths = video_paths(video)
    chosen = Views.parse(views) if views else Views(*trained.preprocessing.views)
    predictions = trained.predict(paths, top=num_best, views=chosen)
    if len(paths) == 1:
        print(paths[0])
    Console().print(_table(predictions))
    for prediction in predictions:
        if prediction.failure:
            print(f"{prediction.path}: {prediction.failure}", file=sys.stderr)
    return {
        "views": list(chosen),
        "num_failed": sum(prediction.failure is not None for prediction in predictions),
        "videos": [_as_dict(prediction) for prediction in predictions],
    }


def _table(predictions: Sequence[Prediction]) -> Table:
    """Return a row per class for a single video, and a row per video for several."""
    if len(predictions) == 1 and not predictions[0].failure:
        table = Table("class")
        table.add_column("probability", justify="right")
        for name, probability in predictions[0]:
            table.add_row(escape(name), f"{probability:.1%}")
        return table
    table = Table("video", "class, probability")
    for prediction in predictions:
        best = ", ".join(f"{name} {probability:.1%}" for name, probability in prediction)
        table.add_row(escape(prediction.path), escape(best or f"failed: {prediction.failure}"))
    return table


def _as_dict(prediction: Prediction) -> dict[str, Any]:
    if prediction.failure:
        return {"video": prediction.path, "failure": prediction.failure}
    classes = [{"class": name, "probability": probability} for name, probability in prediction]
    return {"video": prediction.path, "classes": classes}
