"""VideoClassifier: the LightningModule that trains a network and evaluates it per clip and per video."""

import logging
import math
from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.cli import OptimizerCallable
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LRScheduler

from videoctx.batch import ClipBatch, slices
from videoctx.contract import Stage
from videoctx.evaluation.accuracy import Accuracy, VideoAccuracy
from videoctx.evaluation.card import CARD_FILE, describe_card, make_card, write_card
from videoctx.evaluation.evaluation_result import EvaluationResult
from videoctx.evaluation.result_files import PREDICTIONS_FILE, write_predictions, write_result_files
from videoctx.evaluation.scores import SCORES_FILE, ScoreWriter, merge_scores, read_scores
from videoctx.evaluation.video_map import MeanAveragePrecision, VideoMeanAveragePrecision
from videoctx.evaluation.view_scores import ViewScores
from videoctx.models.bf16_gradients import watch_bf16_gradients
from videoctx.models.checkpoints import load_weights, read_checkpoint
from videoctx.models.inference import for_inference, has_known_layers, to_channels_last
from videoctx.tasks.atomic_checkpoint_io import AtomicCheckpointIO
from videoctx.tasks.batch_norm_size import check_single_clip, warn_of_few_clips
from videoctx.tasks.learning_rate import StepSize, scale_learning_rates
from videoctx.tasks.loss_watch import LossWatch
from videoctx.tasks.lost_rank import LostRank
from videoctx.tasks.multigrid import check_stages, described_stages
from videoctx.tasks.parameter_groups import parameter_groups
from videoctx.tasks.preemption import Preemption
from videoctx.tasks.resumed_optimizer import SavedOptimizer, check_optimizer, check_schedule
from videoctx.tasks.schedules import Schedule
from videoctx.tasks.task_data import task_data
from videoctx.tasks.throughput import Throughput

logger = logging.getLogger(__name__)

PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")  # of the trainer; the others have no float32 for clips and loss

# Of the trainer, and what a fast copy of the network then computes in.
FAST_PRECISIONS = {"32-true": torch.float32, "bf16-mixed": torch.bfloat16}


