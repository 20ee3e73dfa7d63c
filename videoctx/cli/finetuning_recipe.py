"""Points to the recipe for fine-tuning, where weights are given to a recipe for training from scratch."""

from collections.abc import Iterator, Sequence
from pathlib import PurePath

from videoctx.shipped_configs import list_configs

SUFFIX = "_finetune"  # of the shipped config that starts from weights: own_videos_finetune beside own_videos


def finetuning_recipe(arguments: Sequence[str]) -> str | None:
    """Return a line if a training from weights names a shipped recipe that has another one for fine-tuning beside it.

    Args:
        arguments: The subcommand and its options, as they are given.

    >>> finetuning_recipe(["fit", "-c", "own_videos", "--model.weights", "resnet18.pth"])
    'own_videos is for training from scratch; for fine-tuning from --model.weights there is -c own_videos_finetune'
    >>> finetuning_recipe(["fit", "-c", "own_videos"])
    """
    command, *options = arguments or [""]
    if command != "fit" or not any(_values(options, "--model.weights")):
        return None
    named = [PurePath(name).stem for option in ("-c", "--config") for name in _values(options, option)]
    shipped = {PurePath(name).name for name in list_configs("experiment/*")}
    for name in named:
        other = name + SUFFIX
        if name in shipped and other in shipped and other not in named:
            return f"{name} is for training from scratch; for fine-tuning from --model.weights there is -c {other}"
    return None


def _values(options: Sequence[str], name: str) -> Iterator[str]:
    for position, option in enumerate(options):
        if option == name and position + 1 < len(options):
            yield options[position + 1]
        elif option.startswith(f"{name}="):
            yield option.partition("=")[2]
