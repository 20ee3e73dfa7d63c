"""The task that trains and evaluates a network, its learning-rate schedules, and callbacks for the Trainer."""

from videoctx.tasks.classifier import VideoClassifier
from videoctx.tasks.context_off import ContextOff
from videoctx.tasks.ema import EMA
from videoctx.tasks.frozen_batch_norm import FrozenBatchNorm
from videoctx.tasks.multigrid import MultigridSteps
from videoctx.tasks.precise_batch_norm import PreciseBatchNorm
from videoctx.tasks.schedules import WarmupCosine, WarmupSteps
from videoctx.tasks.split_batch_norm import SplitBatchNorm

__all__ = [
    "EMA",
    "ContextOff",
    "FrozenBatchNorm",
    "MultigridSteps",
    "PreciseBatchNorm",
    "SplitBatchNorm",
    "VideoClassifier",
    "WarmupCosine",
    "WarmupSteps",
]
