"""Trains a linear probe on the training split of a file of features, and scores its test split."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from videoctx.evaluation.feature_file import FeatureTable
from videoctx.evaluation.linear_probe import Probe, choose_by_cross_validation, choose_on_validation, fit_probe
from videoctx.evaluation.view_scores import ViewScores, stored_scores
from videoctx.first_few import first_few

SEPARATOR = "|"  # between the labels of a video that has several


@dataclass(frozen=True)
class ProbedFeatures:
    """A probe and its test.

    Attributes:
        probe: fitted on the whole training split.
        scores: of the test split, where a video that could not be read has failed.
        start_frames: (S,) of the views.
        train_accuracy: on the vectors it was fitted on.
        notes: what a user should know, one line each.
    """

    probe: Probe
    scores: ViewScores
    start_frames: np.ndarray
    train_accuracy: float
    notes: list[str]


def probe_features(
    table: FeatureTable, *, train: str = "train", val: str = "val", test: str = "test", penalty: float | None = None
) -> ProbedFeatures:
    """Fit a probe on one split, and score another.

    Args:
        train: the split to fit on.
        val: the split that the penalty is chosen on. Without such a split, it is chosen by cross-validation on the
            training split, which divides no group.
        test: the split to score.
        penalty: the weight of the L2 penalty. None: it is chosen.

    Raises:
        ValueError: there is no such split, a video has no label or several, or there is one class.
    """
    _check_splits(table, (train, test))
    class_names = _class_names(table, [split for split in (train, val, test) if split in table.columns["split"]])
    notes: list[str] = []
    vectors, labels, rows = _vectors(table, train, class_names, notes)
    if not len(vectors):
        raise ValueError(f"no video of split {train!r} could be read")
    if absent := [name for index, name in enumerate(class_names) if index not in labels]:
        notes.append(f"{len(absent)} classes have no training video ({first_few(absent)})")
    if len(set(labels.tolist())) < 2:
        raise ValueError(f"all training videos show {class_names[labels[0]]!r}; expected two classes or more")
    if penalty is None:
        penalty, note = _chosen(table, (vectors, labels, rows), val, class_names)
        notes.append(note)
    probe = fit_probe(vectors, labels, len(class_names), penalty=penalty)
    accuracy = float((probe.log_probabilities(vectors).argmax(axis=1) == labels).mean())
    scores, start_frames = _scored(table, test, probe, class_names)
    return ProbedFeatures(probe, scores, start_frames, accuracy, notes)


def _check_splits(table: FeatureTable, splits: Sequence[str]) -> None:
    known = sorted({split for split in table.columns["split"] if split})
    for split in splits:
        if split not in known:
            found = f"its splits are {', '.join(known)}" if known else "it has no splits, which a manifest would give"
            raise ValueError(f"no video of split {split!r}; {found}")


def _class_names(table: FeatureTable, splits: Sequence[str]) -> list[str]:
    chosen = np.isin(table.columns["split"].astype(str), splits)
    labels, paths = table.columns["label"][chosen], table.columns["path"][chosen]
    without = sorted({path for path, label in zip(paths, labels, strict=True) if label is None})
    if without:
        raise ValueError(f"{len(without)} videos have no label ({first_few(without)}); expected one each")
    if several := sorted({label for label in labels if SEPARATOR in label}):
        raise ValueError(f"videos have several labels ({first_few(several)}); a probe takes one per video")
    return sorted(set(labels))


def _vectors(
    table: FeatureTable, split: str, class_names: Sequence[str], notes: list[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the vectors of a split (N, C), their class indices (N,), and their positions in the table (N,)."""
    rows = np.flatnonzero(table.columns["split"] == split)
    failed = [table.columns["failure"][row] is not None for row in rows]
    if any(failed):
        left_out = [table.columns["path"][row] for row in rows[failed]]
        notes.append(
            f"{len(left_out)} videos of split {split!r} could not be read, and are left out ({first_few(left_out)})"
        )
    rows = rows[~np.array(failed, dtype=bool)]
    index_of = {name: index for index, name in enumerate(class_names)}
    labels = np.array([index_of[table.columns["label"][row]] for row in rows], dtype=np.int64)
    return table.vectors[rows].astype(np.float64), labels, rows


def _chosen(
    table: FeatureTable,
    train: tuple[np.ndarray, np.ndarray, np.ndarray],
    val: str,
    class_names: Sequence[str],
) -> tuple[float, str]:
    """Return the penalty, and how it was chosen."""
    vectors, labels, rows = train
    if val in table.columns["split"]:
        val_vectors, val_labels, _ = _vectors(table, val, class_names, [])
        if len(val_vectors):
            choice = choose_on_validation((vectors, labels), (val_vectors, val_labels), len(class_names))
            return choice.penalty, f"penalty {choice.penalty:.1e}, chosen on {val!r}: accuracy {choice.accuracy:.1%}"
    groups = [table.columns["group"][row] or table.columns["path"][row] for row in rows]
    kind = "groups" if any(table.columns["group"][row] for row in rows) else "files, as no column groups recordings"
    choice = choose_by_cross_validation(vectors, labels, groups, len(class_names))
    return choice.penalty, (
        f"penalty {choice.penalty:.1e}, chosen by cross-validation on the training split, over {len(set(groups))}"
        f" {kind}: accuracy {choice.accuracy:.1%}"
    )


def _scored(table: FeatureTable, split: str, probe: Probe, class_names: Sequence[str]) -> tuple[ViewScores, np.ndarray]:
    columns = {name: column[table.columns["split"] == split] for name, column in table.columns.items()}
    vectors = table.vectors[table.columns["split"] == split]
    _, firsts, video = np.unique(columns["row"], return_index=True, return_inverse=True)
    read = np.array([failure is None for failure in columns["failure"]], dtype=bool)
    counts = np.bincount(video[read], minlength=len(firsts))
    index_of = {name: index for index, name in enumerate(class_names)}
    logits = torch.from_numpy(probe.log_probabilities(vectors[read]))
    scores = ViewScores(
        class_names=list(class_names),
        clip_placement=_clip_placement(table) if (columns["clip"] >= 0).any() else None,
        paths=[columns["path"][first] for first in firsts],
        failures=[columns["failure"][first] for first in firsts],
        views_expected=np.where(counts, counts, counts.max(initial=1)),
        labels=np.array([index_of[columns["label"][first]] for first in firsts], dtype=np.int64),
        video=video[read].astype(np.int64),
        clip=np.maximum(columns["clip"][read], 0),
        crop=np.maximum(columns["crop"][read], 0),
        scores=stored_scores(logits, multi_label=False).numpy(),
    )
    return scores, np.maximum(columns["start_frame"][read], 0)


def _clip_placement(table: FeatureTable) -> str | None:
    stored = table.metadata.get("clip_placement")
    return stored if isinstance(stored, str) else None
