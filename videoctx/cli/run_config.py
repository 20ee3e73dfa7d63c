"""The `config.yaml` of a run, given to another command.

It holds all values of the command that wrote it: also those that only this command has, and what it started from.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from videoctx.evaluation.run_folders import CONFIG_FILE, EVALUATIONS, TRAINING_CARD_FILE

# Arguments of one kind of command, which the config of its run holds and the other commands refuse.
OWN_ARGUMENTS = {"verbose": ("validate", "test"), "return_predictions": ("predict",)}


def for_command(config: Mapping[str, Any], file: Path, command: str) -> dict[str, Any]:
    """Return the config of a file without what does not belong to a command.

    The config of a run loses the arguments that the command does not have. An evaluation does not take from the config
    of a training what that training started from: it would evaluate other weights than those that were trained.

    Args:
        config: the content of the file.
        file: where it is. A run has named it `config.yaml`; a training has its card beside it.
        command: such as `test`.
    """
    if file.name != CONFIG_FILE:
        return dict(config)
    kept = {name: value for name, value in config.items() if command in OWN_ARGUMENTS.get(name, (command,))}
    if command not in EVALUATIONS or not file.with_name(TRAINING_CARD_FILE).is_file():
        return kept
    kept.pop("ckpt_path", None)
    if isinstance(model := kept.get("model"), Mapping):
        kept["model"] = {name: value for name, value in model.items() if name != "weights"}
    return kept
