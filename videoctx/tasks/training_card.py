"""TrainingCard: a training states in a file what it was made of."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.pytorch import Callback, Trainer

from videoctx.evaluation.card import make_training_card, write_card
from videoctx.evaluation.run_folders import TRAINING_CARD_FILE
from videoctx.tasks.task_data import task_data

if TYPE_CHECKING:
    from videoctx.tasks.classifier import VideoClassifier


class TrainingCard(Callback):
    """Writes `training_card.json` (`videoctx.evaluation.card`) to the logger's folder, if there is a logger."""

    def __init__(self, task: "VideoClassifier") -> None:
        self.task = task

    def on_train_start(self, trainer: Trainer, *_: Any) -> None:
        if not trainer.loggers:  # `log_dir` would be the working directory
            return
        folder = trainer.log_dir  # a collective call: every rank makes it
        if folder is None or not trainer.is_global_zero:
            return
        data = task_data(trainer)
        card = make_training_card(
            data=data.card("train") if data else {},
            num_ranks=trainer.world_size,
            num_nodes=trainer.num_nodes,
            checkpoint=str(trainer.ckpt_path) if trainer.ckpt_path else self.task.weights,
            seed=self.task.seed,
            device=self.task.device,
        )
        Path(folder).mkdir(parents=True, exist_ok=True)
        write_card(card, Path(folder) / TRAINING_CARD_FILE)
