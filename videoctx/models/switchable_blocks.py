"""The context blocks of a network that can be switched off: those that add to their input."""

from torch import Tensor, nn

from videoctx.first_few import first_few
from videoctx.layers.context import Add, ContextBlock
from videoctx.models.insertion import POSITIONS, WithContext


class Unchanged(nn.Module):
    """The fusion of a block that is switched off: z = x."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:  # noqa: ARG002
        return x


def switchable_blocks(net: nn.Module) -> dict[str, ContextBlock]:
    """Return the context blocks of a network that add to their input, by name.

    Raises:
        ValueError: There are none, or others too.
    """
    blocks = {name: block for name, block in net.named_modules() if isinstance(block, ContextBlock)}
    others = {name: block for name, block in blocks.items() if not isinstance(block.fusion, Add)} | _unknown(net)
    if others:
        shown = first_few([f"{type(block).__name__} at {name}" for name, block in others.items()], most=3)
        raise ValueError(
            f"ContextOff cannot switch off {shown}; expected context blocks that add to their input, such as NonLocal"
            " and GlobalContext with fusion add"
        )
    if not blocks:
        raise ValueError(
            f"ContextOff: {type(net).__name__} has no context blocks; expected a network with blocks that add to their"
            " input. Self-calibrated convolutions and temporal shift are no blocks that could be left out"
        )
    return blocks


def _unknown(net: nn.Module) -> dict[str, nn.Module]:
    """Return what stands in the place of context blocks and is none of this package's."""
    found = {}
    for path, module in net.named_modules():
        slots = {name: getattr(module, name, None) for name in POSITIONS}
        if isinstance(module, WithContext):
            slots["1"] = module[1]
        for name, block in slots.items():
            if not isinstance(block, nn.Module) or isinstance(block, nn.Identity):
                continue
            if not any(isinstance(part, ContextBlock) for part in block.modules()):
                found[f"{path}.{name}"] = block
    return found
