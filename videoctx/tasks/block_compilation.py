"""BlockCompilation: the residual blocks are compiled for the training steps."""

import logging
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import Callback, Trainer

from videoctx.models.block_compilation import compile_blocks, compiler_problem, use_compiled_code

if TYPE_CHECKING:
    from videoctx.tasks.classifier import VideoClassifier

logger = logging.getLogger(__name__)


def can_compile(trainer: Trainer, device: torch.device, *, option: str) -> bool:
    """Return whether networks can be compiled for a device. If not, report the option that asks for it, and why."""
    problem = compiler_problem(device)
    if problem and trainer.is_global_zero:
        logger.warning("%s: torch.compile fails here, so nothing is compiled: %s", option, problem)
    return problem is None


class BlockCompilation(Callback):
    """Compiles the residual blocks of the network when training starts (`videoctx.models.block_compilation`).

    Only training steps run what is compiled. Between them, such as in validation and when statistics of BatchNorm are
    measured, the blocks run as they are: they have other modes and sizes there, and each would be compiled again. The
    names of the parameters stay, so checkpoints are those of a run without compilation.

    If nothing can be compiled on the device, a line tells why, and the run continues without.
    """

    def __init__(self, task: "VideoClassifier") -> None:
        self.task = task
        self._is_compiled = False

    def on_fit_start(self, trainer: Trainer, *_: Any) -> None:
        if not self.task.compiled_blocks or not can_compile(trainer, self.task.device, option="model.compiled_blocks"):
            return
        self._is_compiled = True
        compile_blocks(self.task.net)
        use_compiled_code(False)

    def on_train_batch_start(self, *_: Any) -> None:
        if self._is_compiled:
            use_compiled_code(True)

    def on_train_batch_end(self, *_: Any) -> None:
        if self._is_compiled:
            use_compiled_code(False)

    def teardown(self, *_: Any, **__: Any) -> None:
        self._end()

    def on_exception(self, *_: Any) -> None:
        self._end()

    def _end(self) -> None:
        if self._is_compiled:
            use_compiled_code(True)
        self._is_compiled = False
