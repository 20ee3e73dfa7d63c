"""StartingWeights: a run starts from the weights of another checkpoint."""

from typing import TYPE_CHECKING, Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from videoctx.models.checkpoints import Checkpoint
from videoctx.models.class_order import class_differences, known_classifier, reorder_classifier
from videoctx.models.load_weights import load_weights
from videoctx.models.own_weights import read_checkpoint_for
from videoctx.tasks.clip_differences import COLORS, clip_differences, describe_differences
from videoctx.tasks.task_data import task_data

if TYPE_CHECKING:
    from videoctx.tasks.classifier import VideoClassifier


class StartingWeights(Callback):
    """Loads the task's `weights` into its network, unless Lightning loads a checkpoint with all weights.

    Lightning tells the checkpoint only after `setup`. Until then, what is to be printed and an error are kept: for a
    run that resumes, or a trained network that is evaluated, the weights that its training started from do not matter.
    They may even be gone.

    Where the checkpoint has the classes of the data in another order, the rows of its classifier are reordered. In
    training, the classifier of other classes keeps its initial weights, and blocks that the checkpoint lacks start as
    the network without them, where they can (`videoctx.models.new_blocks`). In
    evaluation, other classes are an error. What was done is printed.

    Attributes:
        failed: whether the weights could not be loaded, so that it is not known which ones the checkpoint lacks.

    Raises:
        ValueError: The checkpoint does not fit the network or the classes. The message names it.
    """

    def __init__(self, task: "VideoClassifier") -> None:
        self.task = task
        self._lines: list[str] = []
        self._error: Exception | None = None

    @property
    def failed(self) -> bool:
        return self._error is not None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:  # noqa: ARG002
        self._lines, self._error = [], None
        if not self.task.weights:
            return
        try:
            self._load(trainer, self.task.weights, is_trained=stage == "fit")
        except (ValueError, OSError, ImportError) as error:
            self._error = error

    def on_fit_start(self, trainer: Trainer, *_: Any) -> None:
        self._report(trainer)

    def on_validation_start(self, trainer: Trainer, *_: Any) -> None:
        self._report(trainer)

    def on_test_start(self, trainer: Trainer, *_: Any) -> None:
        self._report(trainer)

    def on_predict_start(self, trainer: Trainer, *_: Any) -> None:
        self._report(trainer)

    def _report(self, trainer: Trainer) -> None:
        """Raise the error, or print the lines, unless a checkpoint has replaced the weights."""
        lines, error = self._lines, self._error
        self._lines, self._error = [], None
        if trainer.ckpt_path:
            return
        if error:
            raise error
        if trainer.is_global_zero:
            for line in lines:
                print(line)

    def _load(self, trainer: Trainer, path: str, *, is_trained: bool) -> None:
        checkpoint = read_checkpoint_for(self.task.net, path)
        try:
            _check_multi_label(checkpoint, multi_label=self.task.multi_label, is_trained=is_trained)
            weights, note = self._for_classes(checkpoint, is_trained=is_trained)
            report = load_weights(
                self.task.net,
                weights,
                allow_new_head=is_trained and note.startswith(NEW),
                allow_new_blocks=is_trained,
            )
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        self.task.new_parameters = report.new
        self._lines = [f"{path}: weights of {checkpoint.format}; not loaded: {report}"]
        self._lines += [f"{path}: {note}"] if note else []
        self._keep_preprocessing(checkpoint, trainer, is_trained=is_trained)

    def _keep_preprocessing(self, checkpoint: Checkpoint, trainer: Trainer, *, is_trained: bool) -> None:
        """Tell the task how the clips of the weights were made. Training may use other clips, but not other colors."""
        stored = checkpoint.preprocessing or {}
        if checkpoint.input:
            stored = {"mean": list(checkpoint.input.mean), "std": list(checkpoint.input.std)} | stored
        if not is_trained:
            self.task.preprocessing = stored or None
            return
        data = task_data(trainer)
        colors = {name: stored[name] for name in COLORS if name in stored}
        differences = clip_differences(colors, data.preprocessing_dict()) if data else {}
        if differences:
            described = describe_differences(differences)
            self._lines.append(f"{self.task.weights}: trained on other clips than these: {described}")

    def _for_classes(self, checkpoint: Checkpoint, *, is_trained: bool) -> tuple[dict[str, Tensor], str]:
        """Return the weights for the classes of the task, and what the user should know of their classifier.

        Raises:
            ValueError: The classes are others, in evaluation, or the classifier is not known.
        """
        net, ours, theirs = self.task.net, checkpoint.class_names, self.task.class_names
        weights = checkpoint.weights_for(net)
        if ours is None:
            if checkpoint.num_classes is None:
                return weights, f"{NEW}: the checkpoint has none"
            if checkpoint.num_classes != len(theirs):
                return weights, f"{NEW}: the checkpoint has {checkpoint.num_classes} classes, the data {len(theirs)}"
            return weights, (
                f"has {len(theirs)} classes without names, as many as the data; whether they are the same, and in the"
                " same order, could not be checked"
            )
        differences = class_differences(ours, theirs)
        if not differences:
            return weights, ""
        if sorted(ours) == sorted(theirs):
            return reorder_classifier(net, weights, ours, theirs), (
                f"has {differences}; the rows of its classifier were brought to the order of the data"
            )
        if not is_trained:
            hint = " (a class of the class file may be without videos)" if set(theirs) < set(ours) else ""
            raise ValueError(f"has other classes than the data: {differences}; expected the same, in any order{hint}")
        if len(ours) == len(theirs):
            classifier = known_classifier(net, weights, len(ours))
            weights = {name: tensor for name, tensor in weights.items() if name not in classifier}
        return weights, f"{NEW}, as the classes are others: {differences}"


NEW = "the classifier is new"  # how a note begins then


def _check_multi_label(checkpoint: Checkpoint, *, multi_label: bool, is_trained: bool) -> None:
    """Check that scores mean the same; only a checkpoint with class names tells, and training may change it."""
    if not is_trained and checkpoint.class_names and checkpoint.multi_label != multi_label:
        raise ValueError(
            f"was trained with multi_label {checkpoint.multi_label}, and the data has {multi_label}; expected the same"
        )
