"""StartingWeights: a run starts from the weights of another checkpoint."""

from typing import TYPE_CHECKING

from lightning.pytorch import Callback, LightningModule, Trainer

from videoctx.models.checkpoints import read_checkpoint
from videoctx.models.load_weights import load_weights

if TYPE_CHECKING:
    from videoctx.tasks.classifier import VideoClassifier


class StartingWeights(Callback):
    """Loads the task's `weights` into its network, unless the run resumes from a checkpoint of its own.

    In training, the classifier of other classes and blocks that the checkpoint lacks keep their initial weights.

    Raises:
        ValueError: The checkpoint does not fit the network. The message names it.
    """

    def __init__(self, task: "VideoClassifier") -> None:
        self.task = task

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:  # noqa: ARG002
        if not self.task.weights or trainer.ckpt_path:
            return
        checkpoint = read_checkpoint(self.task.weights)
        has_same_classes = checkpoint.num_classes == len(self.task.class_names)
        is_trained = stage == "fit"
        try:
            report = load_weights(
                self.task.net,
                checkpoint.weights_for(self.task.net),
                allow_new_head=is_trained and not has_same_classes,
                allow_new_blocks=is_trained,
            )
        except ValueError as error:
            raise ValueError(f"{self.task.weights}: {error}") from error
        if trainer.is_global_zero:
            print(f"{self.task.weights}: weights of {checkpoint.format}; not loaded: {report}")
