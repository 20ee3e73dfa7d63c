"""Weights to start from are those of the run's classes, in its order, or that is reported or refused."""

from itertools import permutations

import pytest
import torch
from torch import nn

from tests.tasks.synthetic_runs import CLASSES, batch_of, classifier, small_resnet, synthetic_clips, trainer
from videoctx.inference.conversion import convert_checkpoint
from videoctx.models import ResNet3D
from videoctx.tasks import EMA, VideoClassifier
from videoctx.tasks.starting_weights import StartingWeights

CLIPS = batch_of(2, seed=9).clips
OTHERS = ["jump", "run", "swim"]


class OwnNet(nn.Module):
    """A network whose classifier has a name of its own, and whose first parameter is of a 2D convolution."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.net = nn.Conv2d(3, 4, 3)
        self.logits = nn.Linear(4, num_classes)

    def forward(self, clips):
        return self.logits(self.net(clips[:, :, 0]).mean(dim=(2, 3)))


class OwnNetThatEndsOtherwise(OwnNet):
    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes)
        self.scale = nn.LayerNorm(7)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """Checkpoints by kind, and the task that wrote each."""
    folder = tmp_path_factory.mktemp("checkpoints")
    made = {}
    for name, net, callbacks in (
        ("trained", small_resnet, []),
        ("averaged", small_resnet, [EMA(decay=0.5)]),
        ("own", OwnNet, []),
        ("unknown", OwnNetThatEndsOtherwise, []),
    ):
        task = classifier(net, lr=0.01)
        trainer(folder / name, *callbacks).fit(task, synthetic_clips(1, validates=False))
        made[name] = folder / name / "last.ckpt", task.eval()
    convert_checkpoint(made["trained"][0], folder / "converted.pt")
    return made | {"converted": (folder / "converted.pt", made["trained"][1])}


def started(checkpoint, class_names, stage, **arguments) -> VideoClassifier:
    path, trained = checkpoint
    net = small_resnet if isinstance(trained.net, ResNet3D) else type(trained.net)
    task = VideoClassifier(class_names, net, weights=str(path), **arguments)
    run, callback = trainer(path.parent), StartingWeights(task)
    callback.setup(run, task, stage)
    getattr(callback, {"validate": "on_validation_start"}.get(stage, f"on_{stage}_start"))(run, task)
    return task.eval()


def logits(task) -> dict[str, torch.Tensor]:
    with torch.no_grad():
        return dict(zip(task.class_names, task(CLIPS).T, strict=True))


@pytest.mark.parametrize("kind", ["trained", "averaged", "own", "converted"])
def test_a_class_keeps_its_logit_in_any_order(checkpoints, kind, capsys):
    expected = logits(checkpoints[kind][1])
    orders = [*permutations(CLASSES)] if kind == "trained" else [("wave", "clap", "run")]
    for names in orders:
        for stage in ("fit", "test") if names == orders[-1] else ("predict",):
            capsys.readouterr()
            found = logits(started(checkpoints[kind], list(names), stage))
            reported = "the same classes in another order: class" in capsys.readouterr().out
            assert reported == (list(names) != CLASSES), (names, stage)
            for name in names:
                torch.testing.assert_close(found[name], expected[name], msg=f"{kind} {names} {stage} {name}")


@pytest.mark.parametrize("kind", ["trained", "own", "converted"])
def test_other_classes_are_refused_in_evaluation_and_get_a_new_classifier_in_training(checkpoints, kind, capsys):
    path, trained = checkpoints[kind]
    for names, words in (
        (OTHERS, "2 of 3 classes only in the checkpoint (clap, wave), 2 of 3 only in the data (jump, swim)"),
        ([*CLASSES, "swim"], "1 of 4 classes only in the data (swim)"),
    ):
        for stage in ("validate", "test", "predict"):
            with pytest.raises(
                ValueError, match=r"has other classes than the data: .*; expected the same, in any order"
            ) as error:
                started(checkpoints[kind], names, stage)
            assert str(path) in str(error.value)
            assert words in str(error.value)
        capsys.readouterr()
        torch.manual_seed(0)
        task = started(checkpoints[kind], names, "fit")
        assert f"the classifier is new, as the classes are others: {words}" in capsys.readouterr().out
        *_, classifier_weight, _ = task.net.state_dict()
        assert not torch.equal(
            task.net.state_dict()[classifier_weight][:3], trained.net.state_dict()[classifier_weight]
        )
        first = next(iter(task.net.state_dict()))
        torch.testing.assert_close(task.net.state_dict()[first], trained.net.state_dict()[first])


def test_a_classifier_that_is_not_known_is_refused_unless_the_classes_are_the_same(checkpoints):
    assert started(checkpoints["unknown"], CLASSES, "test")
    for names, stage in ((CLASSES[::-1], "test"), (CLASSES[::-1], "fit"), (OTHERS, "fit")):
        with pytest.raises(ValueError, match=r"classifier is not known: the last layer of OwnNetThatEndsOtherwise"):
            started(checkpoints["unknown"], names, stage)


def test_only_the_number_of_classes_without_names_is_compared(checkpoints, tmp_path, capsys):
    trained = checkpoints["trained"][1]
    torch.save({"state_dict": trained.net.state_dict()}, tmp_path / "three.pt")
    for stage in ("fit", "test"):
        task = started((tmp_path / "three.pt", trained), OTHERS, stage)
        printed = capsys.readouterr().out
        assert "has 3 classes without names, as many as the data; whether they are the same, and in" in printed
        torch.testing.assert_close(torch.stack([*logits(task).values()]), torch.stack([*logits(trained).values()]))
    five = list("abcde")
    started((tmp_path / "three.pt", trained), five, "fit")
    assert "the classifier is new: the checkpoint has 3 classes, the data 5" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"three\.pt: .*head\.weight \(3, 32\) → \(5, 32\)"):
        started((tmp_path / "three.pt", trained), five, "test")


def test_multi_label_is_compared_in_evaluation(checkpoints):
    started(checkpoints["trained"], CLASSES, "fit", multi_label=True)
    with pytest.raises(
        ValueError, match="was trained with multi_label False, and the data has True; expected the same"
    ):
        started(checkpoints["trained"], CLASSES, "test", multi_label=True)


def test_starting_weights_do_not_matter_where_a_checkpoint_is_loaded(checkpoints, tmp_path, capsys):
    path, trained = checkpoints["trained"]
    for work in ("validate", "test", "predict"):
        task = VideoClassifier(CLASSES, small_resnet, weights=str(tmp_path / "gone.pt"))
        getattr(trainer(tmp_path), work)(task, synthetic_clips(1), ckpt_path=path)
        torch.testing.assert_close(task.net.state_dict(), trained.net.state_dict())
    assert "gone" not in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"gone\.pt: no such checkpoint"):
        trainer(tmp_path).test(
            VideoClassifier(CLASSES, small_resnet, weights=str(tmp_path / "gone.pt")), synthetic_clips(1)
        )


def test_ckpt_path_names_what_differs(checkpoints, tmp_path):
    path, _ = checkpoints["trained"]
    for work in ("fit", "test"):
        for names, words in (
            (["clap", "wave", "run"], "class 1 is 'run' in the checkpoint and 'wave' in the data"),
            (OTHERS, r"2 of 3 classes only in the checkpoint \(clap, wave\)"),
        ):
            task = VideoClassifier(names, small_resnet)
            with pytest.raises(ValueError, match=rf"last\.ckpt: the checkpoint was trained on other classes .*{words}"):
                getattr(trainer(tmp_path), work)(task, synthetic_clips(1, class_names=names), ckpt_path=path)


def test_convert_brings_the_classes_to_the_order_that_is_given(checkpoints, tmp_path):
    path, trained = checkpoints["trained"]
    names = ["wave", "clap", "run"]
    report = convert_checkpoint(path, tmp_path / "out.pt", class_names=names)
    assert "the rows of the classifier were brought to the order that is given" in str(report)
    found = logits(VideoClassifier.load_from_checkpoint(tmp_path / "out.pt").eval())
    for name, expected in logits(trained).items():
        torch.testing.assert_close(found[name], expected)
    report = convert_checkpoint(path, tmp_path / "renamed.pt", class_names=["Clap", "run", "wave"])
    assert "the stored classes get other names, in their order: 1 of 3 classes only stored (clap), 1" in str(report)
