"""The report's chart of accuracy over the number of views."""

from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from videoctx.evaluation.bootstrap import Estimate, estimates
from videoctx.evaluation.evaluation_result import EvaluationResult, percent
from videoctx.evaluation.metrics import Weights, mean_average_precision, share
from videoctx.evaluation.report.svg_charts import Series, line_chart
from videoctx.evaluation.view_curve import all_views
from videoctx.evaluation.view_subset import choose_views


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewsSection:
    """What the template needs.

    Args:
        metric: the name of the metric.
        chart: the metric over the number of views.
        rows: views, `exact` or `nearest`, and the metric with its interval.
        all_exact: whether all clips are those of a test with as many.
        num_missing: the number of subsets that cannot be evaluated.
    """

    metric: str
    chart: Markup
    rows: list[tuple[str, str, str]]
    all_exact: bool
    num_missing: int


def views_section(result: EvaluationResult) -> ViewsSection | None:
    """Return the metric of videos over the number of views. None: all videos have failed."""
    view_scores = result.view_scores
    wanted = all_views(view_scores)
    # Which clips a test with fewer clips has is known only with their placement.
    known = [v for v in wanted if v.num_clips == view_scores.shape[0] or view_scores.clip_placement is not None]
    subsets = [choose_views(view_scores, views) for views in known]
    found = [(subset, _video_metric(EvaluationResult(subset.scores, result.average))) for subset in subsets]
    if not found:
        return None
    metric = "mAP" if view_scores.multi_label else "video top-1"
    series = []
    for num_crops in sorted({subset.views.num_crops for subset in subsets}):
        line = [(subset, estimate) for subset, estimate in found if subset.views.num_crops == num_crops]
        series.append(
            Series(
                f"{num_crops} crop{'s' * (num_crops > 1)} per clip",
                [(subset.views.num_clips * num_crops, estimate.value) for subset, estimate in line],
                [estimate.interval for _, estimate in line],
                [not subset.exact for subset, _ in line],
            )
        )
    (first, least), (last, most) = found[0], found[-1]
    label = f"{metric} over views per video: {least.value:.2%} with {first.views}, {most.value:.2%} with {last.views}"
    return ViewsSection(
        metric=metric,
        chart=line_chart(series, label=label, x_title="views per video", y_title=metric, percent=True, markers=True),
        rows=[(str(one.views), "exact" if one.exact else "nearest", percent(estimate)) for one, estimate in found],
        all_exact=all(subset.exact for subset in subsets),
        num_missing=len(wanted) - len(found),
    )


def _video_metric(result: EvaluationResult) -> Estimate:
    """Return the one metric that the chart shows; computing the others takes longer."""
    view_scores = result.view_scores

    def metrics(weights: Weights) -> dict[str, np.ndarray]:
        if view_scores.multi_label:
            return {"video_map": mean_average_precision(result.video_scores, view_scores.labels, weights)}
        return {"video_top1": share(result.ranks == 0, np.ones(len(view_scores.paths)), weights)}

    (estimate,) = estimates(metrics, len(view_scores.paths), bounds=(0, 1)).values()
    return estimate
