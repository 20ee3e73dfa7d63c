"""One page that shows what a tested run is worth: HTML with all its charts and pictures, which needs no network.

It is made of `report.html.j2` with Jinja (https://jinja.palletsprojects.com), which escapes whatever a class or file is
called; a policy inside the page lets its own script run and no other. Every number is made of the scores.
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from videoctx.evaluation import training_curves
from videoctx.evaluation.bootstrap import Estimate, estimates
from videoctx.evaluation.evaluation_result import EvaluationResult, percent
from videoctx.evaluation.metrics import (
    Weights,
    average_precisions,
    calibration_error,
    confusion,
    mean_average_precision,
    share,
)
from videoctx.evaluation.most_confident_errors import Mistake
from videoctx.evaluation.result_files import RESULT_FILE
from videoctx.evaluation.scores import SCORES_FILE, ScoreError, read_scores
from videoctx.evaluation.svg_charts import Series, line_chart, reliability_chart
from videoctx.evaluation.training_curves import TrainingLog
from videoctx.evaluation.view_curve import all_views
from videoctx.evaluation.view_scores import ViewScores
from videoctx.evaluation.view_subset import choose_views

TEMPLATE = Path(__file__).with_name("report.html.j2")
SCRIPT = Path(__file__).with_name("report.js")
MOST_CONFUSIONS = 30
MOST_FAILURES = 200
NUM_BINS = 15
SAME = 1e-9  # a result is made of the scores, to the last digit but for the order of sums
SHARES = (0.1, 0.25, 0.5, 0.75, 1.0)  # of a class: upper ends of the matrix' shades
HEADINGS = {
    "clip_top1": ("clip top-1", "every view for itself"),
    "clip_top5": ("clip top-5", "every view for itself"),
    "video_top1": ("video top-1", "mean over a video's views"),
    "video_top5": ("video top-5", "mean over a video's views"),
    "video_mean_class": ("mean class accuracy", "every class counts the same"),
    "video_ece": ("calibration error", "of the confidence; less is better"),
    "video_map": ("mAP", "mean average precision of the classes"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MistakeImage:
    """What the network saw of a mistake, or why it cannot be shown."""

    jpeg: bytes = b""
    width: int = 0
    height: int = 0
    frames: Sequence[int] = ()
    reason: str = ""

    @property
    def base64(self) -> str:
        return base64.b64encode(self.jpeg).decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """The log of the training, or why there are no curves."""

    path: str = ""
    log: TrainingLog | None = None
    reason: str = ""


def read_tested(folder: Path) -> ViewScores:
    """The scores of a run of `videoctx test`, also those for which the network gave no numbers.

    Raises:
        ScoreError: there are none, `read_scores` refuses them, or they have no labels.
    """
    if not (folder / SCORES_FILE).is_file():
        raise ScoreError(f"{folder}: no {SCORES_FILE} in there; expected the folder of a run of `videoctx test`")
    stored = read_scores(folder / SCORES_FILE)
    if not stored.multi_label and (stored.labels < 0).any():
        raise ScoreError(
            f"{folder}: {(stored.labels < 0).sum()} videos have no label; expected a run of `videoctx test`"
        )
    return stored


def read_object(path: Path) -> dict:
    """What a run's JSON file says; nothing where there is none.

    Raises:
        ScoreError: it is none of a run's, or a truncated one.
    """
    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ScoreError(f"{path}: not what `videoctx test` writes, or truncated: {error}") from error
    if not isinstance(found, dict):
        raise ScoreError(f"{path}: not what `videoctx test` writes; expected an object, got {type(found).__name__}")
    return found


def render_report(
    evaluation_result: EvaluationResult,
    *,
    run: Path,
    result: Mapping,
    card: Mapping,
    training: Training,
    mistakes: Sequence[tuple[Mistake, MistakeImage]],
) -> str:
    """The page.

    Args:
        result: what the run wrote; where it is not what the scores give, the page says so.
        mistakes: the surest first.
    """
    stored = evaluation_result.view_scores
    script = SCRIPT.read_text(encoding="utf-8")
    environment = Environment(
        loader=FileSystemLoader(TEMPLATE.parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: printable(value) if type(value) is str else value,
    )
    return environment.get_template(TEMPLATE.name).render(
        title=f"Test of {run.resolve().name}",
        folder=str(run),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        multi_label=stored.multi_label,
        num_videos=len(stored.paths),
        num_parameters=result.get("num_parameters"),
        warnings=_warnings(evaluation_result, result),
        headline=[(*HEADINGS[name], percent(found)) for name, found in evaluation_result.estimates.items()],
        card=_rows_of_card(card),
        training=training,
        training_charts=_training_charts(training.log.curves) if training.log else [],
        classes=_classes(evaluation_result),
        confusions=None if stored.multi_label else _confusions(evaluation_result),
        views=_views(evaluation_result),
        reliability=None if stored.multi_label else _reliability(evaluation_result),
        mistakes=mistakes,
        failures=[(path, why) for path, why in zip(stored.paths, stored.failures, strict=True) if why is not None],
        most_failures=MOST_FAILURES,
    )


def printable(text: str) -> str:
    """Text that UTF-8 can write, and that shows its control characters instead of obeying them."""
    text = text.encode("utf-8", "backslashreplace").decode()
    return "".join(c if c.isprintable() or c in " \n\t" or ord(c) > 0x9F else f"\\x{ord(c):02x}" for c in text)


def _warnings(evaluation_result: EvaluationResult, result: Mapping) -> list[str]:
    stored = evaluation_result.view_scores
    warnings = []
    if num_failed := int(stored.failed.sum()):
        warnings.append(f"{num_failed} of {len(stored.paths)} videos could not be read; they count as wrong.")
    if num_undecided := evaluation_result.num_undecided:
        views = int((~stored.finite).sum())
        warnings.append(
            f"The network gave no numbers (NaN) for {views} views of {num_undecided} videos; these videos count as"
            f" wrong. The first is {stored.paths[int(stored.video[~stored.finite][0])]}."
        )
    other = [
        f"{HEADINGS[name][0]} {result[name]:.4%}"
        for name, found in evaluation_result.estimates.items()
        if isinstance(result.get(name), float) and abs(result[name] - found.value) > SAME
    ]
    if other:
        warnings.append(f"{RESULT_FILE} says otherwise: {', '.join(other)}. It is not of these scores.")
    return warnings


def _rows_of_card(card: Mapping, prefix: str = "") -> list[tuple[str, str]]:
    """Nested fields in a row, with dots in their names."""
    rows = []
    for name, value in card.items():
        if isinstance(value, Mapping):
            rows += _rows_of_card(value, f"{prefix}{name}.")
        else:
            rows.append(
                (prefix + name, "–" if value is None else value if isinstance(value, str) else json.dumps(value))
            )
    return rows


def _training_charts(curves: Mapping[str, training_curves.Curve]) -> list[tuple[str, str]]:
    charts = []
    for title, group in training_curves.grouped(curves).items():
        series = [Series(name, curve) for name, curve in group.items()]
        said = "; ".join(f"{name} from {curve[0][1]:.4g} to {curve[-1][1]:.4g}" for name, curve in group.items())
        is_share = title in (training_curves.METRICS, training_curves.WAIT)
        label = f"{title} over training steps: {said}"
        charts.append(
            (
                title,
                line_chart(
                    series,
                    label=label,
                    x_title="step",
                    y_title=title.lower(),
                    percent=is_share,
                    markers=title == training_curves.METRICS,
                ),
            )
        )
    return charts


def _classes(evaluation_result: EvaluationResult) -> list[tuple[str, int, int | None, float | None]]:
    """Name, videos, right ones, and the share of them or the average precision; none where no video shows the class."""
    stored = evaluation_result.view_scores
    if stored.multi_label:
        counts = stored.labels.sum(axis=0).tolist()
        values = average_precisions(evaluation_result.video_scores, stored.labels, np.ones((1, len(stored.paths))))[
            0
        ].tolist()
        right = [None] * len(counts)
    else:
        table = confusion(evaluation_result.video_scores, stored.labels)
        counts, right = table.sum(axis=1).tolist(), table.diagonal().tolist()
        values = [hits / max(count, 1) for hits, count in zip(right, counts, strict=True)]
    return [
        (name, count, hits, value if count else None)
        for name, count, hits, value in zip(stored.class_names, counts, right, values, strict=True)
    ]


def _confusions(evaluation_result: EvaluationResult) -> dict[str, object]:
    """The matrix as paths of equal shade, its cells as data for the script, and the most frequent confusions."""
    names = [printable(name) for name in evaluation_result.view_scores.class_names]
    table = confusion(evaluation_result.video_scores, evaluation_result.view_scores.labels)
    if not table[:, -1].any():
        table = table[:, :-1]
    totals = table.sum(axis=1)
    cells = [(int(i), int(j), int(table[i, j])) for i, j in np.argwhere(table)]
    paths: dict[tuple[str, int], list[str]] = {}
    for i, j, count in cells:
        shade = next(index for index, end in enumerate(SHARES) if count / totals[i] <= end)
        paths.setdefault(("right" if i == j else "wrong", shade), []).append(f"M{j} {i}h1v1h-1z")
    answers = [*names, "(no answer)"]
    off = sorted((cell for cell in cells if cell[0] != cell[1]), key=lambda cell: (-cell[2], cell[0], cell[1]))
    return {
        "paths": [(kind, shade, "".join(cells)) for (kind, shade), cells in sorted(paths.items())],
        "num_rows": len(names),
        "num_columns": table.shape[1],
        "data": {"names": names, "answers": answers[: table.shape[1]], "cells": cells},
        "top": [(names[i], answers[j], count, count / totals[i], f"{i} {j}") for i, j, count in off[:MOST_CONFUSIONS]],
        "num_kinds": len(off),
        "shades": [f"up to {end:.0%}" for end in SHARES],
    }


def _views(evaluation_result: EvaluationResult) -> dict[str, object] | None:
    """The metric of videos against the number of views; none where all videos have failed."""
    stored = evaluation_result.view_scores
    found = []
    for views in all_views(stored):
        subset = choose_views(stored, views) if _can_choose(stored, views) else None
        if subset is not None:
            found.append((subset, _video_metric(EvaluationResult(subset.scores, evaluation_result.average))))
    if not found:
        return None
    metric = "mAP" if stored.multi_label else "video top-1"
    series = []
    for num_crops in sorted({subset.views.num_crops for subset, _ in found}):
        line = [(subset, estimate) for subset, estimate in found if subset.views.num_crops == num_crops]
        series.append(
            Series(
                f"{num_crops} crop{'s' * (num_crops > 1)} a clip",
                [(subset.views.num_clips * num_crops, estimate.value) for subset, estimate in line],
                [estimate.interval for _, estimate in line],
                [not subset.exact for subset, _ in line],
            )
        )
    (first, least), (last, most) = found[0], found[-1]
    label = f"{metric} against views a video: {least.value:.2%} with {first.views}, {most.value:.2%} with {last.views}"
    return {
        "metric": metric,
        "chart": line_chart(series, label=label, x_title="views a video", y_title=metric, percent=True, markers=True),
        "rows": [
            (str(subset.views), "exact" if subset.exact else "nearest", percent(value)) for subset, value in found
        ],
        "all_exact": all(subset.exact for subset, _ in found),
        "num_missing": len(all_views(stored)) - len(found),
    }


def _can_choose(stored: ViewScores, views: tuple[int, int]) -> bool:
    """Fewer clips can be had only where it is known where the clips start."""
    return views[0] == stored.shape[0] or stored.clip_placement is not None


def _video_metric(evaluation_result: EvaluationResult) -> Estimate:
    stored = evaluation_result.view_scores

    def metrics(weights: Weights) -> dict[str, np.ndarray]:
        if stored.multi_label:
            return {"video_map": mean_average_precision(evaluation_result.video_scores, stored.labels, weights)}
        return {"video_top1": share(evaluation_result.ranks == 0, np.ones(len(stored.paths)), weights)}

    (estimate,) = estimates(metrics, len(stored.paths), bounds=(0, 1)).values()
    return estimate


def _reliability(evaluation_result: EvaluationResult) -> dict[str, object] | None:
    """Accuracy in bins of confidence, those of the calibration error; none where no video has a confidence."""
    confidence, correct = evaluation_result.video_scores.max(axis=1), evaluation_result.ranks == 0
    evaluated = ~np.isnan(confidence)
    if not evaluated.any():
        return None
    error = float(calibration_error(confidence, correct, np.ones((1, len(correct))), num_bins=NUM_BINS)[0])
    confidence, correct = confidence[evaluated], correct[evaluated]
    bins = np.ceil(confidence * NUM_BINS).astype(np.int64).clip(1, NUM_BINS) - 1
    rows = [
        (
            index / NUM_BINS,
            (index + 1) / NUM_BINS,
            float(confidence[inside].mean()),
            float(correct[inside].mean()),
            int(inside.sum()),
        )
        for index in np.unique(bins)
        for inside in [bins == index]
    ]
    label = f"Accuracy in {len(rows)} bins of confidence; expected calibration error {error:.2%}"
    return {"error": error, "rows": rows, "chart": reliability_chart([row[:4] for row in rows], label=label)}
