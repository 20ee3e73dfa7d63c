"""The learning rate at every step against the formulas, and at the corners against numbers."""

from functools import partial
from math import cos, nan, pi

import pytest
import torch
from torch.optim import SGD

from videoctx.tasks.schedules import WarmupCosine, WarmupSteps

LR = 0.8


def learning_rates(schedule, *, steps_per_epoch=10, total_steps=100, rates=(LR,)) -> list[list[float]]:
    """What each group trains with in step 0, 1, …, and after the last step."""
    groups = [{"params": [torch.zeros(1, requires_grad=True)], "lr": rate} for rate in rates]
    optimizer = SGD(groups, lr=1.0)
    scheduler = schedule.scheduler(optimizer, steps_per_epoch=steps_per_epoch, total_steps=total_steps)
    seen = [[group["lr"] for group in optimizer.param_groups]]
    for _ in range(total_steps):
        optimizer.step()
        scheduler.step()
        seen.append([group["lr"] for group in optimizer.param_groups])
    return [list(of_group) for of_group in zip(*seen, strict=True)]


def warmup(step: int, warmup_steps: int, start_factor: float) -> float:
    return start_factor + (1 - start_factor) * step / warmup_steps


def half_cosine(step: int, num_steps: int, end_factor: float) -> float:
    return end_factor + (1 - end_factor) * (1 + cos(pi * step / num_steps)) / 2


@pytest.mark.parametrize(
    ("arguments", "corners"),
    [
        ({}, {0: 1, 50: 0.5, 100: 0}),
        ({"end_factor": 0.1}, {0: 1, 50: 0.55, 100: 0.1}),
        ({"warmup_epochs": 2}, {0: 0.01, 10: 0.505, 20: 1, 60: 0.5, 100: 0}),
        ({"warmup_epochs": 2, "start_factor": 0.5}, {0: 0.5, 10: 0.75, 20: 1, 60: 0.5, 100: 0}),
        ({"warmup_epochs": 0.5, "end_factor": 0.2}, {0: 0.01, 5: 1, 100: 0.2}),
        ({"warmup_epochs": 0.04}, {0: 1, 50: 0.5, 100: 0}),  # less than half a step is no warm-up
    ],
)
def test_cosine(arguments, corners):
    (rates,) = learning_rates(WarmupCosine(**arguments))
    assert {step: rates[step] for step in corners} == pytest.approx({step: LR * part for step, part in corners.items()})
    warmup_steps = round(arguments.get("warmup_epochs", 0) * 10)
    expected = [warmup(s, warmup_steps, arguments.get("start_factor", 0.01)) for s in range(warmup_steps)]
    expected += [half_cosine(s, 100 - warmup_steps, arguments.get("end_factor", 0)) for s in range(101 - warmup_steps)]
    assert rates == pytest.approx([LR * part for part in expected], abs=1e-9)


def test_a_cosine_from_the_start_is_half_way_in_the_middle_of_the_run():
    """As in PySlowFast's get_lr_at_epoch: the warm-up rises to where the cosine is by then."""
    (rates,) = learning_rates(WarmupCosine(warmup_epochs=2, start_factor=0.1, cosine_from="start"))
    expected = [LR * half_cosine(step, 100, 0) for step in range(101)]
    assert rates[20:] == pytest.approx(expected[20:], abs=1e-9)
    assert rates[0] == pytest.approx(LR * 0.1)
    assert rates[10] == pytest.approx((rates[0] + expected[20]) / 2)
    assert rates[50] == pytest.approx(LR / 2)


def test_the_floor_is_relative_to_each_group():
    rates = learning_rates(WarmupCosine(end_factor=0.1), rates=(LR, LR / 4))
    assert [of_group[100] for of_group in rates] == pytest.approx([LR / 10, LR / 40])


def test_a_cosine_begins_somewhere():
    with pytest.raises(ValueError, match="cosine_from is 'end'; expected 'warmup_end' or 'start'"):
        WarmupCosine(cosine_from="end")


