"""The reliability diagram of the report: accuracy in bins of confidence."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from markupsafe import Markup

from videoctx.evaluation.evaluation_result import EvaluationResult
from videoctx.evaluation.metrics import calibration_error, confidence_bins
from videoctx.evaluation.report.svg_charts import reliability_chart

NUM_BINS = 15


class Bin(NamedTuple):
    """A bin of confidence that holds a video.

    Args:
        low, high: the ends of the bin.
        confidence: the mean confidence of its videos.
        accuracy: the share of its videos whose prediction is correct.
        num_videos: in the bin.
    """

    low: float
    high: float
    confidence: float
    accuracy: float
    num_videos: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReliabilitySection:
    """What the template needs.

    Args:
        error: the expected calibration error.
        bins: from the lowest confidence to the highest.
        chart: the diagram.
    """

    error: float
    bins: list[Bin]
    chart: Markup


def reliability_section(result: EvaluationResult) -> ReliabilitySection | None:
    """Return the accuracy in the bins of the calibration error. None: no video has a confidence."""
    confidence, correct = result.video_scores.max(axis=1), result.ranks == 0
    evaluated = ~np.isnan(confidence)
    if not evaluated.any():
        return None
    error = float(calibration_error(confidence, correct, np.ones((1, len(correct))), num_bins=NUM_BINS)[0])
    confidence, correct = confidence[evaluated], correct[evaluated]
    indices = confidence_bins(confidence, NUM_BINS)
    bins = []
    for index in np.unique(indices):
        inside = indices == index
        means = float(confidence[inside].mean()), float(correct[inside].mean())
        bins.append(Bin(index / NUM_BINS, (index + 1) / NUM_BINS, *means, int(inside.sum())))
    label = f"Accuracy in {len(bins)} bins of confidence; expected calibration error {error:.2%}"
    chart = reliability_chart([one[:4] for one in bins], label=label)
    return ReliabilitySection(error=error, bins=bins, chart=chart)
