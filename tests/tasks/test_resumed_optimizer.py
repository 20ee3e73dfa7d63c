"""A resumed run has the optimizer and schedule of its checkpoint, or it is refused."""

import pytest
import torch
from torch.optim import SGD, AdamW

from tests.tasks.synthetic_runs import classifier, synthetic_clips, trainer
from videoctx.tasks import WarmupCosine, WarmupSteps
from videoctx.tasks.resumed_optimizer import SavedOptimizer, check_optimizer, check_schedule

STEPS = 6


def made(optimizer=SGD, schedule=None, *, total_steps=12, groups=2, lr=0.1, **settings):
    """An optimizer and a scheduler as they are before the first step."""
    parameters = [torch.nn.Parameter(torch.ones(2)) for _ in range(2)]
    made = optimizer(
        [{"params": part} for part in ([parameters], [[p] for p in parameters])[groups - 1]], lr=lr, **settings
    )
    return made, schedule and schedule.scheduler(made, steps_per_epoch=4, total_steps=total_steps)


def saved(*arguments, **settings):
    optimizer, scheduler = made(*arguments, **settings)
    for _ in range(STEPS):
        for parameter in (parameter for group in optimizer.param_groups for parameter in group["params"]):
            parameter.grad = torch.ones(2)
        optimizer.step()
        if scheduler:
            scheduler.step()
    return SavedOptimizer.from_checkpoint(
        {
            "optimizer_states": [optimizer.state_dict()],
            "lr_schedulers": [scheduler.state_dict()] if scheduler else [],
        }
    )


SCHEDULES = {
    "none": None,
    "cosine": WarmupCosine(warmup_epochs=0.5),
    "steps": WarmupSteps(milestone_epochs=[1, 2]),
    "warm-up and steps": WarmupSteps(milestone_epochs=[1, 2], warmup_epochs=0.5),
}


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
def test_the_same_is_taken(schedule):
    optimizer, scheduler = made(SGD, schedule, momentum=0.9)
    check_optimizer(optimizer, saved(SGD, schedule, momentum=0.9))
    check_schedule(optimizer, scheduler, saved(SGD, schedule, momentum=0.9))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"momentum": 0.8}, "model.optimizer is not the checkpoint's: momentum is 0.8 here and 0.9 there"),
        ({"momentum": 0.9, "weight_decay": 1e-4}, "weight_decay is 0.0001 here and 0 there"),
        ({"momentum": 0.9, "nesterov": True}, "nesterov is"),
        ({"momentum": 0.9, "groups": 1}, "model.decay_norms"),
        ({"optimizer": AdamW}, "has dampening, momentum, nesterov, which AdamW lacks"),
    ],
)
def test_another_optimizer_is_refused(settings, words):
    with pytest.raises(ValueError, match=f"{words}.*expected the config .* --model.weights"):
        check_optimizer(made(**settings)[0], saved(momentum=0.9))


@pytest.mark.parametrize(
    ("before", "now", "words"),
    [
        (("none", {}), ("none", {"lr": 0.01}), "learning rate is not the checkpoint's: it is 0.01 here and 0.1 there"),
        (("cosine", {}), ("cosine", {"lr": 0.01}), "0.01 here and 0.1 there"),
        (("cosine", {}), ("cosine", {"total_steps": 16}), "last_lr is"),  # over more epochs it would jump
        (("cosine", {}), ("none", {}), "has a schedule of the learning rate, this run has none"),
        (("none", {}), ("cosine", {}), "has no schedule of the learning rate, this run has one"),
    ],
)
def test_another_learning_rate_is_refused(before, now, words):
    checkpoint, (optimizer, scheduler) = (
        make(SGD, SCHEDULES[name], **settings) for make, (name, settings) in ((saved, before), (made, now))
    )
    with pytest.raises(ValueError, match=f"{words}.*expected the config"):
        check_schedule(optimizer, scheduler, checkpoint)


def test_another_end_is_refused_in_the_warm_up_too():
    """The learning rate is the same so far."""
    schedule = WarmupCosine(warmup_epochs=2)
    with pytest.raises(ValueError, match="total_steps is 16 here and 12 there"):
        check_schedule(*made(SGD, schedule, total_steps=16), saved(SGD, schedule))


@pytest.mark.parametrize("warmup_epochs", [0, 0.5])
def test_milestones_that_are_still_to_come_are_refused_too(warmup_epochs):
    """The learning rate is the same so far, and the checkpoint's milestones would stay."""
    earlier, later = (WarmupSteps(milestone_epochs=[1, end], warmup_epochs=warmup_epochs) for end in (2, 2.5))
    with pytest.raises(ValueError, match="milestones is"):
        check_schedule(*made(SGD, later), saved(SGD, earlier))


def test_more_epochs_after_the_same_milestones_are_taken():
    schedule = SCHEDULES["warm-up and steps"]
    check_schedule(*made(SGD, schedule, total_steps=20), saved(SGD, schedule))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (["--model.optimizer.init_args.lr=0.01"], "it is 0.01 here and 0.02 there"),
        (["--model.schedule=videoctx.tasks.WarmupCosine"], "has no schedule"),
    ],
)
def test_a_command_is_refused(place, refused, change, words):
    assert words in refused("fit", "--ckpt_path", place.last, "--trainer.max_epochs=5", *change)


def test_a_run_that_is_not_resumed_is_free_again(tmp_path):
    model = classifier()
    trainer(tmp_path).fit(model, datamodule=synthetic_clips(1))
    trainer(tmp_path, max_epochs=2).fit(model, datamodule=synthetic_clips(1), ckpt_path=tmp_path / "last.ckpt")
    model.optimizer = AdamW
    again = trainer(tmp_path)
    again.fit(model, datamodule=synthetic_clips(1))
    assert again.global_step == 1
