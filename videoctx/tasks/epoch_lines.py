"""EpochLines: a training prints what it is going to do, and a line per epoch."""

import time
from datetime import timedelta
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch import nn

from videoctx.batch import ClipBatch
from videoctx.evaluation.accuracy import Accuracy
from videoctx.tasks.learning_rate import step_size
from videoctx.tasks.training_loss import TrainingLoss


class EpochLines(Callback):
    """Prints the size of the network and of the training when it starts, and the metrics of each epoch when it ends.

        ResNet3D, 1.46 M parameters; 14 epochs of 20 steps of 16 clips, 32-true on cpu
        epoch 3/14: train loss 1.804, clip top-1 28.8%; val loss 1.622, video top-1 37.5%; 46.1 clips/s; 0:01:20 left

    Loss and accuracy of a training are those of the clips as they were trained on, mixed or augmented, with the weights
    of each step. The clips per second are over all ranks, without validation. Rank zero prints.
    """

    def __init__(self) -> None:
        self._loss = TrainingLoss()
        self._begin()

    def _begin(self) -> None:
        self._loss.reset()
        self._seconds, self._mark = 0.0, time.perf_counter()
        self._is_validated = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._start = time.perf_counter()
        self._done_before = trainer.current_epoch, trainer.global_step
        self._begin()  # a run that is resumed within an epoch does not start one
        if trainer.is_global_zero:
            print(f"{describe_network(getattr(pl_module, 'net', pl_module))}; {describe_training(trainer)}", flush=True)

    def on_train_epoch_start(self, *_: Any) -> None:
        self._begin()

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,  # noqa: ARG002
        outputs: Any,
        batch: ClipBatch,
        batch_idx: int,  # noqa: ARG002
    ) -> None:
        self._loss.add_outputs(trainer, outputs, num_clips=len(batch.clips))
        now = time.perf_counter()
        self._seconds += now - self._mark
        self._mark = now

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        self._mark = time.perf_counter()
        self._is_validated = trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        loss = self._loss.mean(trainer)
        if not trainer.is_global_zero:
            return
        epoch = trainer.current_epoch + 1
        most = trainer.max_epochs
        of = f"/{most}" if most is not None and most > 0 else ""
        rate = self._loss.num_clips * trainer.world_size / self._seconds if self._seconds else 0.0
        parts = [
            self._trained(trainer, loss),
            self._validated(trainer, pl_module),
            f"{rate:.3g} clips/s",
            self._left(trainer),
        ]
        print(f"epoch {epoch}{of}: {'; '.join(part for part in parts if part)}", flush=True)

    def _trained(self, trainer: Trainer, loss: float | None) -> str:
        accuracy = trainer.callback_metrics.get("train/clip_top1")
        top1 = "" if accuracy is None else f", clip top-1 {float(accuracy):.1%}"
        return "no training clip could be read" if loss is None else f"train loss {loss:.3f}{top1}"

    def _validated(self, trainer: Trainer, pl_module: LightningModule) -> str:
        result = getattr(pl_module, "val_result", None)
        loss = trainer.callback_metrics.get("val/loss")
        if not self._is_validated or result is None or loss is None:
            return ""
        is_single = isinstance(result, Accuracy)
        metric = f"video top-1 {result.video_top1:.1%}" if is_single else f"mAP {result.video_map:.1%}"
        return f"val loss {float(loss):.3f}, {metric}"

    def _left(self, trainer: Trainer) -> str:
        """Return the time until the training ends, if epochs or steps say when that is."""
        epochs, steps = self._done_before
        shares = [
            (done - before) / (most - before)
            for done, before, most in (
                (trainer.current_epoch + 1, epochs, trainer.max_epochs),
                (trainer.global_step, steps, trainer.max_steps),
            )
            if most is not None and most > before
        ]
        if not shares or not (share := max(shares)):
            return ""
        seconds = time.perf_counter() - self._start
        if share >= 1 or trainer.should_stop:
            return f"took {timedelta(seconds=round(seconds))}"
        return f"{timedelta(seconds=round(seconds * (1 - share) / share))} left"


def describe_network(net: nn.Module) -> str:
    """Return the class of a network and the number of its parameters.

    >>> describe_network(nn.Linear(1000, 100))
    'Linear, 0.10 M parameters'
    """
    parameters = list(net.parameters())
    total = sum(parameter.numel() for parameter in parameters)
    trained = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
    of_them = "" if trained == total else f", {trained / 1e6:.2f} M of them trained"
    return f"{type(net).__name__}, {total / 1e6:.2f} M parameters{of_them}"


def describe_training(trainer: Trainer) -> str:
    """Return the number of epochs, steps and clips of a training, and the device."""
    device = trainer.strategy.root_device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    most = trainer.max_epochs
    if most is not None and most > 0:
        epochs = "1 epoch" if most == 1 else f"{most} epochs"
    else:
        epochs = f"{trainer.max_steps} steps" if trainer.max_steps > 0 else "no last epoch"
    batches = trainer.num_training_batches
    of_steps = ""
    reloads: int = trainer.reload_dataloaders_every_n_epochs  # type: ignore[attr-defined]  # a connector sets it
    if not reloads and batches < float("inf"):  # all epochs are of one length
        of_steps = f" of {-(-int(batches) // trainer.accumulate_grad_batches)} steps"
    step = step_size(trainer)
    clips = f" of {step.num_clips} clips" if step else ""
    if step and step.num_clips != step.clips_per_device:
        clips += f" ({str(step).partition('(')[2]}"
    return f"{epochs}{of_steps}{clips}, {trainer.precision} on {name}"
