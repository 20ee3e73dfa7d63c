"""EvaluationNetwork: validation, test and prediction run on a fast copy of the network."""

from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from videoctx.models.inference import for_inference, has_known_layers
from videoctx.tasks.block_compilation import can_compile

if TYPE_CHECKING:
    from videoctx.tasks.classifier import VideoClassifier

# The Trainer's precision, and what the copy computes in. In 16-mixed, the network itself is evaluated.
FAST_PRECISIONS = {"32-true": torch.float32, "bf16-mixed": torch.bfloat16}


class EvaluationNetwork(Callback):
    """Gives the task a copy with folded norms, for `Trainer.validate`, `test` and `predict`.

    During training, the network itself is validated. So are networks with layers of other projects. The copy is made
    when an epoch starts, after other callbacks have put their weights in, such as an average. If nothing can be
    compiled on the device, a line tells why, and the copy is not compiled.

    Raises:
        ValueError: `compiled` is true, and there is no fast copy that could be compiled.
    """

    def __init__(self, task: "VideoClassifier") -> None:
        self.task = task

    def on_validation_epoch_start(self, trainer: Trainer, *_: Any) -> None:
        self._choose(trainer)

    def on_test_epoch_start(self, trainer: Trainer, *_: Any) -> None:
        self._choose(trainer)

    def on_predict_epoch_start(self, trainer: Trainer, *_: Any) -> None:
        self._choose(trainer)

    def teardown(self, *_: Any, **__: Any) -> None:
        self.task.evaluation_forward = None

    def on_exception(self, *_: Any) -> None:
        self.task.evaluation_forward = None

    def _choose(self, trainer: Trainer) -> None:
        self.task.evaluation_forward = None
        if trainer.state.fn == TrainerFn.FITTING:
            return
        dtype = FAST_PRECISIONS.get(trainer.precision)
        if dtype is not None and has_known_layers(self.task.net):
            compiled = self.task.compiled and can_compile(trainer, self.task.device, option="model.compiled")
            network = for_inference(self.task.net, self.task.device, dtype=dtype, compiled=compiled)
            self.task.evaluation_forward = network.forward
        elif self.task.compiled:
            raise ValueError(
                f"compiled requires a network of this package's and torch's layers, and precision"
                f" {' or '.join(FAST_PRECISIONS)}; got {type(self.task.net).__name__} with {trainer.precision}"
            )
