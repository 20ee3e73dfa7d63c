"""VideoClassifier: the LightningModule that trains a network and scores videos."""

import logging
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, Self

import torch
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.cli import OptimizerCallable
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, nn
from torch.optim import SGD

from videoctx.batch import ClipBatch, slices
from videoctx.evaluation.accuracy import Accuracy, VideoAccuracy
from videoctx.evaluation.mean_loss import MeanLoss
from videoctx.evaluation.ranking import label_ranks
from videoctx.evaluation.video_map import MeanAveragePrecision, VideoMeanAveragePrecision
from videoctx.evaluation.view_scores import stored_scores
from videoctx.models.classifier_checkpoint import load_classifier
from videoctx.models.freezing import check_names
from videoctx.models.inference import has_known_layers, to_channels_last
from videoctx.models.network_config import network_config
from videoctx.models.test_head import USUAL_TRAIN_CROP, set_test_head
from videoctx.tasks.atomic_checkpoint_io import write_checkpoints_atomically
from videoctx.tasks.batch_norm_size import BatchNormSizeCheck
from videoctx.tasks.bf16_gradient_check import Bf16GradientCheck
from videoctx.tasks.block_compilation import BlockCompilation
from videoctx.tasks.chance_level import ChanceLevel
from videoctx.tasks.checkpoint_contents import check_checkpoint, checkpoint_contents
from videoctx.tasks.class_weights import ClassWeights, check_class_weights, class_weight_tensor
from videoctx.tasks.clip_differences import clip_differences, describe_differences
from videoctx.tasks.evaluation_network import EvaluationNetwork
from videoctx.tasks.finished_run import check_unfinished
from videoctx.tasks.frozen_modules import FrozenModules
from videoctx.tasks.fused_optimizer import choose_step
from videoctx.tasks.layer_rates import USUAL_RATES, LayerRates
from videoctx.tasks.learning_rate import check_accumulation, run_scheduler, scale_learning_rates, step_size
from videoctx.tasks.loss_watch import LossWatch
from videoctx.tasks.losses import checked_logits, classification_loss, label_probabilities
from videoctx.tasks.lost_rank import LostRank
from videoctx.tasks.memory_note import MemoryNote
from videoctx.tasks.multigrid import MultigridPlan
from videoctx.tasks.parameter_groups import parameter_groups, scale_layers, warn_of_new_layers
from videoctx.tasks.precision import check_precision
from videoctx.tasks.preemption import Preemption
from videoctx.tasks.resumed_optimizer import ResumedOptimizerCheck
from videoctx.tasks.schedules import Schedule
from videoctx.tasks.score_files import ScoreFiles
from videoctx.tasks.starting_weights import StartingWeights
from videoctx.tasks.task_data import check_several_classes, check_task_data, required_task_data, task_data
from videoctx.tasks.throughput import Throughput
from videoctx.tasks.training_card import TrainingCard
from videoctx.tasks.validation_summary import ValidationSummary

logger = logging.getLogger(__name__)


