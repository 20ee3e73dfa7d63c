"""The classes of weights beside those of a run: the same, the same in another order, or others."""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from videoctx.first_few import first_few


def class_differences(
    first: Sequence[str], second: Sequence[str], *, ours: str = "in the checkpoint", theirs: str = "in the data"
) -> str:
    """Return what differs between two lists of classes. Empty: nothing.

    Args:
        ours: Where the first classes are, for the message.
        theirs: Where the second classes are.

    >>> class_differences(["clap", "wave"], ["wave", "clap"])
    "the same classes in another order: class 0 is 'clap' in the checkpoint and 'wave' in the data"
    >>> class_differences(["clap", "wave"], ["clap", "run", "jump"])
    '1 of 2 classes only in the checkpoint (wave), 2 of 3 only in the data (run, jump)'
    """
    if list(first) == list(second):
        return ""
    if sorted(first) == sorted(second):
        index = next(index for index, pair in enumerate(zip(first, second, strict=True)) if pair[0] != pair[1])
        found = f"class {index} is {first[index]!r} {ours} and {second[index]!r} {theirs}"
        return f"the same classes in another order: {found}"
    parts: list[str] = []
    for names, others, where in ((first, set(second), ours), (second, set(first), theirs)):
        if alone := [name for name in names if name not in others]:
            of = f" of {len(names)}" + " classes" * (not parts)
            parts.append(f"{len(alone)}{of} only {where} ({first_few(alone)})")
    return ", ".join(parts)


def classifier_parameters(net: nn.Module) -> list[str]:
    """Return the names of the parameters of the last layer that has any, which makes the logits.

    >>> classifier_parameters(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)))
    ['2.weight', '2.bias']
    """
    layers = [(name, list(dict(layer.named_parameters(recurse=False)))) for name, layer in net.named_modules()]
    name, parameters = next(((name, found) for name, found in reversed(layers) if found), ("", []))
    return [f"{name}.{parameter}" if name else parameter for parameter in parameters]


def known_classifier(net: nn.Module, weights: Mapping[str, Tensor], num_classes: int) -> list[str]:
    """Return the names of the classifier's weights, of which each has one row per class.

    Raises:
        ValueError: The last layer of `net` is not such a classifier.
    """
    names = classifier_parameters(net)
    if not names or any(name not in weights or len(weights[name]) != num_classes for name in names):
        raise ValueError(
            f"the classifier is not known: the last layer of {type(net).__name__} ({first_few(names) or 'none'}) does"
            f" not have one row for each of {num_classes} classes; expected the classes of the checkpoint, in its order"
        )
    return names


def reorder_classifier(
    net: nn.Module, weights: Mapping[str, Tensor], ours: Sequence[str], theirs: Sequence[str]
) -> dict[str, Tensor]:
    """Return weights whose classifier has the rows of `ours` in the order of `theirs`, the same names.

    Raises:
        ValueError: The classifier of `net` is not known.

    >>> import torch
    >>> weights = {"weight": torch.tensor([[1.0], [2.0]]), "bias": torch.tensor([3.0, 4.0])}
    >>> reorder_classifier(nn.Linear(1, 2), weights, ["clap", "wave"], ["wave", "clap"])["bias"]
    tensor([4., 3.])
    """
    position = {name: index for index, name in enumerate(ours)}
    rows = [position[name] for name in theirs]
    return dict(weights) | {name: weights[name][rows] for name in known_classifier(net, weights, len(ours))}
