"""FrozenBatchNorm: BatchNorm as a fixed scale and shift, for batches that are too small, and for second stages.

Wang et al., "Non-local Neural Networks" (arXiv 1711.07971), freeze it for their 128-frame clips, 2 per GPU.
"""

from collections.abc import Sequence

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


class FrozenBatchNorm(Callback):
    """Training uses the running statistics of BatchNorm, and does not change them, its scale and its shift.

    Args:
        except_in: Modules whose BatchNorm is trained, as a part of their dotted name; by default context blocks, which
            are often new. The last BatchNorm of a Non-local block has an initial scale of zero, so a frozen block would
            have no effect.

    Example:
        >>> callback = FrozenBatchNorm(except_in=["after_add", "res5"])
    """

    def __init__(self, *, except_in: Sequence[str] = ("after_add", "after_1x1")) -> None:
        self.except_in = frozenset(except_in)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:  # noqa: ARG002
        if stage != "fit":
            return
        for norm in self._norms(pl_module):
            norm.requires_grad_(False)  # before the optimizer is made

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        for norm in self._norms(pl_module):
            norm.eval()

    def _norms(self, module: nn.Module) -> list[_BatchNorm]:
        return [
            layer
            for name, layer in module.named_modules()
            if isinstance(layer, _BatchNorm) and not self.except_in.intersection(name.split("."))
        ]
