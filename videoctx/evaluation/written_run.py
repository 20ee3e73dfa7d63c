"""Writes scores that no network has just computed as the folder of a tested run: of a probe, or of fused runs."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from videoctx.atomic_write import atomic_write
from videoctx.evaluation.card import make_card, write_card
from videoctx.evaluation.controls import CARD_FILE
from videoctx.evaluation.evaluation_result import EvaluationResult
from videoctx.evaluation.result_files import write_result_files
from videoctx.evaluation.run_folders import SCORES_FILE
from videoctx.evaluation.scores import score_schema
from videoctx.evaluation.view_scores import ViewScores


def write_run(
    view_scores: ViewScores,
    folder: Path,
    *,
    network: str,
    num_parameters: int,
    checkpoint: str | None = None,
    data: Mapping[str, object] | None = None,
    start_frames: np.ndarray | None = None,
) -> EvaluationResult:
    """Write scores, results and card, which `results`, `compare`, `score` and `report` read.

    Args:
        folder: is made.
        network: its name, for the card.
        num_parameters: of the network.
        checkpoint: the file that the scores are made of, for the card.
        data: the card of the data. None: not known.
        start_frames: (S,) the first frame of each view. None: 0.

    Raises:
        FileExistsError: the folder exists.
    """
    folder.mkdir(parents=True)
    with atomic_write(folder / SCORES_FILE) as part:
        pq.write_table(_table(view_scores, start_frames), part, compression="zstd")
    result = EvaluationResult(view_scores)
    write_result_files(result, folder, checkpoint=checkpoint, num_parameters=num_parameters)
    card = make_card(
        data=data or {},
        network=network,
        num_videos=len(view_scores.paths),
        num_failed=int(view_scores.failed.sum()),
        checkpoint=checkpoint,
        seed=0,
        device=torch.device("cpu"),
    )
    write_card(card, folder / CARD_FILE)
    return result


def _table(view_scores: ViewScores, start_frames: np.ndarray | None) -> pa.Table:
    """Return the rows of all views and of all failed videos, ordered by video, clip and crop."""
    failed = np.flatnonzero(view_scores.failed)
    owners = np.concatenate([view_scores.video, failed])
    order = np.argsort(owners, kind="stable")
    rows = owners[order]
    none = [None] * len(failed)
    starts = [0] * len(view_scores.video) if start_frames is None else start_frames.tolist()
    columns = {
        "clip": view_scores.clip.tolist() + none,
        "start_frame": starts + none,
        "crop": view_scores.crop.tolist() + none,
        "scores": [*view_scores.scores, *none],
    }
    label = "labels" if view_scores.multi_label else "label"
    labels = view_scores.labels
    schema = score_schema(
        view_scores.class_names, clip_placement=view_scores.clip_placement, multi_label=view_scores.multi_label
    )
    return pa.table(
        {
            "row": rows,
            "video": [view_scores.paths[row] for row in rows],
            label: [np.flatnonzero(labels[row]).tolist() if labels.ndim == 2 else int(labels[row]) for row in rows],
            **{name: [values[position] for position in order] for name, values in columns.items()},
            "views_expected": view_scores.views_expected[rows],
            "failure": [view_scores.failures[row] for row in rows],
        },
        schema=schema,
    )
