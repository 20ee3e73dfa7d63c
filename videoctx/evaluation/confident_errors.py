"""The incorrect predictions with the greatest confidence, and the view of each video that contributes most to it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from videoctx.evaluation.evaluation_result import EvaluationResult
from videoctx.evaluation.run_folders import SCORES_FILE
from videoctx.evaluation.view_scores import sigmoid, softmax


@dataclass(frozen=True, slots=True)
class ConfidentError:
    """A predicted class that a video does not show, and one view of the video.

    Args:
        path: of the video.
        labels: the classes that the video shows.
        prediction: the class that was predicted.
        confidence: the probability of the prediction, averaged over all views.
        view_confidence: its probability in this view, which has the greatest one.
        start_frame: the first frame of the view in its video.
        clip: the number of the view's clip in the video.
        crop: the number of the view's crop.
    """

    path: str
    labels: Sequence[str]
    prediction: str
    confidence: float
    view_confidence: float
    start_frame: int
    clip: int
    crop: int


def most_confident_errors(result: EvaluationResult, run: Path, *, most: int) -> list[ConfidentError]:
    """Return the incorrect predictions with the greatest confidence, the most confident one first.

    Of a video that may have several labels, the prediction is the most probable class that it does not show.

    Args:
        result: of the run.
        run: the folder of the run; its scores have the start frames.
        most: the number of errors at most.
    """
    view_scores = result.view_scores
    names = view_scores.class_names
    predictions, confidences, incorrect = shown_predictions(result)
    shown = shown_classes(result)
    ranking = sorted(
        np.flatnonzero(incorrect).tolist(), key=lambda video: (-confidences[video], view_scores.paths[video])
    )
    chosen = ranking[:most]
    starts = _start_frames(run / SCORES_FILE) if chosen else np.zeros(0)
    to_probabilities = sigmoid if view_scores.multi_label else softmax
    errors = []
    for video in chosen:
        views = np.flatnonzero(view_scores.video == video)
        confidence = to_probabilities(view_scores.scores[views].astype(np.float64))[:, predictions[video]]
        view = views[confidence.argmax()]
        errors.append(
            ConfidentError(
                path=view_scores.paths[video],
                labels=[names[index] for index in np.flatnonzero(shown[video])],
                prediction=names[predictions[video]],
                confidence=float(confidences[video]),
                view_confidence=float(confidence.max()),
                start_frame=int(starts[view]),
                clip=int(view_scores.clip[view]),
                crop=int(view_scores.crop[view]),
            )
        )
    return errors


def shown_classes(result: EvaluationResult) -> np.ndarray:
    """Return which classes each video shows, (V, K) bool."""
    labels = result.view_scores.labels
    if result.view_scores.multi_label:
        return labels
    shown: np.ndarray = labels[:, None] == np.arange(len(result.view_scores.class_names))
    return shown


def shown_predictions(result: EvaluationResult) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the predicted class of each video, its probability, and whether it is incorrect, each (V,).

    Of a video that may have several labels, the prediction is the most probable class that it does not show. The
    probability is -1 where there is none.
    """
    scores, shown = result.video_scores, shown_classes(result)
    excluded = shown if result.view_scores.multi_label else np.zeros_like(shown)
    candidates = np.where(np.isnan(scores.max(axis=1, keepdims=True)) | excluded, -1.0, scores)
    predictions, confidences = candidates.argmax(axis=1), candidates.max(axis=1)
    return predictions, confidences, ~shown[np.arange(len(predictions)), predictions] & (confidences >= 0)


def _start_frames(path: Path) -> np.ndarray:
    """Return the start frame of each view, (S,), in the order of the file."""
    return pq.read_table(path, columns=["start_frame"])["start_frame"].drop_null().to_numpy()
