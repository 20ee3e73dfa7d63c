"""Late fusion: the weighted average of what several networks say about the same videos.

Simonyan and Zisserman: "Two-Stream Convolutional Networks for Action Recognition in Videos" (NeurIPS 2014, arXiv
1406.2199), section 4: the class scores of two networks are averaged. TSN weights its streams 1 : 1.5.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from videoctx.evaluation.choices import Average
from videoctx.evaluation.comparison import check_same_videos, order_of_videos
from videoctx.evaluation.view_scores import ViewScores, sigmoid, softmax, stored_scores
from videoctx.evaluation.view_subset import Views
from videoctx.first_few import first_few

TINY = np.finfo(np.float64).tiny


@dataclass(frozen=True)
class Fusion:
    """Runs as one.

    Attributes:
        scores: of the views that all runs have, or of one view per video.
        notes: what a user should know, one line each.
    """

    scores: ViewScores
    notes: list[str]


def fuse(
    runs: Sequence[ViewScores],
    names: Sequence[str],
    *,
    weights: Sequence[float] | None = None,
    average: Average = "probabilities",
) -> Fusion:
    """Average the scores of runs on the same videos.

    Runs with the same views are fused per view, others per video. A video that one run could not read has failed.

    Args:
        names: of the runs, for messages.
        weights: of the runs; only their ratio matters. None: equal ones.
        average: the mean of the runs' probabilities, or the probabilities of the mean of their logits.

    Raises:
        ValueError: there is one run; weights of another number or sign; runs with other videos, labels or classes.
    """
    if len(runs) < 2:
        raise ValueError(f"{len(runs)} run; expected two or more on the same videos")
    shares = _shares(weights, len(runs))
    first, notes = runs[0], list[str]()
    aligned = [first]
    for run, name in zip(runs[1:], names[1:], strict=True):
        if run.class_names != first.class_names and sorted(run.class_names) == sorted(first.class_names):
            run = _reordered_classes(run, first.class_names)
            notes.append(f"{name}: its classes come in another order, and were matched by name")
        try:
            check_same_videos(first, run)
        except ValueError as error:
            raise ValueError(f"{names[0]} (first) and {name} (second): {error}") from error
        aligned.append(_reordered_videos(run, np.argsort(order_of_videos(first, run))))
    failures = [_failure(video, aligned, names) for video in zip(*(run.failures for run in aligned), strict=True)]
    once = [
        path
        for path, all_failed, failure in zip(first.paths, _all_failed(aligned), failures, strict=True)
        if failure and not all_failed
    ]
    if once:
        notes.append(f"{len(once)} videos failed in some of the runs, and count as failed ({first_few(once)})")
    read = np.array([failure is None for failure in failures])
    aligned = [_without_failed(run, read) for run in aligned]
    views = {str(Views(*run.shape)) for run in runs}
    if not _same_views(aligned):
        found = ", ".join(sorted(views)) + " at other places" * (len(views) == 1)
        notes.append(f"the runs have different views ({found}), so they are fused per video")
        aligned = [_per_video(run, average) for run in aligned]
    scores = _fused([run.scores for run in aligned], shares, average, multi_label=first.multi_label)
    return Fusion(replace(aligned[0], failures=failures, scores=scores), notes)


def _shares(weights: Sequence[float] | None, num_runs: int) -> np.ndarray:
    if weights is None:
        return np.full(num_runs, 1 / num_runs)
    if len(weights) != num_runs:
        raise ValueError(f"{len(weights)} weights for {num_runs} runs; expected one per run")
    if not all(math.isfinite(weight) and weight >= 0 for weight in weights) or not sum(weights):
        listed = " ".join(f"{weight:g}" for weight in weights)
        raise ValueError(f"weights are {listed}; expected 0 or more each, and not all 0")
    return np.array(weights, dtype=np.float64) / sum(weights)


def _fused(scores: Sequence[np.ndarray], shares: np.ndarray, average: Average, *, multi_label: bool) -> np.ndarray:
    """Return the stored scores, (S, K) float16, of those of each run."""
    doubles = [one.astype(np.float64) for one in scores]
    if average == "logits":
        logits = sum(share * one for share, one in zip(shares, doubles, strict=True) if share)
    else:
        to_probabilities = sigmoid if multi_label else softmax
        mean = sum(share * to_probabilities(one) for share, one in zip(shares, doubles, strict=True))
        logits = np.log(np.maximum(mean, TINY))
        if multi_label:
            logits = logits - np.log(np.maximum(1 - mean, TINY))
    return stored_scores(torch.from_numpy(np.asarray(logits)), multi_label=multi_label).numpy()


def _failure(failures: Sequence[str | None], runs: Sequence[ViewScores], names: Sequence[str]) -> str | None:
    """Return why a video has failed, with the run where it has not in all of them."""
    found = [(name, failure) for name, failure in zip(names, failures, strict=True) if failure is not None]
    if not found:
        return None
    name, failure = found[0]
    return failure if len(found) == len(runs) else f"{name}: {failure}"


def _all_failed(runs: Sequence[ViewScores]) -> np.ndarray:
    return np.all([run.failed for run in runs], axis=0)


def _reordered_classes(run: ViewScores, class_names: Sequence[str]) -> ViewScores:
    position = {name: index for index, name in enumerate(run.class_names)}
    columns = np.array([position[name] for name in class_names])
    if run.multi_label:
        labels = run.labels[:, columns]
    else:
        new = np.argsort(columns)
        labels = np.where(run.labels < 0, run.labels, new[run.labels])
    return replace(run, class_names=list(class_names), labels=labels, scores=run.scores[:, columns])


def _reordered_videos(run: ViewScores, order: np.ndarray) -> ViewScores:
    """Return a run whose n-th video is the `order[n]`-th one."""
    new = np.argsort(order)[run.video]
    views = np.argsort(new, kind="stable")
    return replace(
        run,
        paths=[run.paths[index] for index in order],
        failures=[run.failures[index] for index in order],
        views_expected=run.views_expected[order],
        labels=run.labels[order],
        video=new[views],
        clip=run.clip[views],
        crop=run.crop[views],
        scores=run.scores[views],
    )


def _without_failed(run: ViewScores, read: np.ndarray) -> ViewScores:
    """Return a run without the views of videos that have failed in any run."""
    kept = read[run.video]
    return replace(run, video=run.video[kept], clip=run.clip[kept], crop=run.crop[kept], scores=run.scores[kept])


def _same_views(runs: Sequence[ViewScores]) -> bool:
    first = runs[0]
    return all(
        run.clip_placement == first.clip_placement
        and len(run.video) == len(first.video)
        and np.array_equal([run.video, run.clip, run.crop], [first.video, first.clip, first.crop])
        for run in runs[1:]
    )


def _per_video(run: ViewScores, average: Average) -> ViewScores:
    """Return a run with one view per video, the average of all."""
    videos = np.unique(run.video)
    means = run.averages(average)[videos]
    logits = np.log(np.maximum(means, TINY))
    if run.multi_label:
        logits -= np.log(np.maximum(1 - means, TINY))
    zeros = np.zeros(len(videos), dtype=np.int64)
    ones = np.ones(len(run.paths), dtype=np.int64)
    return replace(run, clip_placement=None, views_expected=ones, video=videos, clip=zeros, crop=zeros, scores=logits)
