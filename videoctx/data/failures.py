"""Training videos that cannot be read: they are counted and logged, and too many of them end the run."""

import logging

from videoctx.batch import ClipBatch, Failure
from videoctx.user_error import UserError

logger = logging.getLogger(__name__)

MOST_LISTED = 5  # failures in the error message


class TooManyFailuresError(UserError):
    """More training videos could not be read than `train.max_failed_fraction` accepts."""


class TrainingFailures:
    """The training videos of this rank that could not be read.

    Args:
        max_failed_fraction: Fraction of the videos that may fail, from 0 to 1.
    """

    def __init__(self, max_failed_fraction: float) -> None:
        self.max_failed_fraction = max_failed_fraction
        self.by_row: dict[int, Failure] = {}

    def count(self, batch: ClipBatch, *, num_videos: int) -> None:
        """Count the failures of a batch and log those that are new.

        Args:
            num_videos: Number of this rank's training videos per epoch.

        Raises:
            TooManyFailuresError: The fraction of failed videos exceeds `max_failed_fraction`.
        """
        for position, failure in batch.failures.items():
            row = batch.rows[position]
            if row not in self.by_row:
                self.by_row[row] = failure
                logger.warning("left out of training: %s: %s", failure.path, failure.reason)
        if len(self.by_row) > self.max_failed_fraction * num_videos:
            first = list(self.by_row.values())[:MOST_LISTED]
            listed = "; ".join(f"{failure.path}: {failure.reason}" for failure in first)
            raise TooManyFailuresError(
                f"{len(self.by_row)} of {num_videos} training videos cannot be read, more than max_failed_fraction"
                f" {self.max_failed_fraction:g} accepts: {listed}"
            )
