"""The table of the classes in the report: how many videos each has, and how well it is recognized."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from videoctx.evaluation.evaluation_result import ClassResult, EvaluationResult


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassTable:
    """What the template needs.

    Args:
        measures: the heading and the meaning of each measure.
        rows: a class, its measures, and the same as text.
        means: of the measures over the classes, as text.
    """

    measures: Sequence[tuple[str, str]]
    rows: Sequence[tuple[ClassResult, Sequence[tuple[float | None, str]]]]
    means: Sequence[str]


def class_table(result: EvaluationResult) -> ClassTable:
    """Return the measures of every class, and their means.

    A mean is over the classes that have a video or were predicted; a measure that is not defined counts as 0, as in
    torchmetrics. That of the recall, which is the mean class accuracy, is over the classes that have a video.
    """
    found = result.per_class
    if result.view_scores.multi_label:
        measures = [("AP", "average precision")]
        values = [[one.value] for one in found]
        means = [_percent(result.estimates["video_map"].value)]
    else:
        measures = [
            ("recall", "correct / videos of the class, its accuracy"),
            ("precision", "correct / videos predicted as the class"),
            ("F1", "harmonic mean of precision and recall"),
        ]
        values = [[one.value, one.precision, one.f1] for one in found]
        occurring = [one for one in found if one.f1 is not None]
        means = [_percent(result.estimates["video_mean_class"].value)]
        means += [
            _percent(fmean(getattr(one, name) or 0.0 for one in occurring) if occurring else None)
            for name in ("precision", "f1")
        ]
    rows = [(one, [(value, _percent(value)) for value in of_one]) for one, of_one in zip(found, values, strict=True)]
    return ClassTable(measures=measures, rows=rows, means=means)


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"
