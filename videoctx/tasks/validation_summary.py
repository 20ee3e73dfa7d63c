"""ValidationSummary: one line for people about `Trainer.validate`."""

from typing import TYPE_CHECKING, Any

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from videoctx.evaluation.accuracy import Accuracy
from videoctx.evaluation.controls import controls
from videoctx.evaluation.video_map import MeanAveragePrecision
from videoctx.tasks.context_off import blocks_switched_off
from videoctx.tasks.task_data import task_data

if TYPE_CHECKING:
    from videoctx.tasks.classifier import VideoClassifier


class ValidationSummary(Callback):
    """Prints the result of a validation on its own. In training, loggers and the progress bar show it."""

    def __init__(self, task: "VideoClassifier") -> None:
        self.task = task

    def on_validation_end(self, trainer: Trainer, *_: Any) -> None:
        result = self.task.val_result
        if trainer.state.fn == TrainerFn.VALIDATING and trainer.is_global_zero and result is not None:
            data = task_data(trainer)
            found = controls({"data": data.card("val") if data else {}, "context_off": blocks_switched_off(trainer)})
            print("".join(f"control: {name}; " for name in found) + described(result))


def described(result: Accuracy | MeanAveragePrecision) -> str:
    """Return the counts and metrics of a validation in one line."""
    if isinstance(result, MeanAveragePrecision):
        return f"{result.num_videos} videos, {result.num_failed} failed: mAP {result.video_map:.2%}"
    top5 = "" if result.video_top5 is None else f", top-5 {result.video_top5:.2%}"
    return (
        f"{result.num_videos} videos, {result.num_views} views, {result.num_failed} failed:"
        f" clip top-1 {result.clip_top1:.2%}, video top-1 {result.video_top1:.2%}{top5}"
    )
