"""The last lines of a training and of a test: where the run is, and the next command to type."""

import shlex
from pathlib import Path

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from videoctx.data.annotations import AnnotationError, splits_of
from videoctx.data.datamodule import VideoDataModule
from videoctx.evaluation.run_folders import CONFIG_FILE


def print_training(trainer: Trainer, data: VideoDataModule, best: ModelCheckpoint) -> None:
    """Print the folder, the best checkpoint with its score, and the command that tests it. All ranks call this.

    Args:
        best: the callback that has saved the best checkpoint.
    """
    folder = Path(trainer.log_dir) if trainer.loggers and trainer.log_dir else None  # a collective call
    if not trainer.is_global_zero or not best.best_model_path:
        return
    checkpoint = shown(Path(best.best_model_path))
    print(f"run: {shown(folder or Path(trainer.default_root_dir))}")
    print(f"best checkpoint: {checkpoint} ({_score(best)})")
    if folder and (folder / CONFIG_FILE).is_file():
        print(f"next: {_next_command(data, shown(folder / CONFIG_FILE), checkpoint)}")


def print_test(trainer: Trainer) -> None:
    """Print the command that writes a report on a test. All ranks call this."""
    folder = trainer.log_dir if trainer.loggers else None
    if folder and trainer.is_global_zero:
        print(f"next: videoctx report {shlex.quote(str(shown(Path(folder))))}")


def shown(path: Path) -> Path:
    """Return a path relative to the current folder if it lies in there."""
    return path.relative_to(Path.cwd()) if path.is_absolute() and path.is_relative_to(Path.cwd()) else path


def _score(best: ModelCheckpoint) -> str:
    if not best.monitor:
        return "of the last epoch"
    if best.best_model_score is None:  # processes that were started with `spawn` do not return it
        return f"by {best.monitor}"
    score = float(best.best_model_score)
    is_share = best.monitor.endswith(("_top1", "_top5", "_map"))
    return f"{best.monitor} {score:.1%}" if is_share else f"{best.monitor} {score:.4g}"


def _next_command(data: VideoDataModule, config: Path, checkpoint: Path) -> str:
    try:
        splits = splits_of(data.manifest)
    except AnnotationError:
        splits = frozenset()
    arguments = f"-c {shlex.quote(str(config))} --ckpt_path {shlex.quote(str(checkpoint))}"
    if data.splits["test"] in splits:
        return f"videoctx test {arguments}"
    return f"videoctx classify VIDEO {arguments}"
