"""Scores of views, and what is computed from them: metrics, intervals, comparisons and the report."""

from videoctx.evaluation.accuracy import Accuracy, VideoAccuracy

__all__ = ["Accuracy", "VideoAccuracy"]
