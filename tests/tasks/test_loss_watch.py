"""A run that diverges ends with a helpful message, and its last checkpoint holds finite weights."""

import pytest
import torch
from lightning.pytorch import Callback

from tests.tasks.synthetic_runs import SyntheticClips, batch_of, classifier, synthetic_clips, trainer
from videoctx.tasks.loss_watch import NonFiniteError


def poisoned(position):
    data = synthetic_clips(6, validates=False)
    data.batches[position].clips[:] = float("nan")
    return data


def test_a_loss_that_is_not_a_number_is_reported_at_the_next_logged_step(tmp_path):
    with pytest.raises(NonFiniteError, match=r"the loss is nan in epoch 0, batch 3; expected a lower learning rate"):
        trainer(tmp_path, log_every_n_steps=2, enable_checkpointing=False, callbacks=[]).fit(
            classifier(), datamodule=poisoned(2)
        )


def test_and_at_the_end_of_an_epoch(tmp_path):
    with pytest.raises(NonFiniteError, match="batch 5"):
        trainer(tmp_path, log_every_n_steps=50, enable_checkpointing=False, callbacks=[]).fit(
            classifier(), datamodule=poisoned(5)
        )


def test_no_checkpoint_of_it_is_written(tmp_path):
    with pytest.raises(NonFiniteError, match=r"weights, such as net\.\S+, are not finite in epoch 0"):
        trainer(tmp_path, log_every_n_steps=50).fit(classifier(), datamodule=poisoned(2))
    checkpoint = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 2
    assert all(tensor.isfinite().all() for tensor in checkpoint["state_dict"].values())


def test_averages_of_batch_norm_count(tmp_path):
    """They do not change the training loss, but every evaluated score would not be finite."""
    model = classifier()
    name, average = next((name, buffer) for name, buffer in model.named_buffers() if name.endswith("running_var"))
    average[0] = float("inf")
    with pytest.raises(NonFiniteError, match=f"1 weights, such as {name}, are not finite"):
        trainer(tmp_path).fit(model, datamodule=synthetic_clips(validates=False))
    assert not (tmp_path / "last.ckpt").exists()


def test_a_mask_may_hold_what_is_not_finite(tmp_path):
    model = classifier()
    model.net.register_buffer("mask", torch.full((2,), float("-inf")))
    trainer(tmp_path).fit(model, datamodule=synthetic_clips(validates=False))
    assert (tmp_path / "last.ckpt").exists()


def test_a_learning_rate_that_is_too_high_ends_the_run(tmp_path):
    with pytest.raises(NonFiniteError, match=r"trainer\.gradient_clip_val"):
        trainer(tmp_path, max_epochs=30).fit(classifier(lr=1e12), datamodule=synthetic_clips(validates=False))


class Shown(Callback):
    """What the progress bar has to show after each step."""

    def __init__(self):
        self.losses = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):  # noqa: ARG002
        self.losses.append((trainer.progress_bar_metrics.get("loss"), outputs["loss"].item()))


def test_the_progress_bar_shows_the_loss_of_the_logged_steps(tmp_path):
    shown = Shown()
    data = SyntheticClips([batch_of(4, seed=seed) for seed in range(5)], validates=False)
    model = classifier()
    trainer(tmp_path, log_every_n_steps=2, callbacks=[shown], enable_checkpointing=False).fit(model, datamodule=data)
    bar, losses = zip(*shown.losses, strict=True)  # the watch comes after: a step's loss is there in the next
    assert bar == (None, None, *(pytest.approx(losses[1]),) * 2, pytest.approx(losses[3]))
