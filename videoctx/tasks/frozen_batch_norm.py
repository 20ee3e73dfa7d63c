"""BatchNorm as a fixed scale and shift: for batches that are too small to measure, and for second stages.

Wang et al., "Non-local Neural Networks" (arXiv 1711.07971), freeze it for their 128-frame clips, 2 on a GPU.
"""

from collections.abc import Sequence

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


class FrozenBatchNorm(Callback):
    """Training takes BatchNorm's statistics as they are, and leaves them, its scale and its shift unchanged.

    Args:
        except_in: modules whose BatchNorm is trained, by a part of their dotted name: by default context blocks, which
            are often new. The last BatchNorm of a Non-local block starts with a scale of zero: frozen, the block would
            stay without effect.
    """

    def __init__(self, *, except_in: Sequence[str] = ("after_add", "after_1x1")) -> None:
        self.except_in = frozenset(except_in)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:  # noqa: ARG002
        if stage != "fit":
            return
        for norm in self._norms(pl_module):
            norm.requires_grad_(False)  # before the optimizer is made

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        for norm in self._norms(pl_module):
            norm.eval()

    def _norms(self, module: nn.Module) -> list[_BatchNorm]:
        return [
            layer
            for name, layer in module.named_modules()
            if isinstance(layer, _BatchNorm) and not self.except_in.intersection(name.split("."))
        ]
