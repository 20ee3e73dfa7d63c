"""What the data module reads from Lightning's Trainer, and the one thing that it changes there."""

import math

import torch
from lightning.pytorch import Trainer

from videoctx.data.loading.ahead import Ahead, Prepare
from videoctx.data.loading.gpu_decoding import GpuDecoding, check_gpu_decoding
from videoctx.data.loading.loader import VideoLoader
from videoctx.data.sampling.video_samplers import TrainSampler
from videoctx.data.settings import LoadingSettings

# Trainer options that multigrid training needs: its batches are its own, and epochs differ in length.
MULTIGRID_OPTIONS = {"accumulate_grad_batches": 1, "limit_train_batches": 1.0, "reload_dataloaders_every_n_epochs": 1}
AUTOCAST_DTYPES = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}  # by the Trainer's precision


def training_progress(trainer: Trainer) -> dict[str, int]:
    """Return the progress fields of `videoctx.data.resume.TrainingState`."""
    loop = trainer.fit_loop
    return {
        "epoch": loop.epoch_progress.current.ready - 1,
        "num_batches": loop.epoch_loop.batch_progress.current.processed,  # type: ignore[attr-defined]  # a base class
        "batches_per_epoch": int(loop.max_batches) if math.isfinite(loop.max_batches) else 0,
        "accumulate_grad_batches": trainer.accumulate_grad_batches,
    }


def use_device(trainer: Trainer | None, loader: VideoLoader, loading: LoadingSettings, prepare: Prepare) -> None:
    """Let a loader decode videos and prepare batches on the Trainer's device, as far as the settings ask for it.

    Raises:
        ValueError: Videos are to be decoded on a GPU, and that is not possible here.
    """
    if loading.gpu_decoding:
        device = trainer.strategy.root_device if trainer else torch.device("cpu")
        check_gpu_decoding(device)
        loader.gpu = GpuDecoding(
            loader.dataset, device, loading.gpu_decoding, deadline_seconds=loading.deadline_seconds
        )
    if trainer and loads_ahead(trainer, loading.ahead):
        loader.ahead = Ahead(trainer.strategy.root_device, prepare)


def loads_ahead(trainer: Trainer, choice: bool | None) -> bool:
    """Return whether batches are prepared in a thread: as chosen, or on a GPU."""
    return _is_on_gpu(trainer) if choice is None else choice


def clip_dtype(trainer: Trainer | None) -> torch.dtype:
    """Return the type of training clips: on a GPU that of autocast, to which the network would bring them anyway."""
    if trainer is None or not _is_on_gpu(trainer):
        return torch.float32
    return AUTOCAST_DTYPES.get(str(trainer.precision), torch.float32)


def _is_on_gpu(trainer: Trainer) -> bool:
    return torch.cuda.is_available() and trainer.strategy.root_device.type == "cuda"


def train_sampler(loader: VideoLoader) -> TrainSampler:
    """Return the sampler of a training loader."""
    assert isinstance(loader.sampler, TrainSampler), "the loader of training clips has a training sampler"
    return loader.sampler


def check_multigrid_options(trainer: Trainer) -> int:
    """Check the Trainer's options for multigrid training, and return its number of epochs.

    Raises:
        ValueError: An option differs from what multigrid training needs.
    """
    for name, value in MULTIGRID_OPTIONS.items():
        given = getattr(trainer, name)
        if (type(given), given) != (type(value), value):  # limit_train_batches 1 is one batch, 1.0 is all of them
            raise ValueError(f"trainer.{name} is {given} with data.train.multigrid; expected {value}")
    if trainer.max_epochs is None or trainer.max_epochs < 1:
        raise ValueError(f"trainer.max_epochs is {trainer.max_epochs} with data.train.multigrid; expected 1 or more")
    return trainer.max_epochs


def begin_next_epoch(trainer: Trainer, loader: VideoLoader) -> None:
    """Set a loader to the Trainer's current epoch, for epochs that differ in length.

    Lightning compares the number of batches in a checkpoint of an epoch's last step with the length of the next epoch.
    If the next epoch is longer, Lightning would take the checkpoint for one from the middle of an epoch, so the
    progress is raised to the new length.
    """
    train_sampler(loader).set_epoch(trainer.current_epoch)
    epoch_loop = trainer.fit_loop.epoch_loop
    progress = epoch_loop.batch_progress
    if epoch_loop.restarted_on_train_batch_end and progress.is_last_batch:
        progress.current.completed = max(progress.current.completed, len(loader))
