"""FrozenModules: a part of the network stays as its starting weights have it."""

import logging
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch import nn

from videoctx.first_few import first_few
from videoctx.models.freezing import Frozen, frozen_part
from videoctx.tasks.resumed_optimizer import EXPECTED
from videoctx.tasks.starting_weights import StartingWeights

if TYPE_CHECKING:
    from videoctx.tasks.classifier import VideoClassifier

logger = logging.getLogger(__name__)


class FrozenModules(Callback):
    """Freezes the modules that the task names, after the starting weights are loaded (`videoctx.models.freezing`).

    Layers that the weights lack are trained, wherever they are: frozen, they would only add noise. A checkpoint stores
    what was frozen, and a resumed run must freeze the same. After the run, all parameters can be trained again.

    Raises:
        ValueError: No parameter is left to train, or the checkpoint's run froze other modules.
    """

    def __init__(self, task: "VideoClassifier", weights: StartingWeights) -> None:
        self.task = task
        self.weights = weights
        self._frozen: Frozen | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:  # noqa: ARG002
        if stage == "fit" and self.task.frozen_names and not self.weights.failed:
            self._freeze()

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:  # noqa: ARG002
        if trainer.state.fn != TrainerFn.FITTING:
            return
        ours, theirs = sorted(self.task.frozen_names), sorted(checkpoint.get("freeze", []))
        if ours != theirs:
            here, there = (", ".join(names) or "nothing" for names in (ours, theirs))
            raise ValueError(f"model.freeze is not the checkpoint's: {here} here and {there} there; {EXPECTED}")
        if self.task.frozen_names:
            self._freeze()  # the task has read from the checkpoint which layers were new

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:  # noqa: ARG002
        if self._frozen:
            checkpoint["freeze"] = list(self.task.frozen_names)

    def on_fit_start(self, trainer: Trainer, *_: Any) -> None:
        if self._frozen and trainer.is_global_zero:
            print(f"model.freeze: {describe(self.task.net, self._frozen, names=self.task.frozen_names)}")
            if self.task.net_is_new and not (self.task.weights or trainer.ckpt_path):
                logger.warning("model.freeze without model.weights: the frozen modules keep their initial weights")

    def on_train_start(self, *_: Any) -> None:  # also of a run that resumes inside an epoch
        if self._frozen:
            self._frozen.set_evaluation_mode(self.task.net)

    def teardown(self, *_: Any, **__: Any) -> None:
        self._release()

    def _freeze(self) -> None:
        self._release()
        self._frozen = frozen_part(self.task.net, self.task.frozen_names, new=self.task.new_parameters)
        self._frozen.freeze(self.task.net)

    def _release(self) -> None:
        if self._frozen:
            self._frozen.release(self.task.net)
        self._frozen = None


def describe(net: nn.Module, frozen: Frozen, *, names: Collection[str]) -> str:
    """Return in a line how much of a network is frozen.

    >>> net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 3))
    >>> describe(net, frozen_part(net, ["0"]), names=["0"])
    '6 of 15 parameters are not trained (0)'
    """
    sizes = {name: parameter.numel() for name, parameter in net.named_parameters()}
    number = sum(sizes[name] for name in frozen.parameters)
    line = f"{number:,} of {sum(sizes.values()):,} parameters are not trained ({', '.join(names)})"
    if frozen.new:
        blocks = frozen.new_blocks or frozen.new
        line += f"; of these modules, {first_few(blocks)} are trained, as the weights lack them"
    return line
