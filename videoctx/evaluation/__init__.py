"""Evaluation: accuracy per clip and per video, and the scores behind it."""

from videoctx.evaluation.accuracy import Accuracy, VideoAccuracy

__all__ = ["Accuracy", "VideoAccuracy"]
