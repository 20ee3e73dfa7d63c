"""The mistakes that a network was most sure of, and the view of each video that speaks for it most."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from videoctx.evaluation.evaluation_result import EvaluationResult
from videoctx.evaluation.scores import SCORES_FILE
from videoctx.evaluation.view_scores import sigmoid, softmax


@dataclass(frozen=True, slots=True)
class Mistake:
    """A class that a video does not show and that the network named, and one view of the video.

    Args:
        labels: what it shows.
        confidence: the answer's probability, over all views.
        view_confidence: in this view, which has the greatest.
        start_frame: the first frame of the view in its video.
    """

    path: str
    labels: list[str]
    answer: str
    confidence: float
    view_confidence: float
    start_frame: int
    clip: int
    crop: int


def most_confident_errors(evaluation_result: EvaluationResult, run: Path, *, most: int) -> list[Mistake]:
    """The surest first; of a video that may show several classes, the likeliest that it does not."""
    stored, scores = evaluation_result.view_scores, evaluation_result.video_scores
    names = stored.class_names
    shown = stored.labels if stored.multi_label else stored.labels[:, None] == np.arange(len(names))  # (V, K) bool
    named = shown if stored.multi_label else np.zeros_like(shown)
    decided = np.where(np.isnan(scores.max(axis=1, keepdims=True)) | named, -1.0, scores)
    answers = decided.argmax(axis=1)
    confidences = decided.max(axis=1)
    wrong = ~shown[np.arange(len(answers)), answers] & (confidences >= 0)
    chosen = [int(video) for video in np.argsort(-confidences, kind="stable") if wrong[video]][:most]
    starts = _start_frames(run / SCORES_FILE) if chosen else np.zeros(0)
    mistakes = []
    for video in chosen:
        views = np.flatnonzero(stored.video == video)
        probable = sigmoid if stored.multi_label else softmax
        of_answer = probable(stored.scores[views].astype(np.float64))[:, answers[video]]
        view = views[of_answer.argmax()]
        mistakes.append(
            Mistake(
                path=stored.paths[video],
                labels=[names[index] for index in np.flatnonzero(shown[video])],
                answer=names[answers[video]],
                confidence=float(confidences[video]),
                view_confidence=float(of_answer.max()),
                start_frame=int(starts[view]),
                clip=int(stored.clip[view]),
                crop=int(stored.crop[view]),
            )
        )
    return mistakes


def _start_frames(path: Path) -> np.ndarray:
    """(S,) of the views, in their order in the file."""
    return pq.read_table(path, columns=["start_frame"])["start_frame"].drop_null().to_numpy()
