"""The published recipes: the learning rate at the corners of each, for the batch that it was published with."""

from math import cos, pi
from pathlib import Path

import pytest
from jsonargparse import ArgumentParser
from lightning.pytorch.cli import OptimizerCallable
from torch import nn
from torch.optim import SGD, Optimizer

from tests.tasks.synthetic_runs import CLASSES, small_resnet
from tests.test_configs import merged
from videoctx.cli.parts import with_parts
from videoctx.cli.tool_parser import net_from_config
from videoctx.tasks import VideoClassifier
from videoctx.tasks.parameter_groups import parameter_groups
from videoctx.tasks.schedules import Schedule

EXPERIMENTS = Path(__file__).parents[2] / "configs" / "experiment"
STEPS_PER_EPOCH = 10  # of the 3666 that 64 of 234 643 videos make


def half_cosine(epoch: float, num_epochs: int) -> float:
    return (1 + cos(pi * epoch / num_epochs)) / 2


# recipe: epoch and its learning rate; just before an epoch is one step before
CORNERS = {
    "kinetics400_non_local": [
        (0, 0.01),
        (40.8, 0.01),
        (40.9, 0.001),
        (81.7, 0.001),
        (81.8, 0.0001),
        (108.9, 0.0001),
    ],
    "kinetics400_pyslowfast": [
        (0, 0.01),
        (17, (0.01 + 0.1 * half_cosine(34, 196)) / 2),
        (34, 0.1 * half_cosine(34, 196)),
        (98, 0.05),
        (195.9, 0.1 * half_cosine(195.9, 196)),
    ],
    "kinetics400_pyslowfast_imagenet": [
        (0, 0.01),
        (43.9, 0.01),
        (44, 0.001),
        (87.9, 0.001),
        (88, 0.0001),
        (117.9, 0.0001),
    ],
    "kinetics400_mmaction2": [(0, 0.01), (39.9, 0.01), (40, 0.001), (79.9, 0.001), (80, 0.0001), (99.9, 0.0001)],
    "kinetics400_gluoncv": [(0, 0.01), (39.9, 0.01), (40, 0.001), (79.9, 0.001), (80, 0.0001), (99.9, 0.0001)],
    "kinetics400_gcnet_second_stage": [(0, 0.02), (20, 0.01), (39.9, 0.02 * half_cosine(39.9, 40))],
    "something_something_v2_tsm": [(0, 0.01), (19.9, 0.01), (20, 0.001), (39.9, 0.001), (40, 0.0001), (49.9, 0.0001)],
    "something_something_v2_pyslowfast": [
        (0, 0.08),
        (1.5, (0.08 + 0.1 * half_cosine(3, 30)) / 2),
        (3, 0.1 * half_cosine(3, 30)),
        (15, 0.05),
        (29.9, 0.1 * half_cosine(29.9, 30)),
    ],
    "jester_mmaction2": [(0, 0.01), (19.9, 0.01), (20, 0.001), (39.9, 0.001), (40, 0.0001), (49.9, 0.0001)],
    "diving48_mmaction2": [(0, 0.01), (19.9, 0.01), (20, 0.001), (39.9, 0.001), (40, 0.0001), (49.9, 0.0001)],
}
# recipe: momentum, Nesterov, weight decay of weights and of norms; epochs; most norm of gradients; clips of precise BN
OPTIONS = {
    "kinetics400_non_local": (0.9, True, 1e-4, 0.0, 109, None, 200),
    "kinetics400_pyslowfast": (0.9, True, 1e-4, 0.0, 196, None, 200),
    "kinetics400_pyslowfast_imagenet": (0.9, True, 1e-4, 0.0, 118, None, 200),
    "kinetics400_mmaction2": (0.9, False, 1e-4, 1e-4, 100, 40, None),
    "kinetics400_gluoncv": (0.9, False, 1e-5, 1e-5, 100, None, None),
    "kinetics400_gcnet_second_stage": (0.9, True, 1e-4, 0.0, 40, None, None),
    "something_something_v2_tsm": (0.9, False, 1e-4, 0.0, 50, 20, None),
    "something_something_v2_pyslowfast": (0.9, True, 1e-4, 0.0, 30, None, 200),
    "jester_mmaction2": (0.9, False, 5e-4, 0.0, 50, 20, None),
    "diving48_mmaction2": (0.9, False, 1e-4, 0.0, 50, 20, None),
}
# recipe: sampling, grid, frames; scales, area or short sides of training crops, flips; crop, views, protocol of a test
CLIPS = {
    "something_something_v2_tsm": ("segments", "tsm", 8, [1.0, 0.875, 0.75, 0.66], 0.0, 256, [2, 3], "tsm"),
    "something_something_v2_pyslowfast": ("segments", "pyslowfast", 8, [256, 320], 0.0, 256, [1, 3], "pyslowfast"),
    "jester_mmaction2": ("segments", "mmaction2", 8, [0.08, 1.0], 0.5, 256, [2, 3], "mmaction2"),
    "diving48_mmaction2": ("segments", "mmaction2", 8, [1.0, 0.875, 0.75, 0.66], 0.5, 224, [1, 1], "mmaction2"),
}


def config_of(recipe: str) -> dict:
    return merged(with_parts(["-c", str(EXPERIMENTS / f"{recipe}.yaml")]))


def made(config: dict) -> tuple[Optimizer, Schedule]:
    """The optimizer, of a network with one norm, and the schedule."""
    parser = ArgumentParser()
    parser.add_argument("--optimizer", type=OptimizerCallable)
    parser.add_argument("--schedule", type=Schedule)
    chosen = {name: config["model"][name] for name in ("optimizer", "schedule")}
    chosen = parser.instantiate(parser.parse_object(chosen))
    net = nn.Sequential(nn.Conv3d(1, 1, 1), nn.BatchNorm3d(1))
    groups = parameter_groups(net, decay_norms=config["model"].get("decay_norms", False))
    return chosen.optimizer(groups), chosen.schedule


