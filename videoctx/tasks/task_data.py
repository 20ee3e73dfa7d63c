"""The one place where a task and its callbacks ask for the data module."""

from collections.abc import Sequence

from lightning.pytorch import Trainer

from videoctx.contract import TaskData
from videoctx.models.class_order import class_differences

MEMBERS = tuple(sorted(name for name in vars(TaskData) if not name.startswith("_")))


def task_data(trainer: Trainer) -> TaskData | None:
    """Return the data module of the current run if it is a `TaskData`.

    None for a run on plain loaders or on a data module that cannot describe its clips.
    """
    # Not `trainer.datamodule`: in a run on plain loaders that is still the data module of the run before.
    hooks = trainer._data_connector._datahook_selector
    data = hooks.datamodule if hooks else None
    return data if isinstance(data, TaskData) else None


def required_task_data(trainer: Trainer, *, required_by: str) -> TaskData:
    """Return the data module of the current run.

    Args:
        required_by: What cannot work without it, for the message.

    Raises:
        ValueError: The run has none, or its data module is not a `TaskData`.
    """
    if (data := task_data(trainer)) is not None:
        return data
    hooks = trainer._data_connector._datahook_selector
    if hooks is None or hooks.datamodule is None:
        found = "the run has plain loaders"
    else:
        lacking = [name for name in MEMBERS if not hasattr(hooks.datamodule, name)]
        found = f"{type(hooks.datamodule).__name__} lacks {', '.join(lacking)}"
    raise ValueError(
        f"{required_by} needs a data module that describes its clips: {found};"
        " expected videoctx.VideoDataModule, or another videoctx.contract.TaskData"
    )


def check_task_data(data: TaskData, *, class_names: Sequence[str], multi_label: bool) -> None:
    """Check that a task and its data have the same labels.

    Raises:
        ValueError: The class names differ, or only one of the two is multi-label.
    """
    if differences := class_differences(class_names, data.class_names, ours="in the task"):
        raise ValueError(
            f"class_names of the task are not those of the data: {differences}; expected data.class_names, and"
            " weights=PATH for a network that was trained on the same classes in another order"
        )
    if data.multi_label != multi_label:
        raise ValueError(
            f"multi_label of the task is {multi_label}, and of the data {data.multi_label}; expected the same"
        )


def check_several_classes(class_names: Sequence[str], *, multi_label: bool) -> None:
    """Check that there is something to learn.

    Raises:
        ValueError: There is one class, and every video shows it.
    """
    if len(class_names) == 1 and not multi_label:
        raise ValueError(
            f"there is one class, {class_names[0]!r}: every clip would be correct; expected two or more, or"
            " data.multi_label"
        )