@pytest.mark.parametrize("schedule", [WarmupCosine, partial(WarmupSteps, milestone_epochs=[5])])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"warmup_epochs": -1}, "warmup_epochs is -1; expected 0 or more"),
        ({"warmup_epochs": nan}, "warmup_epochs is nan; expected 0 or more"),
        ({"start_factor": -0.1}, "start_factor is -0.1; expected 0 to 1"),
        ({"start_factor": 1.5}, "start_factor is 1.5; expected 0 to 1"),
    ],
)
def test_a_warmup_rises_over_some_time(schedule, arguments, message):
    with pytest.raises(ValueError, match=message):
        schedule(**arguments)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, [1.0] * 40 + [0.1] * 30 + [0.01] * 31),
        ({"gamma": 0.5}, [1.0] * 40 + [0.5] * 30 + [0.25] * 31),
        ({"warmup_epochs": 1}, [warmup(s, 10, 0.01) for s in range(10)] + [1.0] * 30 + [0.1] * 30 + [0.01] * 31),
        (
            {"warmup_epochs": 1, "start_factor": 0.5},
            [warmup(s, 10, 0.5) for s in range(10)] + [1.0] * 30 + [0.1] * 30 + [0.01] * 31,
        ),
        ({"milestone_epochs": [0.1, 9.9]}, [1.0] + [0.1] * 98 + [0.01] * 2),
        ({"milestone_epochs": []}, [1.0] * 101),
    ],
)
def test_milestones_count_from_the_start_of_the_run(arguments, expected):
    (rates,) = learning_rates(WarmupSteps(**{"milestone_epochs": [4, 7], **arguments}))
    assert rates == pytest.approx([LR * part for part in expected])


@pytest.mark.parametrize("schedule", [WarmupCosine(warmup_epochs=1), WarmupSteps(milestone_epochs=[5])])
def test_groups_keep_their_proportion(schedule):
    first, second = learning_rates(schedule, rates=(LR, LR / 4))
    assert second == pytest.approx([rate / 4 for rate in first])


@pytest.mark.parametrize("schedule", [WarmupCosine(warmup_epochs=1), WarmupSteps(milestone_epochs=[5, 8])])
def test_a_resumed_run_with_other_steps_has_the_schedule_of_its_checkpoint(schedule):
    def made(steps_per_epoch: int):
        optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], lr=LR)
        return optimizer, schedule.scheduler(
            optimizer, steps_per_epoch=steps_per_epoch, total_steps=10 * steps_per_epoch
        )

    def stepped(optimizer, scheduler, num_steps: int) -> list[float]:
        rates = []
        for _ in range(num_steps):
            optimizer.step()
            scheduler.step()
            rates.append(optimizer.param_groups[0]["lr"])
        return rates

    (optimizer, scheduler), (other, resumed) = made(10), made(5)
    stepped(optimizer, scheduler, 50)
    other.load_state_dict(optimizer.state_dict())
    resumed.load_state_dict(scheduler.state_dict())
    assert stepped(other, resumed, 25) == pytest.approx(stepped(optimizer, scheduler, 25))


@pytest.mark.parametrize(
    ("schedule", "parts"),
    [
        (WarmupCosine(warmup_epochs=10), ["warmup_epochs is 10, 100 steps", "has 100", "less than 10 epochs"]),
        (WarmupCosine(warmup_epochs=34), ["warmup_epochs is 34", "less than 10 epochs"]),
        (WarmupSteps(milestone_epochs=[20], warmup_epochs=5), ["[20]", "10 epochs"]),
        (WarmupSteps(milestone_epochs=[], warmup_epochs=10), ["warmup_epochs is 10", "less than 10 epochs"]),
        (WarmupSteps(milestone_epochs=[4, 10]), ["milestone_epochs are [4, 10]", "before the end (10 epochs)"]),
        (WarmupSteps(milestone_epochs=[0, 4]), ["milestone_epochs are [0, 4]", "after the warm-up (0 epochs)"]),
        (
            WarmupSteps(milestone_epochs=[1], warmup_epochs=1),
            ["milestone_epochs are [1]", "after the warm-up (1 epochs)"],
        ),
    ],
)
def test_what_does_not_fit_into_the_run_is_refused(schedule, parts):
    with pytest.raises(ValueError, match="expected") as caught:
        learning_rates(schedule)
    assert all(part in str(caught.value) for part in parts), str(caught.value)
