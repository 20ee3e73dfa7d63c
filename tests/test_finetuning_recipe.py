"""A training from weights is pointed to the recipe for fine-tuning, once, and only where there is one."""

from tests.each_case import each_case
from videoctx.cli.finetuning_recipe import finetuning_recipe
from videoctx.cli.parts import with_parts

WEIGHTS = ["--model.weights", "resnet18.pth"]


@each_case(
    "options",
    [
        ["-c", "own_videos", *WEIGHTS],
        ["--config=experiment/own_videos", "--model.weights=resnet18.pth"],
        ["-c", "configs/experiment/own_videos.yaml", "-c", "i3d_r50", *WEIGHTS],
        ["-c", "own_videos", "-c", "{model: {weights: resnet18.pth}}"],
    ],
)
def test_the_other_recipe_is_named(options):
    assert "there is -c own_videos_finetune" in finetuning_recipe(["fit", *options], with_parts(["fit", *options]))


@each_case(
    "arguments",
    [
        ["fit", "-c", "own_videos"],
        ["test", "-c", "own_videos", *WEIGHTS],
        ["fit", "-c", "own_videos_finetune", *WEIGHTS],
        ["fit", "-c", "own_videos", "-c", "own_videos_finetune", *WEIGHTS],
        ["fit", "-c", "kinetics400_mmaction2", *WEIGHTS],
        ["fit", "-c", "{model: {}}", *WEIGHTS],
        ["fit", *WEIGHTS, "-c"],
        [],
    ],
)
def test_nothing_is_reported_elsewhere(arguments):
    assert finetuning_recipe(arguments, arguments) is None