def test_every_recipe_is_looked_at():
    sets = ("kinetics400", "something_something_v2", "jester", "diving48")
    recipes = {path.stem for name in sets for path in EXPERIMENTS.glob(f"{name}_*.yaml")}
    recipes.remove("kinetics400_pyslowfast_multigrid")  # it is in test_multigrid.py
    assert recipes == set(CORNERS) == set(OPTIONS)
    assert set(CLIPS) == {recipe for recipe in recipes if not recipe.startswith("kinetics400")}


def test_the_classifier_and_biases_have_the_rates_of_tsm():
    for recipe in OPTIONS:
        is_of_tsm = recipe in ("something_something_v2_tsm", "jester_mmaction2", "diving48_mmaction2")
        expected = {"head_lr_factor": 5.0, "bias_lr_factor": 2.0, "decay_biases": False} if is_of_tsm else None
        assert config_of(recipe)["model"].get("layer_rates") == expected, recipe


@pytest.mark.parametrize("recipe", CORNERS)
def test_the_learning_rate_at_the_corners(recipe):
    config = config_of(recipe)
    optimizer, schedule = made(config)
    total_steps = config["trainer"]["max_epochs"] * STEPS_PER_EPOCH
    scheduler = schedule.scheduler(optimizer, steps_per_epoch=STEPS_PER_EPOCH, total_steps=total_steps)
    rates = []
    for _ in range(total_steps):
        rates.append({group["lr"] for group in optimizer.param_groups})
        optimizer.step()
        scheduler.step()
    for epoch, rate in CORNERS[recipe]:
        assert sorted(rates[round(epoch * STEPS_PER_EPOCH)]) == [pytest.approx(rate)], epoch
    assert round(CORNERS[recipe][-1][0] * STEPS_PER_EPOCH) == total_steps - 1  # the last step is a corner


@pytest.mark.parametrize("recipe", OPTIONS)
def test_other_settings_of_the_recipe(recipe):
    config = config_of(recipe)
    optimizer, _ = made(config)
    momentum, nesterov, decay, norm_decay, epochs, most_norm, precise = OPTIONS[recipe]
    assert {(group["momentum"], group["nesterov"]) for group in optimizer.param_groups} == {(momentum, nesterov)}
    assert {group["weight_decay"] for group in optimizer.param_groups} == {decay, norm_decay}
    assert config["trainer"]["max_epochs"] == epochs
    assert config["trainer"].get("gradient_clip_val") == most_norm
    callbacks = {c["class_path"]: c["init_args"] for c in config["trainer"].get("callbacks", [])}
    assert callbacks == ({"videoctx.tasks.PreciseBatchNorm": {"num_batches": precise}} if precise else {})
    # published for 64 clips per step, which the config's own devices have
    assert config["model"]["lr_batch_size"] == 64
    assert config["trainer"]["devices"] * config["data"]["batch_size"] == 64


@pytest.mark.parametrize("recipe", CLIPS)
def test_the_clips_of_the_recipe(recipe):
    data = config_of(recipe)["data"]
    clips, train, test = data["clips"], data["train"], data["test"]
    crop = train.get("crop_scales") or train.get("crop_area") or train["short_side_px"]
    found = (clips["sampling"], clips["grid"], clips["clip_len"], crop, train["flip_probability"])
    assert (*found, test["crop_size_px"], test["views"], test["protocol"]) == CLIPS[recipe]
    assert train["crop_size_px"] == 224
    assert test["short_side_px"] == 256


def test_the_iterations_of_non_local_are_its_epochs():
    config = config_of("kinetics400_non_local")
    optimizer, schedule = made(config)
    steps_per_epoch = 234_643 / 64
    total_steps = round(config["trainer"]["max_epochs"] * steps_per_epoch)
    scheduler = schedule.scheduler(optimizer, steps_per_epoch=steps_per_epoch, total_steps=total_steps)
    assert sorted(scheduler.milestones) == pytest.approx([150_000, 300_000], rel=1e-3)
    assert total_steps == pytest.approx(400_000, rel=1e-3)


def test_a_recipe_takes_any_network():
    """The network is as in its own file: nothing of the recipe's own network is left."""
    names = [f"{net}_r50" for net in ("c2d", "i3d", "slow")]
    names += [f"slow_r50_{context}" for context in ("nl5", "nl10", "snl5", "gc5", "gc_all", "se", "sc")]
    first, *others = CORNERS
    pairs = [(first, name) for name in names] + [(recipe, name) for recipe in others for name in names[:2]]
    for recipe, name in pairs:
        file = ["-c", str(EXPERIMENTS.parent / "model" / f"{name}.yaml")]
        alone, _ = net_from_config(ArgumentParser(), file)
        combined, _ = net_from_config(ArgumentParser(), ["-c", str(EXPERIMENTS / f"{recipe}.yaml"), *file])
        assert combined.config == alone.config, (recipe, name)


@pytest.mark.parametrize("decay_norms", [True, False])
def test_norms_decay_where_they_are_asked_to(decay_norms):
    model = VideoClassifier(
        CLASSES,
        small_resnet,
        optimizer=lambda groups: SGD(groups, lr=0.1, weight_decay=1e-3),
        decay_norms=decay_norms,
    )
    decays = {group["weight_decay"] for group in model.configure_optimizers().param_groups}
    assert decays == ({1e-3} if decay_norms else {1e-3, 0.0})
