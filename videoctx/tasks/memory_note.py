"""MemoryNote: an error while clips are processed names how many there were."""

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import RunningStage

from videoctx.tasks.task_data import task_data


class MemoryNote(Callback):
    """Adds a note to an error that a lack of memory may have caused: how many clips of which size were to be processed.

    The command line prints it with the settings that need less (`videoctx.cli.memory`).
    """

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        if not isinstance(exception, RuntimeError | MemoryError):
            return
        if trainer.state.stage != RunningStage.TRAINING:
            exception.add_note(f"model.views_per_forward is {getattr(pl_module, 'views_per_forward', None)}")
        elif (data := task_data(trainer)) is not None:
            size = " × ".join(map(str, data.train_clip_size))
            clips = "1 clip" if data.clips_per_device == 1 else f"{data.clips_per_device} clips"
            exception.add_note(f"a batch of a device is {clips} of {size}")
