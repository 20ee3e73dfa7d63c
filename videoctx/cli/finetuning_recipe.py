"""Points to the recipe for fine-tuning, where weights are given to a recipe for training from scratch."""

from collections.abc import Sequence
from pathlib import PurePath

from videoctx.cli.given_values import given_configs, given_value
from videoctx.shipped_configs import list_configs

SUFFIX = "_finetune"  # of the shipped config that starts from weights: own_videos_finetune beside own_videos


def finetuning_recipe(arguments: Sequence[str], expanded: Sequence[str]) -> str | None:
    """Return a line if a training from weights names a shipped recipe that has another one for fine-tuning beside it.

    Args:
        arguments: The subcommand and its options, as they are given.
        expanded: The same, with the text of every config (`videoctx.cli.parts`).

    >>> given = ["fit", "-c", "own_videos"]
    >>> finetuning_recipe(given, ["fit", "-c", "{}", "--model.weights", "resnet18.pth"])
    'own_videos is for training from scratch; for fine-tuning from model.weights there is -c own_videos_finetune'
    >>> finetuning_recipe(given, ["fit", "-c", "{}"])
    """
    command, *options = arguments or [""]
    if command != "fit" or not given_value(expanded, "model.weights"):
        return None
    named = [PurePath(name).stem for name in given_configs(options)]
    shipped = {PurePath(name).name for name in list_configs("experiment/*")}
    for name in named:
        other = name + SUFFIX
        if name in shipped and other in shipped and other not in named:
            return f"{name} is for training from scratch; for fine-tuning from model.weights there is -c {other}"
    return None
