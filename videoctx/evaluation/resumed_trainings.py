"""Follows a training back to where it began, if it was resumed from checkpoints of other trainings."""

from pathlib import Path
from typing import Any, cast

import yaml

from videoctx.evaluation.run_folders import CONFIG_FILE, training_of


def trainings_resumed(training: Path) -> list[Path]:
    """Return the folder of a training and those that it was resumed from, the latest first."""
    found: list[Path] = []
    folder: Path | None = training
    while folder is not None and folder.resolve() not in map(Path.resolve, found):
        found.append(folder)
        checkpoint = read_run_config(folder).get("ckpt_path") if (folder / CONFIG_FILE).is_file() else None
        folder = training_of(checkpoint) if isinstance(checkpoint, str) else None
    return found


def config_of_whole_training(training: Path) -> dict[str, Any]:
    """Return the config of a training. If it was resumed, its weights are those that the first part started from."""
    whole, *_, first = map(read_run_config, [training, *trainings_resumed(training)])
    whole["ckpt_path"] = first.get("ckpt_path")
    if "weights" in first["model"]:
        whole["model"]["weights"] = first["model"]["weights"]
    return whole


def read_run_config(folder: Path) -> dict[str, Any]:
    """Return the config of a run, which Lightning writes into its folder.

    Raises:
        OSError: it cannot be read.
    """
    return cast(dict[str, Any], yaml.safe_load((folder / CONFIG_FILE).read_text(encoding="utf-8")))
