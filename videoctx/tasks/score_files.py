"""ScoreFiles: a test and a prediction write the scores of every view, and what follows from them, to files.

| file | of | content |
|---|---|---|
| `scores.parquet` | test, predict | the scores of every view (`videoctx.evaluation.scores`) |
| `results.json` | test | counts, metrics and their intervals |
| `classes.csv`, `confusion.csv` | test | the result per class, and the pairs of classes that were confused |
| `predictions.csv` | predict | the best classes of every video, at most five |
| `card.json` | test, predict | what the files were made of (`videoctx.evaluation.card`) |
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from videoctx.batch import ClipBatch
from videoctx.evaluation.card import describe_card, make_card, write_card
from videoctx.evaluation.controls import CARD_FILE
from videoctx.evaluation.evaluation_result import EvaluationResult
from videoctx.evaluation.result_files import PREDICTIONS_FILE, write_predictions, write_result_files
from videoctx.evaluation.run_folders import SCORES_FILE
from videoctx.evaluation.scores import ScoreWriter, merge_scores, read_scores
from videoctx.evaluation.view_scores import ViewScores
from videoctx.models.network_name import network_name
from videoctx.models.test_head import describe_test_head
from videoctx.tasks.context_off import blocks_switched_off
from videoctx.tasks.task_data import task_data

if TYPE_CHECKING:
    from videoctx.tasks.classifier import VideoClassifier


class ScoreFiles(Callback):
    """Writes the scores that `test_step` and `predict_step` return, and logs the metrics of a test as `test/…`.

    The files are in the folder of the Trainer's logger or, without a logger, in its `default_root_dir`. Every rank
    writes its own scores. When the epoch ends, rank zero merges them and makes the other files from them.
    """

    def __init__(self, task: "VideoClassifier") -> None:
        self.task = task
        self._writer: ScoreWriter | None = None

    def on_test_start(self, trainer: Trainer, *_: Any) -> None:
        self._open(trainer)

    def on_test_batch_end(
        self,
        trainer: Trainer,  # noqa: ARG002
        pl_module: LightningModule,  # noqa: ARG002
        outputs: Any,
        batch: ClipBatch,
        batch_idx: int,  # noqa: ARG002
        dataloader_idx: int = 0,  # noqa: ARG002
    ) -> None:
        self._write(batch, outputs)

    def on_test_epoch_end(self, trainer: Trainer, *_: Any) -> None:
        scores = self._merge(trainer)
        result = write_test_files(scores, trainer, self.task) if trainer.is_global_zero else {}
        result = trainer.strategy.broadcast(result)
        self.task.log_dict({f"test/{name}": value for name, value in result.items() if isinstance(value, float)})

    def on_predict_start(self, trainer: Trainer, *_: Any) -> None:
        self._open(trainer)

    def on_predict_batch_end(
        self,
        trainer: Trainer,  # noqa: ARG002
        pl_module: LightningModule,  # noqa: ARG002
        outputs: Any,
        batch: ClipBatch,
        batch_idx: int,  # noqa: ARG002
        dataloader_idx: int = 0,  # noqa: ARG002
    ) -> None:
        self._write(batch, outputs)

    def on_predict_epoch_end(self, trainer: Trainer, *_: Any) -> None:
        scores = self._merge(trainer)
        if trainer.is_global_zero:
            write_prediction_files(scores, trainer, self.task)

    def on_exception(self, *_: Any) -> None:
        if self._writer is not None:
            self._writer.discard()

    def _open(self, trainer: Trainer) -> None:
        folder = Path(trainer.log_dir or trainer.default_root_dir)
        self._writer = ScoreWriter(
            folder / f"scores-rank{trainer.global_rank}.parquet",
            self.task.class_names,
            clip_placement=_data_card(trainer).get("clip_placement"),
            multi_label=self.task.multi_label,
        )

    def _write(self, batch: ClipBatch, scores: Tensor) -> None:
        assert self._writer is not None
        self._writer.write(batch, scores)

    def _merge(self, trainer: Trainer) -> Path:
        """Merge the scores of all ranks into one file. On rank zero, it is complete when this returns."""
        assert self._writer is not None
        self._writer.close()
        trainer.strategy.barrier()
        folder = self._writer.path.parent
        if trainer.is_global_zero:
            parts = [folder / f"scores-rank{rank}.parquet" for rank in range(trainer.world_size)]
            merge_scores(parts, folder / SCORES_FILE)
        return folder / SCORES_FILE


def write_test_files(scores: Path, trainer: Trainer, task: "VideoClassifier") -> dict[str, object]:
    """Evaluate a score file, write the other files of a test beside it, and return the content of `results.json`."""
    evaluation_result = EvaluationResult(read_scores(scores))
    result = write_result_files(
        evaluation_result,
        scores.parent,
        checkpoint=str(trainer.ckpt_path) if trainer.ckpt_path else None,
        num_parameters=sum(parameter.numel() for parameter in task.net.parameters()),
    )
    print(evaluation_result.describe())
    _write_card(evaluation_result.view_scores, scores.with_name(CARD_FILE), trainer, task)
    print(f"scores of every view: {scores}")
    return result


def write_prediction_files(scores: Path, trainer: Trainer, task: "VideoClassifier") -> None:
    """Write the other files of a prediction beside its score file."""
    predictions, view_scores = scores.with_name(PREDICTIONS_FILE), read_scores(scores)
    write_predictions(view_scores, predictions)
    _write_card(view_scores, scores.with_name(CARD_FILE), trainer, task)
    print(f"the best classes of every video: {predictions}")


def _write_card(view_scores: ViewScores, path: Path, trainer: Trainer, task: "VideoClassifier") -> None:
    data = _data_card(trainer)
    card = make_card(
        data=data and {**data, "head": describe_test_head(task.net)},
        network=network_name(task.net),
        num_videos=len(view_scores.paths),
        num_failed=int(view_scores.failed.sum()),
        checkpoint=str(trainer.ckpt_path) if trainer.ckpt_path else task.weights,
        clip_differences=task.clip_differences,
        context_off=blocks_switched_off(trainer),
        seed=task.seed,
        device=task.device,
    )
    write_card(card, path)
    print(f"made of: {describe_card(card)}")


def _data_card(trainer: Trainer) -> dict[str, Any]:
    data = task_data(trainer)
    return dict(data.card("test")) if data else {}
