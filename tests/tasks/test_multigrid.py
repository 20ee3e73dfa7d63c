"""The learning rate of multigrid training, and runs of it: whole, resumed, evaluated, refused."""

import re

import pytest
import torch
import yaml
from torch import nn
from torch.optim import SGD

from tests.tasks.test_recipes import config_of, made
from videoctx.data.sampling.multigrid import Multigrid
from videoctx.models import ResNet3D
from videoctx.tasks import MultigridSteps, WarmupCosine
from videoctx.tasks.multigrid import check_stages
from videoctx.tasks.resumed_optimizer import SavedOptimizer, check_schedule

BASE = {"clip_len": 8, "crop_size_px": 224, "batch_size": 8}
SMALL = """
data:
  batch_size: 2
  train:
    short_side_px: [40, 48]
    multigrid: {milestone_epochs: [2], num_epochs: 3, long_factors: [[0.5, 1], [1, 1]], short_factors: [0.75]}
model:
  schedule: {class_path: videoctx.tasks.MultigridSteps, init_args: {warmup_epochs: 1, start_factor: 0.1}}
trainer:
  max_epochs: 4
  callbacks:
  - {class_path: videoctx.tasks.SplitBatchNorm}
  - {class_path: videoctx.tasks.PreciseBatchNorm, init_args: {num_batches: 2}}
"""


@pytest.fixture
def small(tmp_path):
    (tmp_path / "small.yaml").write_text(SMALL)
    return tmp_path / "small.yaml"


def rates(optimizer, schedule, stages) -> list[float]:
    """What a run's epochs begin with."""
    scheduler, seen = schedule.over(optimizer, stages), []
    for stage in stages:
        for _ in range(stage.num_epochs):
            seen.append(optimizer.param_groups[0]["lr"])
            for _ in stage.batches:
                optimizer.step()
                scheduler.step()
    return seen


def test_the_learning_rate_of_pyslowfasts_recipe():
    config = config_of("kinetics400_pyslowfast_multigrid")
    optimizer, schedule = made(config)
    assert config["trainer"]["devices"] * config["data"]["batch_size"] == config["model"]["lr_batch_size"] == 64
    plan = Multigrid(**config["data"]["train"]["multigrid"])
    stages = plan.stages(**BASE, num_videos=1000, max_epochs=config["trainer"]["max_epochs"])
    seen = rates(optimizer, schedule, stages)
    assert len(seen) == 358
    assert seen[0] == pytest.approx(0.01)
    assert seen[17] == pytest.approx((0.01 + 0.8) / 2)
    corners = {34: 0.8, 72: 0.8, 73: 0.4, 110: 0.2, 142: 0.1, 157: 0.1}
    corners |= {158: 0.08, 204: 0.04, 228: 0.02, 248: 0.01, 257: 0.01}
    corners |= {258: 0.008, 291: 0.004, 307: 0.002, 322: 0.001, 342: 0.001, 343: 0.0001, 357: 0.0001}
    assert {epoch: seen[epoch] for epoch in corners} == pytest.approx(corners)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.0001)  # after the last step


def test_a_warm_up_may_last_longer_than_the_first_stage():
    plan = Multigrid(milestone_epochs=(44, 88), num_epochs=118)
    stages = plan.stages(**BASE, num_videos=200, max_epochs=177)
    optimizer = SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    seen = rates(optimizer, MultigridSteps(gamma=0.5, warmup_epochs=40, start_factor=0.2), stages)
    assert [seen[epoch] for epoch in (0, 20, 40, 60, 80)] == pytest.approx([0.2, 2.1, 4, 2, 4])
    with pytest.raises(ValueError, match="warmup_epochs is 177; expected less than the run's, 177"):
        MultigridSteps(warmup_epochs=177).over(optimizer, stages)


def test_another_gamma_is_noticed_on_resume_before_it_matters():
    stages = Multigrid(milestone_epochs=(44, 88), num_epochs=118).stages(**BASE, num_videos=200, max_epochs=177)

    def made(gamma):
        optimizer = SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
        return optimizer, MultigridSteps(gamma=gamma).over(optimizer, stages)

    (optimizer, scheduler), (_, same), (_, other) = made(0.1), made(0.1), made(0.5)
    saved = SavedOptimizer(optimizer.state_dict()["param_groups"], scheduler.state_dict())
    check_schedule(optimizer, same, saved)
    with pytest.raises(ValueError, match=r"not the checkpoint's: factors is 4 here and 0\.8 there"):
        check_schedule(optimizer, other, saved)


