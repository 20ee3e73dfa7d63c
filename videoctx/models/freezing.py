"""Frozen modules of a network: their parameters are not trained, and they run in evaluation mode.

Evaluation mode fixes the statistics of BatchNorm and turns dropout off. Nothing is kept for a backward pass of modules
that are frozen from the input on.
"""

import difflib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from torch import nn

from videoctx.first_few import first_few
from videoctx.models.class_order import classifier_parameters

BACKBONE = "backbone"  # the word for all but the classifier
MARK = "is_frozen"  # an attribute of frozen modules


@dataclass(frozen=True, slots=True)
class Frozen:
    """The frozen part of a network, by names, so that it also fits a copy and layers that replace others.

    Attributes:
        modules: Names of the modules in evaluation mode.
        parameters: Names of the parameters that are not trained because of it.
        new: Names of the parameters inside that are trained, as no weights were loaded into them.
        new_blocks: Names of the modules that have only such parameters.
    """

    modules: tuple[str, ...]
    parameters: tuple[str, ...]
    new: tuple[str, ...] = ()
    new_blocks: tuple[str, ...] = ()

    def freeze(self, net: nn.Module) -> None:
        """Before the optimizer is made: no gradients."""
        self._require_gradients(net, required=False)
        for module in self._modules(net):
            setattr(module, MARK, True)

    def set_evaluation_mode(self, net: nn.Module) -> None:
        """When training starts. Layers may have been replaced since, by those of SyncBatchNorm."""
        for module in self._modules(net):
            module.training = False
            setattr(module, MARK, True)

    def release(self, net: nn.Module) -> None:
        """After the run: gradients again, and the mode of the network."""
        self._require_gradients(net, required=True)
        for module in self._modules(net):
            module.training = net.training
            setattr(module, MARK, False)

    def _require_gradients(self, net: nn.Module, *, required: bool) -> None:
        parameters = dict(net.named_parameters(remove_duplicate=False))
        for name in self.parameters:
            parameters[name].requires_grad_(required)

    def _modules(self, net: nn.Module) -> list[nn.Module]:
        return [net.get_submodule(name) for name in self.modules]


def is_frozen(layer: nn.Module) -> bool:
    """Return whether a norm is frozen: as a part of a frozen module, or by its scale.

    >>> is_frozen(nn.BatchNorm3d(4).requires_grad_(False))
    True
    """
    scale = getattr(layer, "weight", None)
    return getattr(layer, MARK, False) or (isinstance(scale, nn.Parameter) and not scale.requires_grad)


def frozen_part(net: nn.Module, names: Sequence[str], *, new: Collection[str] = ()) -> Frozen:
    """Return what is to be frozen.

    Args:
        names: Modules, such as `stem`, `res2` or `res3.0`; or `backbone`, all but the classifier, which is the last
            layer that has parameters, with the dropout before it.
        new: Names of the parameters that no weights were loaded into. Modules of such parameters alone are trained.

    Raises:
        ValueError: The network has no such module, or no parameter is left to train.

    >>> net = nn.Sequential(nn.Linear(2, 2), nn.Dropout(), nn.Linear(2, 3))
    >>> frozen_part(net, ["backbone"])
    Frozen(modules=('0',), parameters=('0.weight', '0.bias'), new=(), new_blocks=())
    """
    trainable = [name for name, parameter in net.named_parameters() if parameter.requires_grad]
    modules: dict[str, None] = {}  # in the order of the network
    parameters: dict[str, None] = {}
    for name in names:
        if name == BACKBONE:
            modules |= dict.fromkeys(_backbone_modules(net))
            classifier = set(classifier_parameters(net))
            parameters |= dict.fromkeys(parameter for parameter in trainable if parameter not in classifier)
        else:
            check_names(net, [name])
            modules |= dict.fromkeys(path for path, _ in net.named_modules() if _inside(path, [name]))
            parameters |= dict.fromkeys(path for path in trainable if _inside(path, [name]))
    new_blocks = tuple(_new_blocks(net, modules, set(new)))
    frozen = tuple(name for name in parameters if name not in new)
    if len(frozen) == len(trainable):
        raise ValueError(f"freeze is {list(names)}, which leaves no parameter to train; expected fewer modules")
    return Frozen(
        modules=tuple(name for name in modules if not _inside(name, new_blocks)),
        parameters=frozen,
        new=tuple(name for name in parameters if name in new),
        new_blocks=new_blocks,
    )


def check_names(net: nn.Module, names: Sequence[str]) -> None:
    """Check that `frozen_part` accepts the names.

    Raises:
        ValueError: The network has no such module with parameters.
    """
    with_parameters = [path for path, module in net.named_modules() if path and any(True for _ in module.parameters())]
    parts = [path for path in with_parameters if "." not in path]
    for name in names:
        if name == BACKBONE or name in with_parameters:
            continue
        near = [path for path in difflib.get_close_matches(name, with_parameters, n=3) if path not in parts]
        accepted = ", ".join([BACKBONE, *parts]) + (f", or perhaps {first_few(near)}" if near else "")
        raise ValueError(
            f"freeze names {name!r}, which {type(net).__name__} does not have; expected one or more of {accepted}"
        )


def _backbone_modules(net: nn.Module) -> Iterator[str]:
    """Yield all modules but the classifier, its parents, and layers without parameters before it, such as dropout."""
    classifier = classifier_parameters(net)[0].rpartition(".")[0]
    parents = {"", *(classifier[:end] for end, letter in enumerate(classifier) if letter == ".")}
    layers = [(path, module) for path, module in net.named_modules() if path not in {classifier, *parents}]
    last = max((index for index, (_, layer) in enumerate(layers) if any(True for _ in layer.parameters())), default=-1)
    before_classifier = [path for path, _ in layers[last + 1 :] if path.rpartition(".")[0] in parents]
    yield from (path for path, _ in layers if not _inside(path, before_classifier))


def _new_blocks(net: nn.Module, frozen: Collection[str], new: set[str]) -> Iterator[str]:
    """Yield the outermost of the frozen modules that have only new parameters."""
    found: list[str] = []
    for name in frozen:
        inner = [f"{name}.{parameter}" for parameter, _ in net.get_submodule(name).named_parameters()]
        if inner and new.issuperset(inner) and not _inside(name, found):
            found.append(name)
            yield name


def _inside(name: str, parents: Collection[str]) -> bool:
    return any(name == parent or name.startswith(f"{parent}.") for parent in parents)
