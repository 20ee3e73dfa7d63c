"""Synthetic scores, in the form in which a run writes them."""

from pathlib import Path

import numpy as np
import torch

from videoctx.batch import ClipBatch, Failure, View
from videoctx.evaluation.run_folders import SCORES_FILE
from videoctx.evaluation.scores import ScoreWriter, read_scores
from videoctx.evaluation.view_scores import ViewScores


def write_run(
    folder: Path,
    logits: np.ndarray,
    labels: np.ndarray,
    *,
    class_names: list[str] | None = None,
    paths: list[str] | None = None,
    failed: tuple[int, ...] = (),
    clip_placement: str | None = "from_start",
) -> Path:
    """Write the scores of a run and return its folder.

    Args:
        logits: (V, clips, crops, K).
        labels: (V,) class index, or (V, K) bool.
    """
    num_videos, num_clips, num_crops, num_classes = logits.shape
    class_names = class_names or [f"class {index}" for index in range(num_classes)]
    paths = paths or [f"{index}.mp4" for index in range(num_videos)]
    logits = torch.tensor(logits, dtype=torch.float32)
    scores = logits if labels.ndim == 2 else logits.log_softmax(dim=3)
    readable = [index for index in range(num_videos) if index not in failed]
    folder.mkdir(parents=True, exist_ok=True)
    views = [View(10 * clip, crop) for clip in range(num_clips) for crop in range(num_crops)]
    batch = ClipBatch(
        clips=torch.empty(0),
        video=torch.tensor(readable, dtype=torch.int64).repeat_interleave(len(views)),
        labels=torch.tensor(labels),
        paths=paths,
        rows=list(range(num_videos)),
        views=views * len(readable),
        views_expected=torch.full((num_videos,), len(views)),
        failures={index: Failure(paths[index], "the file is empty") for index in failed},
    )
    writer = ScoreWriter(folder / SCORES_FILE, class_names, clip_placement=clip_placement, multi_label=labels.ndim == 2)
    with writer:
        writer.write(batch, scores[readable].reshape(-1, num_classes))
    return folder


def synthetic_scores(folder: Path, *arguments, **options) -> ViewScores:
    return read_scores(write_run(folder, *arguments, **options) / SCORES_FILE)


def random_run(
    seed: int, *, num_videos: int = 40, views: tuple[int, int] = (4, 3), num_classes: int = 7
) -> tuple[np.ndarray, np.ndarray]:
    """Return logits and labels. The label often has the greatest logit, in some views more clearly than in others."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, num_classes, num_videos)
    logits = rng.normal(size=(num_videos, *views, num_classes)) * 1.5
    logits += rng.normal(size=(num_videos, 1, 1, num_classes))
    logits[np.arange(num_videos), ..., labels] += 1.2
    return logits, labels
