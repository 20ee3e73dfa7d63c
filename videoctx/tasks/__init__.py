"""What is trained, and how."""

from videoctx.tasks.classifier import VideoClassifier
from videoctx.tasks.frozen_batch_norm import FrozenBatchNorm
from videoctx.tasks.moving_average import MovingAverage
from videoctx.tasks.precise_batch_norm import PreciseBatchNorm
from videoctx.tasks.schedules import WarmupCosine, WarmupSteps

__all__ = [
    "FrozenBatchNorm",
    "MovingAverage",
    "PreciseBatchNorm",
    "VideoClassifier",
    "WarmupCosine",
    "WarmupSteps",
]
