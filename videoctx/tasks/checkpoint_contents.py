"""What a task stores in its checkpoints beside the weights, and what it requires of one that it resumes from."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from videoctx.first_few import first_few
from videoctx.models.class_order import class_differences
from videoctx.models.classifier_checkpoint import other_weights
from videoctx.models.network_config import network_config

if TYPE_CHECKING:
    from videoctx.tasks.classifier import VideoClassifier


def checkpoint_contents(task: "VideoClassifier") -> dict[str, Any]:
    """Return what makes a checkpoint usable on its own (`videoctx.models.classifier_checkpoint`)."""
    return {
        "class_names": list(task.class_names),
        "net": network_config(task.net),
        "preprocessing": task.preprocessing,
        "multi_label": task.multi_label,
    }


def check_checkpoint(task: "VideoClassifier", checkpoint: Mapping[str, Any], *, path: object) -> None:
    """Check that a checkpoint is one of this task: the same classes, and the same network.

    Args:
        task: The task that the checkpoint is to be loaded into.
        checkpoint: The content of the file.
        path: The file, for messages; None where it is not known.

    Raises:
        ValueError: It is not.
    """
    where = f"{path}: " if path else ""
    names = checkpoint.get("class_names")
    if names is None:
        raise ValueError(f"{where}the checkpoint has no class names: it was not written by videoctx")
    if differences := class_differences(names, task.class_names):
        raise ValueError(
            f"{where}the checkpoint was trained on other classes than those of the data: {differences}; expected the"
            " same, in the same order; as --model.weights it is taken with its classes in any order"
        )
    if checkpoint.get("multi_label", task.multi_label) != task.multi_label:
        raise ValueError(
            f"{where}the checkpoint was trained with multi_label {checkpoint['multi_label']}, and the task has"
            f" {task.multi_label}; expected the same"
        )
    if other := other_weights(task.state_dict(), checkpoint["state_dict"]):
        raise ValueError(
            f"{where}the checkpoint is of another network: {len(other)} weights differ in name"
            f" or shape ({first_few(other)}); expected the config that it was trained with"
        )
