"""ContextOff: a control that tests a trained network with its context blocks switched off."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn

from videoctx.models.switchable_blocks import Unchanged, switchable_blocks


class ContextOff(Callback):
    """Lets every context block return its input in `validate`, `test` and `predict`, and restores the network after it.

    A block z = x + y becomes z = x exactly: Non-local, simplified Non-local, Global Context and others whose fusion is
    `Add`. The rest of the network stays as it was trained, with the blocks in place. So the result is what the trained
    network does without them; it is not that of a network that was trained without them.

    Other blocks are refused, as they have no such state. Those that scale their input (Squeeze-Excitation, Global
    Context with `scale` or `scale_and_add`, CBAM, gather-excite, GALA) have gates that the network after them is used
    to: with a gate of 1, its features would be larger than any that it has seen. Self-calibrated and
    attention-augmented convolutions and temporal shift are convolutions, without which there is no network. They are
    left as they are beside blocks that add, and refused where there are no such blocks.

    Raises:
        ValueError: The network has no context blocks, or others than those that add; or the run is a training.

    Example:
        >>> callback = ContextOff()
    """

    def __init__(self) -> None:
        self.names: list[str] = []  # of the blocks that are switched off, or were in the last evaluation
        self._fusions: list[tuple[nn.Module, nn.Module]] = []

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:  # noqa: ARG002
        if stage == "fit":
            raise ValueError(
                "ContextOff is in the callbacks of a training; expected `videoctx test`, `validate` or `predict`. A"
                " network without context blocks is trained without `context`"
            )

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        self._switch_off(pl_module)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        self._switch_off(pl_module)

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        self._switch_off(pl_module)

    def teardown(self, *_: Any, **__: Any) -> None:
        self._restore()

    def on_exception(self, *_: Any) -> None:
        self._restore()

    def _switch_off(self, task: LightningModule) -> None:
        blocks = switchable_blocks(task.get_submodule("net"))
        self.names = list(blocks)
        self._fusions = [(block, block.fusion) for block in blocks.values()]
        for block in blocks.values():
            block.fusion = Unchanged()

    def _restore(self) -> None:
        for block, fusion in self._fusions:
            block.fusion = fusion
        self._fusions = []


def blocks_switched_off(trainer: Trainer) -> list[str]:
    """Return the names of the context blocks that a `ContextOff` of the run has switched off."""
    callbacks = trainer.callbacks  # type: ignore[attr-defined]
    return [name for callback in callbacks if isinstance(callback, ContextOff) for name in callback.names]