def test_a_schedule_of_something_else_is_refused():
    plan = Multigrid(milestone_epochs=(44, 88), num_epochs=118)
    stages = plan.stages(**BASE, num_videos=200, max_epochs=177)
    for schedule, name in ((None, "None"), (WarmupCosine(), "WarmupCosine")):
        with pytest.raises(
            ValueError, match=rf"model\.schedule is {name} .*; expected videoctx\.tasks\.MultigridSteps"
        ):
            check_stages(nn.Identity(), stages, schedule)


def test_a_network_that_cannot_take_the_shortest_clips_is_refused():
    plan = Multigrid(milestone_epochs=(1,), num_epochs=2)
    for clip_len, fits in ((8, True), (4, False)):  # its pool over time needs two frames
        stages = plan.stages(clip_len=clip_len, crop_size_px=64, batch_size=1, num_videos=9, max_epochs=30)
        net = ResNet3D(3, depth=18, width=4, temporal_kernels="i3d")
        if fits:
            check_stages(net, stages, MultigridSteps())
        else:
            with pytest.raises(ValueError, match="the network cannot take clips of 1 frames at 32 × 32"):
                check_stages(net, stages, MultigridSteps())


def test_layers_of_other_projects_are_not_tried_on_the_meta_device():
    class Theirs(nn.Module):
        def forward(self, clips):
            return clips.cpu()

    check_stages(Theirs(), Multigrid().stages(**BASE, num_videos=9, max_epochs=1), None)


# Runs -------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_run_prints_its_plan_and_a_resumed_run_is_the_same(run, small, capsys):
    """Six videos: two epochs of a step, then two of two."""
    every = ["--checkpoint.every_n_train_steps=1", "--checkpoint.monitor=null", "--checkpoint.save_top_k=-1"]
    arguments = ["-c", small, *every, "--checkpoint.filename={step}"]
    whole = run("fit", *arguments, name="-whole")
    printed = re.findall(r"^epochs .*", capsys.readouterr().out, re.MULTILINE)
    assert printed == [
        "epochs 0 to 1: 2 frames, videos per batch and device 8 at 24 px, 4 at 32 px, 1 steps per epoch,"
        " learning rate 0.04",
        "epochs 2 to 2: 4 frames, videos per batch and device 4 at 24 px, 2 at 32 px, 2 steps per epoch,"
        " learning rate 0.02",
        "epochs 3 to 3: 4 frames, videos per batch and device 4 at 24 px, 2 at 32 px, 2 steps per epoch,"
        " learning rate 0.002",
    ]
    rest = run("fit", *arguments, "--ckpt_path", whole / "checkpoints" / "step=3.ckpt", name="-rest")
    ends = [torch.load(folder / "checkpoints" / "step=6.ckpt", weights_only=True) for folder in (whole, rest)]
    for name, tensor in ends[0]["state_dict"].items():
        assert torch.equal(ends[1]["state_dict"][name], tensor), name
    tested = run("test", "-c", small, "--ckpt_path", whole / "checkpoints" / "step=6.ckpt", name="-test")
    assert (tested / "results.json").is_file()
    assert yaml.safe_load((whole / "config.yaml").read_text())["trainer"]["reload_dataloaders_every_n_epochs"] == 1


def test_the_short_cycle_alone_takes_any_schedule(run, small, capsys):
    options = ["--data.train.multigrid.milestone_epochs=[]", "--model.schedule=videoctx.tasks.WarmupCosine"]
    options += ["--model.schedule.warmup_epochs=0"]
    folder = run("fit", "-c", small, *options, "--trainer.max_epochs=1")
    assert "epochs 0 to 0: 4 frames, videos per batch and device 4 at 24 px, 2 at 32 px, 2 steps per epoch\n" in (
        capsys.readouterr().out
    )
    assert torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 2


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--data.clips.clip_len=5"], "clip_len is 5, of which 0.5 are 2.5 frames; expected a whole number"),
        (
            ["--trainer.max_epochs=2"],
            "trainer.max_epochs is 2, too few for 3 shapes of data.train.multigrid; expected 4",
        ),
        (
            ["--trainer.accumulate_grad_batches=2"],
            "trainer.accumulate_grad_batches is 2 with data.train.multigrid; expected 1",
        ),
        (
            ["--data.train.multigrid=null"],
            "MultigridSteps without a long cycle; expected data.train.multigrid.milestone_epochs",
        ),
        (["--model.schedule=null"], "model.schedule is None with data.train.multigrid.milestone_epochs"),
        (["--trainer.callbacks.num_clips=3"], "num_clips of SplitBatchNorm is 3 with 2 clips"),
    ],
)
def test_what_does_not_go_together_is_refused_in_one_line(refused, small, options, text):
    if "callbacks" in options[0]:
        options = ["--trainer.callbacks=videoctx.tasks.SplitBatchNorm", *options]
    assert text in refused("fit", "-c", small, *options)