class VideoClassifier(LightningModule):
    """Training of a video network on the classes of clips; multi-view validation and test.

    Logs `train/loss`, `train/clip_top1`, `val/clip_top1`, `val/video_top1`, or with `multi_label` `train/loss` and
    `val/video_map`, and every metric of a test, such as
    `test/video_top1`. `test` writes the scores of every view to `scores.parquet` and, made of them, the result to
    `results.json`, `classes.csv` and `confusion.csv`; `predict` the scores and `predictions.csv`; both a `card.json`,
    all in the run's folder.

    Args:
        class_names: K names; the data knows them.
        net: makes the network, (B, 3, T, H, W) → logits (B, K), for K classes; or is one, with that many classes.
        clips_per_device: clips in a training batch of one device; the data knows it.
        optimizer: makes the optimizer for groups of parameters; norms get no weight decay.
        decay_norms: they get it after all.
        lr_batch_size: the optimizer's learning rate is for so many clips a step; where a step has more or fewer, on all
            devices and nodes and with accumulation, it is scaled in proportion. None: it is taken as it is.
        schedule: learning rate over the run; constant without.
        multi_label: a video may show several classes: a sigmoid and binary cross-entropy for each, no softmax.
        label_smoothing: share of the target that is spread over all classes; with `multi_label`, over yes and no.
        mixing: mixes a batch's clips and targets, such as `videoctx.data.ClipMixing`. A mixed clip counts as
            right where the network names the class that it shows most of.
        weights: checkpoint to start from, of any project that `videoctx convert` reads. In training a classifier for
            other classes, and blocks that it does not have, start anew, and it is said; elsewhere that is an error.
        views_per_forward: most views that go through the network at once in validation and test.
        channels_last: keep network and clips in `torch.channels_last_3d`. None: where every layer is this package's or
            torch's; those of others may not take it.
        compiled: validate, test and predict with `torch.compile`; validation during training goes on without.
        seed: of dropout and mixing.
    """

    def __init__(
        self,
        class_names: list[str],
        net: Callable[[int], nn.Module] | nn.Module,
        *,
        clips_per_device: int | None = None,
        optimizer: OptimizerCallable = lambda params: SGD(
            params, lr=0.01, momentum=0.9, nesterov=True, weight_decay=1e-4
        ),
        decay_norms: bool = False,
        lr_batch_size: int | None = None,
        schedule: Schedule | None = None,
        multi_label: bool = False,
        label_smoothing: float = 0.0,
        mixing: nn.Module | None = None,
        weights: str | None = None,
        views_per_forward: int = 8,
        channels_last: bool | None = None,
        compiled: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing is {label_smoothing}; expected 0 to less than 1")
        if views_per_forward < 1:
            raise ValueError(f"views_per_forward is {views_per_forward}; expected 1 or more")
        if lr_batch_size is not None and (lr_batch_size < 1 or clips_per_device is None):
            raise ValueError(
                f"lr_batch_size is {lr_batch_size} with clips_per_device {clips_per_device};"
                " expected 1 or more, and both"
            )
        self.class_names = class_names
        self.net = net if isinstance(net, nn.Module) else net(len(class_names))
        if channels_last is None:
            channels_last = has_known_layers(self.net)
        self.memory_format = torch.channels_last_3d if channels_last else torch.contiguous_format
        if channels_last:
            to_channels_last(self.net)
        self.compiled = compiled
        self.clips_per_device = clips_per_device
        self.optimizer = optimizer
        self.decay_norms = decay_norms
        self.lr_batch_size = lr_batch_size
        self.schedule = schedule
        self.multi_label = multi_label
        self.label_smoothing = label_smoothing
        self.mixing = mixing
        self.weights = weights
        self.views_per_forward = views_per_forward
        self.seed = seed
        self.val_accuracy = VideoMeanAveragePrecision() if multi_label else VideoAccuracy()
        self._evaluation_network: Callable[[Tensor], Tensor] | None = (
            None  # a fast copy of the network, where one evaluates
        )
        self._watches_bf16_gradients = False
        self.score_writer: ScoreWriter | None = None
        self._saved_optimizer: SavedOptimizer | None = None  # of the checkpoint that training goes on from
        self._saved_clips: int | None = None  # of a step, of that checkpoint
        self.net_config: dict[str, Any] | None = None  # class_path and init_args, where a config made the network
        self.preprocessing: dict[str, Any] | None = None  # how a test makes its clips (`videoctx.data.preprocessing`)

    def forward(self, clips: Tensor) -> Tensor:
        """(B, 3, T, H, W) → logits (B, K)."""
        return self._checked(self.net(clips.contiguous(memory_format=self.memory_format)), clips)

    def _checked(self, logits: Tensor, clips: Tensor) -> Tensor:
        if logits.shape != (len(clips), len(self.class_names)):
            raise ValueError(
                f"the network gives {tuple(logits.shape)} for {len(clips)} clips; expected logits"
                f" ({len(clips)}, {len(self.class_names)}), one a class"
            )
        return logits

    def setup(self, stage: str) -> None:
        self._saved_optimizer = self._saved_clips = None  # of a run before this one
        if self.trainer.precision not in PRECISIONS:
            raise ValueError(f"trainer.precision is {self.trainer.precision}; expected {' or '.join(PRECISIONS)}")
        if stage == "fit" and len(self.class_names) == 1 and not self.multi_label:
            raise ValueError(
                f"there is one class, {self.class_names[0]!r}: every clip would be right; expected two or more, or"
                " data.multi_label"
            )
        if stage == "fit" and (stages := self._stages()):
            check_stages(self.net, stages, self.schedule)
        if type(self.trainer.strategy.checkpoint_io) is TorchCheckpointIO:  # none was chosen
            self.trainer.strategy.checkpoint_io = AtomicCheckpointIO()
        if self.weights and not self.trainer.ckpt_path:
            checkpoint = read_checkpoint(self.weights)
            same_classes = checkpoint.num_classes == len(self.class_names)
            trains = stage == "fit"  # what is evaluated must be all there
            try:
                report = load_weights(
                    self.net,
                    checkpoint.weights_for(self.net),
                    allow_new_head=trains and not same_classes,
                    allow_new_blocks=trains,
                )
            except ValueError as error:
                raise ValueError(f"{self.weights}: {error}") from error
            if self.trainer.is_global_zero:
                print(f"{self.weights}: weights of {checkpoint.format}; not taken over: {report}")

    def __deepcopy__(self, memo: dict[int, Any]) -> "VideoClassifier":
        """For averages. What makes the optimizer is shared: out of a config, it holds the parser and the trainer."""
        memo[id(self.optimizer)] = self.optimizer
        copied = memo[id(self)] = self.__new__(type(self))
        copied.__dict__.update(deepcopy(self.__getstate__(), memo))
        return copied

    def configure_callbacks(self) -> list[Callback]:
        return [LossWatch(), Throughput(), Preemption(), LostRank()]

    def configure_optimizers(self) -> Any:
        optimizer = self.optimizer(parameter_groups(self.net, decay_norms=self.decay_norms))
        if self.lr_batch_size:
            scaled = scale_learning_rates(optimizer, self._step_size(), lr_batch_size=self.lr_batch_size)
            if self.trainer.is_global_zero and not self.trainer.ckpt_path:  # a resumed run takes that of its checkpoint
                print(scaled)
        scheduler = self._scheduler(optimizer)
        if self._saved_optimizer:
            check_optimizer(optimizer, self._saved_optimizer)
            if self._has_saved_steps():
                check_schedule(optimizer, scheduler, self._saved_optimizer)
        if scheduler is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def _has_saved_steps(self) -> bool:
        """Whether a step is of as many clips as in the run that is gone on with; it is said where it is not."""
        step = self._step_size()
        if not (self._saved_clips and step) or step.num_clips == self._saved_clips:
            return True
        if self.trainer.is_global_zero:
            logger.warning(
                f"the learning rate and its schedule are the checkpoint's, for {self._saved_clips} clips a step;"
                f" this run has {step}"
            )
        return False

    def _scheduler(self, optimizer: Optimizer) -> LRScheduler | None:
        if self.schedule is None:
            return None
        if len(stages := self._stages()) > 1:
            return self.schedule.over(optimizer, stages)
        total_steps = self.trainer.estimated_stepping_batches
        if not math.isfinite(total_steps):
            raise ValueError("model.schedule needs an end of the run; expected trainer.max_epochs or trainer.max_steps")
        steps_per_epoch = self.trainer.num_training_batches / self.trainer.accumulate_grad_batches
        return self.schedule.scheduler(optimizer, steps_per_epoch=steps_per_epoch, total_steps=int(total_steps))

    def _stages(self) -> Sequence[Stage]:
        """Of multigrid training, where the data is made so (`videoctx.data.sampling.multigrid`)."""
        data = task_data(self.trainer)
        return data.stages if data else ()

    def _step_size(self) -> StepSize | None:
        """Of a run whose data has said how many clips a batch has."""
        if self.clips_per_device is None:
            return None
        return StepSize(self.trainer.world_size, self.clips_per_device, self.trainer.accumulate_grad_batches)

    # Training -----------------------------------------------------------------------------------------------------

    def on_fit_start(self) -> None:
        if self.clips_per_device == 1 and (data := task_data(self.trainer)):
            check_single_clip(self.net, clip_size=data.train_clip_size)
        if self.clips_per_device and self.trainer.is_global_zero:
            warn_of_few_clips(self.net, clips_per_device=self.clips_per_device, num_devices=self.trainer.world_size)

    def on_train_start(self) -> None:
        if self.trainer.is_global_zero and (stages := self._stages()):
            print(described_stages(stages, self.schedule, self.trainer.optimizers[0]))
        self._watches_bf16_gradients = self.device.type == "cpu" and "bf16" in self.trainer.precision

    def on_train_batch_start(self, batch: ClipBatch, batch_idx: int) -> None:  # noqa: ARG002
        # Dropout follows from the step and not from what ran before it, so a resumed run draws the same.
        torch.manual_seed(hash((self.seed, self.global_rank, self.current_epoch, batch_idx)) % 2**63)

    def training_step(self, batch: ClipBatch, batch_idx: int) -> Tensor:  # noqa: ARG002
        if len(batch.clips) == 0:
            # No video of this batch could be read. Every rank must still take part in the exchange of gradients.
            return sum(parameter.sum() * 0.0 for parameter in self.net.parameters())
        clips = batch.clips[:]
        # Picked before they travel: nothing waits for the device, and so the steps keep it busy.
        labels = batch.clip_labels.to(self.device, non_blocking=True)  # (S,) or (S, K)
        targets = labels.float() if self.multi_label else labels
        if self.mixing:
            targets = targets if self.multi_label else F.one_hot(targets, len(self.class_names)).float()
            clips, targets = self.mixing(clips, targets, batch.video)
        logits = self._watched(clips) if self._watches_bf16_gradients else self(clips)
        loss = self._loss(logits, targets)
        self.log("train/loss", loss, batch_size=len(labels))
        if not self.multi_label:
            most_shown = targets.argmax(dim=1) if self.mixing else targets  # (S,)
            accuracy = (logits.detach().argmax(dim=1) == most_shown).float().mean()
            self.log("train/clip_top1", accuracy, prog_bar=True, on_step=False, on_epoch=True, batch_size=len(labels))
        return loss

    def _watched(self, clips: Tensor) -> Tensor:
        """The logits of a run's first clips, if their gradients will be right."""
        with watch_bf16_gradients(self.net) as wrong:
            logits = self(clips)
        if wrong:
            raise ValueError(
                f"trainer.precision is {self.trainer.precision}, in which torch on a CPU gets the gradients of"
                f" {len(wrong)} convolutions wrong with clips of {clips.shape[2]} frames ({wrong[0]}, …); expected"
                " 32-true, or longer clips (data.clips.clip_len)"
            )
        self._watches_bf16_gradients = False
        return logits

    def _loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Of logits (S, K) and targets (S,) or (S, K), the mean over clips, and with `multi_label` over classes."""
        if not self.multi_label:
            return F.cross_entropy(logits, targets, label_smoothing=self.label_smoothing)
        targets = targets * (1 - self.label_smoothing) + self.label_smoothing / 2
        return F.binary_cross_entropy_with_logits(logits.float(), targets)

    # Evaluation ------------------------------------------------------------------------------------------------------

    def on_validation_epoch_start(self) -> None:
        self._choose_evaluation_network()

    def on_test_epoch_start(self) -> None:
        self._choose_evaluation_network()

    def on_predict_epoch_start(self) -> None:
        self._choose_evaluation_network()

    def teardown(self, stage: str) -> None:  # noqa: ARG002
        self._evaluation_network = None

    def _choose_evaluation_network(self) -> None:
        """A fast copy of the network, with the weights that callbacks have put in; in training, the network itself."""
        self._evaluation_network = None
        if self.trainer.state.fn == TrainerFn.FITTING:
            return
        dtype = FAST_PRECISIONS.get(self.trainer.precision)
        if dtype is not None and has_known_layers(self.net):
            # Its `forward`, which is no module: the copy is no part of what is saved and counted.
            self._evaluation_network = for_inference(self.net, self.device, dtype=dtype, compiled=self.compiled).forward
        elif self.compiled:
            raise ValueError(
                f"compiled is for networks of this package's and torch's layers alone, with precision"
                f" {' or '.join(FAST_PRECISIONS)}; got {type(self.net).__name__} with {self.trainer.precision}"
            )

    def _evaluated(self, clips: Tensor) -> Tensor:
        """(b, 3, T, H, W) → logits (b, K)."""
        return self._checked(self._evaluation_network(clips), clips) if self._evaluation_network else self(clips)

    def view_scores(self, batch: ClipBatch) -> Tensor:
        """(S, K) logarithms of the probabilities of all views of the batch, `views_per_forward` at a time; with
        `multi_label`, logits for a sigmoid.

        In float16, as they are kept on disk, so that what is said during a run is what the file says. Failures are
        named.
        """
        for failure in batch.failures.values():
            logger.warning("counted as wrong: %s: %s", failure.path, failure.reason)
        parts = [
            self._evaluated(batch.clips[part]).float() for part in slices(len(batch.clips), self.views_per_forward)
        ]
        logits = torch.cat(parts) if parts else torch.zeros(0, len(self.class_names), device=self.device)
        return (logits if self.multi_label else logits.log_softmax(dim=1)).half()

    def validation_step(self, batch: ClipBatch, batch_idx: int) -> None:  # noqa: ARG002
        scores = self.view_scores(batch).float()
        probabilities = scores.sigmoid() if self.multi_label else scores.softmax(dim=1)
        owners, labels, expected = (t.to(self.device) for t in (batch.video, batch.labels, batch.views_expected))
        self.val_accuracy.update(probabilities, owners, labels, expected)

    def on_validation_epoch_end(self) -> None:
        accuracy = self.val_accuracy.compute()
        self.val_accuracy.reset()
        if self.multi_label:
            self.log("val/video_map", accuracy.video_map, prog_bar=True)
        else:
            self.log("val/clip_top1", accuracy.clip_top1)
            self.log("val/video_top1", accuracy.video_top1, prog_bar=True)
        if self.trainer.state.fn == TrainerFn.VALIDATING and self.trainer.is_global_zero:
            print(_described(accuracy))

    def on_test_start(self) -> None:
        self._open_scores()

    def test_step(self, batch: ClipBatch, batch_idx: int) -> None:  # noqa: ARG002
        self.score_writer.write(batch, self.view_scores(batch))

    def on_test_epoch_end(self) -> None:
        scores = self._close_scores()
        result = self._report(scores) if self.trainer.is_global_zero else None
        result = self.trainer.strategy.broadcast(result)
        self.log_dict({f"test/{name}": value for name, value in result.items() if isinstance(value, float)})

    def _report(self, scores: Path) -> dict[str, Any]:
        evaluation_result = EvaluationResult(read_scores(scores))
        result = write_result_files(
            evaluation_result,
            scores.parent,
            checkpoint=str(self.trainer.ckpt_path) if self.trainer.ckpt_path else None,
            num_parameters=sum(parameter.numel() for parameter in self.net.parameters()),
        )
        print(evaluation_result.describe())
        self._write_card(evaluation_result.view_scores, scores.with_name(CARD_FILE))
        print(f"scores of every view: {scores}")
        return result

    def on_predict_start(self) -> None:
        self._open_scores()

    def predict_step(self, batch: ClipBatch, batch_idx: int) -> None:  # noqa: ARG002
        self.score_writer.write(batch, self.view_scores(batch))

    def on_predict_epoch_end(self) -> None:
        scores = self._close_scores()
        if self.trainer.is_global_zero:
            predictions, stored = scores.with_name(PREDICTIONS_FILE), read_scores(scores)
            write_predictions(stored, predictions)
            self._write_card(stored, scores.with_name(CARD_FILE))
            print(f"the five best classes of every video: {predictions}")

    def _open_scores(self) -> None:
        folder = Path(self.trainer.log_dir or self.trainer.default_root_dir)
        path = folder / f"scores-rank{self.global_rank}.parquet"
        self.score_writer = ScoreWriter(
            path, self.class_names, clip_placement=self._data_card().get("clip_placement"), multi_label=self.multi_label
        )

    def _close_scores(self) -> Path:
        """The scores of all ranks in one file, once this returns on rank zero."""
        self.score_writer.close()
        self.trainer.strategy.barrier()
        folder = self.score_writer.path.parent
        if self.trainer.is_global_zero:
            parts = [folder / f"scores-rank{rank}.parquet" for rank in range(self.trainer.world_size)]
            merge_scores(parts, folder / SCORES_FILE)
        return folder / SCORES_FILE

    def _data_card(self) -> dict[str, Any]:
        """What the data module says of its test videos (`videoctx.evaluation.card`)."""
        data = task_data(self.trainer)
        return dict(data.card("test")) if data else {}

    def _write_card(self, stored: ViewScores, path: Path) -> None:
        card = make_card(
            data=self._data_card(),
            num_videos=len(stored.paths),
            num_failed=int(stored.failed.sum()),
            checkpoint=self.trainer.ckpt_path or self.weights,
            seed=self.seed,
            device=self.device,
        )
        write_card(card, path)
        print(f"made of: {describe_card(card)}")

    # Checkpoints --------------------------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["class_names"] = list(self.class_names)
        checkpoint["net"] = self.net_config
        checkpoint["preprocessing"] = self.preprocessing
        checkpoint["multi_label"] = self.multi_label
        step = self._step_size()
        checkpoint["clips_per_step"] = step and step.num_clips

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        names = checkpoint.get("class_names")
        if names is None:
            raise ValueError("the checkpoint has no class names: it was not written by videoctx")
        if names != self.class_names:
            raise ValueError(
                f"the checkpoint was trained on {len(names)} classes ({_some(names)}), the data has"
                f" {len(self.class_names)} ({_some(self.class_names)}); expected the same, in the same order"
            )
        ours, theirs = self.state_dict(), checkpoint["state_dict"]
        reshaped = {name for name in ours.keys() & theirs.keys() if ours[name].shape != theirs[name].shape}
        other = sorted((ours.keys() ^ theirs.keys()) | reshaped)
        if other:
            raise ValueError(
                f"{self.trainer.ckpt_path}: the checkpoint is of another network: {len(other)} weights differ in name"
                f" or shape ({_some(other)}); expected the config that it was trained with"
            )
        self._saved_optimizer, self._saved_clips = SavedOptimizer.of(checkpoint), checkpoint.get("clips_per_step")


def _described(accuracy: Accuracy | MeanAveragePrecision) -> str:
    if isinstance(accuracy, MeanAveragePrecision):
        return f"{accuracy.num_videos} videos, {accuracy.num_failed} failed: mAP {accuracy.video_map:.2%}"
    return (
        f"{accuracy.num_videos} videos, {accuracy.num_views} views, {accuracy.num_failed} failed:"
        f" clip top-1 {accuracy.clip_top1:.2%}, video top-1 {accuracy.video_top1:.2%}, top-5 {accuracy.video_top5:.2%}"
    )


def _some(names: list[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")