class VideoClassifier(LightningModule):
    """A task that trains a video network on the classes of clips, and scores the views of videos.

    It logs `train/loss` and `train/clip_top1`, `val/loss`, `val/clip_top1` and `val/video_top1`, and every metric of a
    test, such as `test/video_top1`; with `multi_label`, `train/loss`, `val/loss`, `val/video_map` and `test/video_map`.

    Its callbacks do the rest, whether the run is started from Python or from the command line. `ScoreFiles`, for
    example, writes the scores and results of a test to the folder of the run. Checkpoints hold the class names, the
    config of the network and the preprocessing, so `load_from_checkpoint` and `videoctx.load` need nothing else.

    Args:
        class_names: K names, in the order of the class indices.
        net: The network, (B, 3, T, H, W) → logits (B, K), or a function that makes one for K classes.
        optimizer: Makes the optimizer for groups of parameters. The parameters of norms get no weight decay.
        decay_norms: Whether the parameters of norms get the weight decay, too.
        lr_batch_size: The number of clips per step that the optimizer's learning rate was chosen for. Where a step has
            more or fewer clips, over all devices and accumulated batches, the learning rate is scaled in proportion.
            None: the learning rate is not scaled.
        schedule: The learning rate over the run. None: it is constant.
        multi_label: Whether a video may show several classes. The loss is then binary cross-entropy for each class.
        class_weights: Weight of each class in the training loss; `balanced`: n / (K · n_k), if an epoch takes n videos
            and n_k of a class. With `multi_label`, the weight of videos that show the class. None: all are equal.
        label_smoothing: Share of the target that is spread over all classes; with `multi_label`, over yes and no.
        mixing: Mixes the clips of a batch and their targets, such as `videoctx.data.ClipMixing`. A mixed clip
            counts as correct if the network predicts the class that has the largest share in it.
        weights: Path of a checkpoint to start from, of any project that `videoctx convert` reads. In training, a
            classifier for other classes and blocks that the checkpoint lacks are initialized instead, and reported.
            In evaluation they are an error.
        new_layers_lr_factor: Learning rate of the layers that `weights` lack, such as a new classifier and new context
            blocks, over that of all others.
        layer_rates: Learning rates of biases and of the classifier, and whether biases decay, as in TSM's recipe.
        freeze: Modules that are not trained and run in evaluation mode, such as `stem` and `res2`; or `backbone`, all
            but the classifier; None: nothing. What `weights` lack inside them, as new blocks, is trained, and reported.
        views_per_forward: Most views that go through the network at once in evaluation.
        channels_last: Whether network and clips are in `torch.channels_last_3d`. None: where every layer is one of this
            package or of torch; layers of other projects may not accept it.
        compiled: Whether validation, test and prediction use `torch.compile`. Validation during training does not.
        compiled_blocks: Whether training steps use `torch.compile` for each residual block, or for the whole network if
            it has none. Checkpoints are the same.
        fused_optimizer: Whether the optimizer updates all parameters in one kernel, as torch's SGD, Adam and AdamW can.
        seed: Seed of dropout and mixing.

    Example:
        >>> from videoctx.models import ResNet3D
        >>> task = VideoClassifier(["clap", "wave"], ResNet3D(2, depth=18, width=4))
        >>> task(torch.zeros(1, 3, 4, 32, 32)).shape
        torch.Size([1, 2])
    """

    def __init__(
        self,
        class_names: list[str],
        net: Callable[[int], nn.Module] | nn.Module,
        *,
        optimizer: OptimizerCallable = lambda params: SGD(
            params, lr=0.01, momentum=0.9, nesterov=True, weight_decay=1e-4
        ),
        decay_norms: bool = False,
        lr_batch_size: int | None = None,
        schedule: Schedule | None = None,
        multi_label: bool = False,
        class_weights: ClassWeights | None = None,
        label_smoothing: float = 0.0,
        mixing: nn.Module | None = None,
        weights: str | None = None,
        new_layers_lr_factor: float = 1.0,
        layer_rates: LayerRates = USUAL_RATES,
        freeze: Sequence[str] | str | None = None,
        views_per_forward: int = 8,
        channels_last: bool | None = None,
        compiled: bool = False,
        compiled_blocks: bool = False,
        fused_optimizer: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing is {label_smoothing}; expected 0 to less than 1")
        if not new_layers_lr_factor > 0:
            raise ValueError(f"new_layers_lr_factor is {new_layers_lr_factor}; expected more than 0")
        for name, value in (("views_per_forward", views_per_forward), ("lr_batch_size", lr_batch_size)):
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}; expected 1 or more")
        check_class_weights(class_weights, len(class_names))
        self.class_weights = class_weights
        self._class_weights: Tensor | None = None  # (K,), in training
        self.class_names = list(class_names)
        self.net = net if isinstance(net, nn.Module) else net(len(class_names))
        self.net_is_new = self.net is not net and network_config(self.net) is not None  # others may load weights
        if channels_last is None:
            channels_last = has_known_layers(self.net)
        self.memory_format = torch.channels_last_3d if channels_last else torch.contiguous_format
        if channels_last:
            to_channels_last(self.net)
        self.optimizer = optimizer
        self.decay_norms = decay_norms
        self.lr_batch_size = lr_batch_size
        self.schedule = schedule
        self.multi_label = multi_label
        self.label_smoothing = label_smoothing
        self.mixing = mixing
        self.weights = weights
        self.new_layers_lr_factor = new_layers_lr_factor
        self.layer_rates = layer_rates
        self.new_parameters: list[str] = []  # names of those that `weights` lack
        self.frozen_names = [freeze] if isinstance(freeze, str) else list(freeze or ())
        check_names(self.net, self.frozen_names)
        self.views_per_forward = views_per_forward
        self.compiled = compiled
        self.compiled_blocks = compiled_blocks
        self.fused_optimizer = fused_optimizer
        self.seed = seed
        self.preprocessing: dict[str, Any] | None = None  # how test clips are made, stored in checkpoints
        self.clip_differences: dict[str, dict[str, Any]] = {}  # between the clips of the weights and of the run
        self.val_metric = VideoMeanAveragePrecision() if multi_label else VideoAccuracy(len(self.class_names))
        self.val_loss = MeanLoss()
        self.val_result: Accuracy | MeanAveragePrecision | None = None  # of the last validation
        # A fast copy of the network, while `EvaluationNetwork` provides one. No module: it is not to be saved.
        self.evaluation_forward: Callable[[Tensor], Tensor] | None = None

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]  # no `hparams_file`, and loading is always strict
        cls,
        checkpoint_path: str | Path,
        map_location: str | torch.device | None = None,
        *,
        net: Callable[[int], nn.Module] | nn.Module | None = None,
        **arguments: Any,
    ) -> Self:
        """Return a task with the network and the weights of a checkpoint. Nothing stored in the file is run.

        Args:
            checkpoint_path: A checkpoint that a training or `videoctx convert` wrote.
            map_location: The device of the task. None: the CPU.
            net: The network, or a function that makes it for a number of classes. None: it is built from the config in
                the checkpoint, which has one unless the network is one of your own.
            **arguments: Other arguments of `VideoClassifier`, such as `optimizer`.

        Raises:
            ValueError: The file is missing, damaged or no checkpoint of a classifier, or `net` is of another
                architecture, or None where the checkpoint has no config. The message names the file.

        Example:
            >>> task = VideoClassifier.load_from_checkpoint("runs/demo/checkpoints/best.ckpt")  # doctest: +SKIP
        """
        stored = load_classifier(checkpoint_path, net=net)
        task = cls(stored.class_names, stored.net, multi_label=stored.multi_label, **arguments)
        task.preprocessing = stored.preprocessing
        task._set_test_head(stored.preprocessing, trained=stored.preprocessing)
        return task if map_location is None else task.to(map_location)

    def forward(self, clips: Tensor) -> Tensor:
        """(B, 3, T, H, W) → logits (B, K)."""
        logits = self.net(clips.contiguous(memory_format=self.memory_format))
        return checked_logits(logits, len(clips), len(self.class_names))

    def __deepcopy__(self, memo: dict[int, Any]) -> "VideoClassifier":
        """Copy the task for averaging. The optimizer's factory is shared: one from a config holds the whole Trainer."""
        memo[id(self.optimizer)] = self.optimizer
        copied = memo[id(self)] = self.__new__(type(self))
        copied.__dict__.update(deepcopy(self.__getstate__(), memo))
        return copied

    def configure_callbacks(self) -> list[Callback]:
        weights = StartingWeights(self)
        return [
            weights,
            FrozenModules(self, weights),
            ResumedOptimizerCheck(),
            BatchNormSizeCheck(self),
            MultigridPlan(self),
            BlockCompilation(self),
            Bf16GradientCheck(self),
            TrainingCard(self),
            EvaluationNetwork(self),
            ValidationSummary(self),
            ScoreFiles(self),
            LossWatch(),
            ChanceLevel(self),
            MemoryNote(),
            Throughput(),
            Preemption(),
            LostRank(),
        ]

    def setup(self, stage: str) -> None:
        check_precision(self.trainer.precision, self.trainer.strategy.root_device)
        if stage == "fit":
            check_several_classes(self.class_names, multi_label=self.multi_label)
            self._class_weights = class_weight_tensor(self.class_weights, self.trainer, self.class_names)
        made = self.preprocessing
        if data := task_data(self.trainer):
            check_task_data(data, class_names=self.class_names, multi_label=self.multi_label)
            made = data.preprocessing_dict()
            if stage == "fit" or self.preprocessing is None:
                self.preprocessing = made
            self._compare_clips(self.preprocessing, made)
        elif stage == "fit" and self.lr_batch_size:
            required_task_data(self.trainer, required_by=f"lr_batch_size {self.lr_batch_size}")
        self._set_test_head(made, trained=self.preprocessing)
        write_checkpoints_atomically(self.trainer.strategy)

    def _set_test_head(self, made: Mapping[str, Any] | None, *, trained: Mapping[str, Any] | None) -> None:
        """Let the network classify as in a test.

        Args:
            made: How the test makes its clips.
            trained: The preprocessing that is stored with the weights.
        """
        crop = (trained or {}).get("train_crop_size_px", USUAL_TRAIN_CROP)
        pooling = (made or {}).get("head_pooling")
        set_test_head(self.net, pooling, multi_label=self.multi_label, train_crop_size_px=crop)

    def _compare_clips(self, trained: Mapping[str, Any] | None, used: Mapping[str, Any] | None) -> None:
        """Report what differs between the clips of the weights and those of the run."""
        self.clip_differences = clip_differences(trained, used)
        if self.clip_differences and self.trainer.is_global_zero:
            source = self.trainer.ckpt_path or self.weights or "the network"
            print(f"{source}: trained on other clips than these: {describe_differences(self.clip_differences)}")

    # Training -----------------------------------------------------------------------------------------------------

    def configure_optimizers(self) -> Any:
        if self.schedule or self.lr_batch_size:
            check_accumulation(self.trainer)
        if self.new_layers_lr_factor != 1 and not self.weights and not self.trainer.ckpt_path:
            warn_of_new_layers(self.new_layers_lr_factor)
        groups = parameter_groups(
            self.net,
            decay_norms=self.decay_norms,
            new=self.new_parameters,
            new_lr_factor=self.new_layers_lr_factor,
            rates=self.layer_rates,
        )
        optimizer = self.optimizer(groups)
        scale_layers(optimizer)
        choose_step(optimizer, fused=self.fused_optimizer)
        if self.lr_batch_size and (step := step_size(self.trainer)):
            scaled = scale_learning_rates(optimizer, step, lr_batch_size=self.lr_batch_size)
            if self.trainer.is_global_zero and not self.trainer.ckpt_path:  # a resumed run takes its checkpoint's
                print(scaled)
        scheduler = self.schedule and run_scheduler(self.schedule, optimizer, self.trainer)
        if scheduler is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_train_batch_start(self, batch: ClipBatch, batch_idx: int) -> None:  # noqa: ARG002
        # Dropout depends on the step and not on what ran before, so a resumed run draws the same.
        torch.manual_seed(hash((self.seed, self.global_rank, self.current_epoch, batch_idx)) % 2**63)

    def training_step(self, batch: ClipBatch, batch_idx: int) -> Tensor:  # noqa: ARG002
        if len(batch.clips) == 0:
            # No video of this batch could be read. Every rank must still take part in the exchange of gradients.
            return torch.stack([parameter.sum() * 0.0 for parameter in self.net.parameters()]).sum()
        clips = batch.clips[:]
        # Picked before they are moved, so nothing waits for the device, which the steps keep busy.
        labels = batch.clip_labels.to(self.device, non_blocking=True)  # (S,) or (S, K)
        targets = labels.float() if self.multi_label else labels
        if self.mixing:
            targets = targets if self.multi_label else label_probabilities(targets, len(self.class_names))
            clips, targets = self.mixing(clips, targets, batch.video)
        logits = self(clips)
        loss = classification_loss(
            logits,
            targets,
            multi_label=self.multi_label,
            label_smoothing=self.label_smoothing,
            class_weights=self._class_weights,
        )
        self.log("train/loss", loss, batch_size=len(labels))
        if not self.multi_label:
            main_class = targets.argmax(dim=1) if self.mixing else targets  # (S,)
            accuracy = (label_ranks(logits.detach(), main_class) == 0).float().mean()
            self.log("train/clip_top1", accuracy, prog_bar=True, on_step=False, on_epoch=True, batch_size=len(labels))
        return loss

    # Evaluation -----------------------------------------------------------------------------------------------------

    def view_scores(self, batch: ClipBatch) -> Tensor:
        """Return the scores (S, K) of all views of a batch: log-probabilities, or with `multi_label` logits.

        They are float16, as they are in the score file, so that what a run logs is what the file gives again.
        """
        for failure in batch.failures.values():
            logger.warning("counted as incorrect: %s: %s", failure.path, failure.reason)
        parts = []
        for part in slices(len(batch.clips), self.views_per_forward):
            clips = batch.clips[part]
            logits = self.evaluation_forward(clips) if self.evaluation_forward else self(clips)
            parts.append(checked_logits(logits, len(clips), len(self.class_names)).float())
        logits = torch.cat(parts) if parts else torch.zeros(0, len(self.class_names), device=self.device)
        return stored_scores(logits, multi_label=self.multi_label)

    def validation_step(self, batch: ClipBatch, batch_idx: int) -> None:  # noqa: ARG002
        scores = self.view_scores(batch).float()
        probabilities = scores.sigmoid() if self.multi_label else scores.softmax(dim=1)
        video, labels, expected = (t.to(self.device) for t in (batch.video, batch.labels, batch.views_expected))
        self.val_metric.update(probabilities, video, labels, expected)
        if len(scores):
            targets = labels[video].float() if self.multi_label else labels[video]  # (S, K) or (S,)
            loss = classification_loss(scores, targets, multi_label=self.multi_label, label_smoothing=0.0)
            self.val_loss.update(loss, weight=len(scores))

    def on_validation_epoch_end(self) -> None:
        self.val_result = result = self.val_metric.compute()
        self.val_metric.reset()
        self.log("val/loss", self.val_loss.compute())
        self.val_loss.reset()
        if isinstance(result, MeanAveragePrecision):
            self.log("val/video_map", result.video_map, prog_bar=True)
        else:
            self.log("val/clip_top1", result.clip_top1)
            self.log("val/video_top1", result.video_top1, prog_bar=True)

    def test_step(self, batch: ClipBatch, batch_idx: int) -> Tensor:  # noqa: ARG002
        return self.view_scores(batch)

    def predict_step(self, batch: ClipBatch, batch_idx: int) -> Tensor:  # noqa: ARG002
        return self.view_scores(batch)

    # Checkpoints --------------------------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint.update(checkpoint_contents(self))
        step = step_size(self._trainer) if self._trainer else None
        checkpoint["new_parameters"] = list(self.new_parameters)
        checkpoint["clips_per_step"] = step and step.num_clips

    def on_load_checkpoint(self, checkpoint: Mapping[str, Any]) -> None:
        check_checkpoint(self, checkpoint, path=self._trainer and self._trainer.ckpt_path)
        resumes = self._trainer is not None and self._trainer.state.fn == TrainerFn.FITTING
        if resumes:
            self.new_parameters = list(checkpoint.get("new_parameters", []))
        if self._trainer and resumes and "loops" in checkpoint:  # Lightning has found the file, by whatever name
            run = self._trainer
            check_unfinished(run.ckpt_path, checkpoint, max_epochs=run.max_epochs, max_steps=run.max_steps)
        if self._trainer and (data := task_data(self._trainer)):
            trained, made = checkpoint.get("preprocessing"), data.preprocessing_dict()
            self._compare_clips(trained, made)
            self._set_test_head(made, trained=made if resumes else trained)
