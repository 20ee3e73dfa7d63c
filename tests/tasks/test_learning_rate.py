"""The learning rate is scaled to the clips per step, and the result is printed."""

import pytest
import torch
from torch.optim import SGD

from tests.tasks.synthetic_runs import classifier, synthetic_clips, trainer, trainer_with
from videoctx.tasks import WarmupCosine
from videoctx.tasks.learning_rate import StepSize, scale_learning_rates


def test_every_group_is_scaled():
    groups = [{"params": [torch.zeros(1, requires_grad=True)], "lr": lr} for lr in (0.1, 0.4)]
    optimizer = SGD(groups, lr=1.0)
    line = scale_learning_rates(optimizer, StepSize(2, 8), lr_batch_size=64)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.025, 0.1])
    assert line == "learning rate 0.1 for 64 clips per step → 0.025 for 16 (2 devices × 8 clips)"


@pytest.mark.parametrize(
    ("num_devices", "clips", "accumulate", "lr", "reported"),
    [
        (1, 4, 1, 0.05, "0.05 for 4 (1 device × 4 clips)"),
        (2, 4, 1, 0.1, "0.1 for 8 (2 devices × 4 clips)"),
        (2, 6, 3, 0.45, "0.45 for 36 (2 devices × 6 clips × 3 accumulated batches)"),
    ],
)
def test_devices_clips_and_accumulated_batches_count(num_devices, clips, accumulate, lr, reported, capsys):
    model = classifier(lr=0.1, lr_batch_size=8, schedule=WarmupCosine(warmup_epochs=1))
    model._trainer = trainer_with(
        synthetic_clips(clips_per_device=clips),
        world_size=num_devices,
        accumulate_grad_batches=accumulate,
        is_global_zero=True,
        ckpt_path=None,
        callbacks=[],
        fast_dev_run=False,
        train_dataloader=[],
        estimated_stepping_batches=100,
        num_training_batches=10 * accumulate,
    )
    made = model.configure_optimizers()
    assert capsys.readouterr().out == f"learning rate 0.1 for 8 clips per step → {reported}\n"
    for group in made["optimizer"].param_groups:
        assert group["initial_lr"] == pytest.approx(lr)
        assert group["lr"] == pytest.approx(lr * 0.01)  # the schedule starts from there


@pytest.mark.parametrize(("lr_batch_size", "lr"), [(None, 0.1), (16, 0.05)])
def test_a_run_trains_with_it(lr_batch_size, lr, tmp_path, capsys):
    model = classifier(lr=0.1, lr_batch_size=lr_batch_size)
    run = trainer(tmp_path, accumulate_grad_batches=2)
    run.fit(model, datamodule=synthetic_clips(2, validates=False))
    assert [group["lr"] for group in run.optimizers[0].param_groups] == pytest.approx([lr, lr])
    assert ("learning rate" in capsys.readouterr().out) == (lr_batch_size is not None)


def test_the_command_line_scales_by_the_clips_of_the_data(run, capsys):
    """A resumed run takes the learning rate of its checkpoint."""
    arguments = ["--model.lr_batch_size=48", "--data.train.clips_per_video=2"]
    first = run("fit", *arguments, "--trainer.max_epochs=1", name="-first")
    assert "learning rate 0.02 for 48 clips per step → 0.0025 for 6 (1 device × 6 clips)" in capsys.readouterr().out
    run("fit", *arguments, "--ckpt_path", first / "checkpoints" / "last.ckpt", name="-second")
    assert "learning rate" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("clips_per_video", "reported"), [(1, []), (2, ["for 3 clips per step; this run has 6 (1 device"])]
)
def test_a_resumed_run_with_other_steps_warns(clips_per_video, reported, run, place, caplog):
    """The optimizer and the schedule of a checkpoint are taken as they are."""
    run("fit", f"--data.train.clips_per_video={clips_per_video}", "--ckpt_path", place.last, "--trainer.max_epochs=5")
    messages = [message for message in caplog.messages if "are the checkpoint's" in message]
    assert [part in message for part, message in zip(reported, messages, strict=True)] == [True] * len(reported)


def test_lr_batch_size_needs_data_that_tells_its_clips(tmp_path):
    loader = synthetic_clips(1).train_dataloader()
    with pytest.raises(ValueError, match=r"lr_batch_size 64 needs a data module .*: the run has plain loaders"):
        trainer(tmp_path).fit(classifier(lr_batch_size=64), loader)
    with pytest.raises(ValueError, match="lr_batch_size is 0; expected 1 or more"):
        classifier(lr_batch_size=0)
