"""What is trained, and how."""

from videoctx.tasks.classifier import VideoClassifier
from videoctx.tasks.schedules import WarmupCosine, WarmupSteps

__all__ = ["VideoClassifier", "WarmupCosine", "WarmupSteps"]
