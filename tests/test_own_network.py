"""A network of the user's own, in a module of the current folder, with weights of its own."""

import sys
from pathlib import Path

import pytest
import torch

from tests.each_case import each_case
from tests.tiny_runs import result_of, scores_of
from videoctx.cli import main
from videoctx.cli.current_folder import make_importable

MODULE = """
import torch
from torch import nn


class Pixels(nn.Module):
    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(3)
        self.last = nn.Linear(3, num_classes)

    def forward(self, clips):
        return self.last(self.norm(clips.mean(dim=(2, 3, 4))))


class Loaded(Pixels):
    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes)
        self.load_state_dict(torch.load("weights.pt"))
"""


@pytest.fixture
def own(place, tmp_path, monkeypatch):
    """Runs a command on a network of a module in the current folder; and its weights."""
    (tmp_path / "own_pixels.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["videoctx"])
    monkeypatch.setattr("sys.path", [path for path in sys.path if path not in ("", str(tmp_path))])
    with monkeypatch.context() as patch:
        patch.syspath_prepend(tmp_path)
        from own_pixels import Pixels  # type: ignore[import-not-found]

        torch.manual_seed(0)
        net = Pixels(3)
        del sys.modules["own_pixels"]
    torch.save(net.state_dict(), "weights.pt")
    text = place.config.read_text()
    (tmp_path / "data.yaml").write_text("data:" + text.partition("data:")[2].partition("model:")[0])

    def run(command: str, *arguments: str, net: str = "own_pixels.Pixels") -> Path:
        options = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"]
        main([command, "-c", "data.yaml", f"--model.net={net}", *options, *arguments])
        return max(Path("runs/unnamed").iterdir(), key=lambda path: path.stat().st_mtime)

    yield run
    sys.modules.pop("own_pixels", None)


def test_a_state_dict_is_tested(own):
    given = own("test", "--ckpt_path=weights.pt")
    assert result_of(given)["num_videos"] == 5
    loaded = own("test", net="own_pixels.Loaded")
    as_weights = own("test", "--model.weights", "weights.pt")
    for other in (loaded, as_weights):
        assert [row["scores"] for row in scores_of(other)] == [row["scores"] for row in scores_of(given)]


def test_a_state_dict_predicts(own):
    assert (own("predict", "--ckpt_path", "weights.pt") / "predictions.csv").is_file()


def test_a_network_that_loads_its_weights_is_believed(own, capsys):
    own("validate", net="own_pixels.Loaded")
    line = "own_pixels.Loaded: evaluated with the weights that it has loaded itself, as none are given"
    assert line in capsys.readouterr().out


@each_case(
    ("change", "words"),
    [
        (lambda weights: weights.pop("last.bias"), "1 missing (last.bias)"),
        (lambda weights: weights.update(other=torch.zeros(1)), "1 unexpected (other)"),
        (lambda weights: weights.update({"last.bias": torch.zeros(4)}), "1 reshaped (last.bias (4,) → (3,))"),
    ],
)
def test_weights_that_do_not_fit_are_one_line(own, capsys, change, words):
    weights = torch.load("weights.pt")
    change(weights)
    torch.save(weights, "other.pt")
    capsys.readouterr()
    with pytest.raises(SystemExit):
        own("test", "--ckpt_path=other.pt")
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("videoctx: other.pt: ")
    assert words in line


def test_a_pickled_network_is_refused(own, capsys):
    torch.save(torch.nn.Linear(2, 2), "pickled.pt")
    capsys.readouterr()
    for option in ("--ckpt_path=pickled.pt", "--model.weights=pickled.pt"):
        with pytest.raises(SystemExit):
            own("test", option)
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert "pickled.pt: holds a torch.nn.modules.linear.Linear beside the weights" in line


def test_the_weights_of_a_training_of_it_are_tested(own):
    run = own("fit", "--trainer.max_epochs=1")
    assert result_of(own("test", f"--ckpt_path={run / 'checkpoints' / 'last.ckpt'}") / "test")["num_videos"] == 5


@each_case(
    ("argument", "expected"),
    [
        ("--model.net=some_module.Net", True),
        ("model:\n  net: {class_path: some_module.Net}", True),
        ("--trainer.callbacks+=some_package.parts.Callback", True),
        ("--data.manifest=some_module.csv", False),
        ("--model.net=videoctx.models.ResNet3D", False),
        ("--model.net=other_module.Net", False),
        ("--model.net=torch.nn.Linear", False),
    ],
)
def test_the_current_folder_is_importable_only_where_it_is_named(tmp_path_factory, argument, expected):
    folder = tmp_path_factory.mktemp("current")
    (folder / "some_module.py").touch()
    (folder / "torch.py").write_text("raise SystemExit")
    (folder / "some_package").mkdir()
    (folder / "some_package" / "__init__.py").touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("sys.path", [path for path in sys.path if path])
        make_importable(["test", argument])
        assert (str(folder) in sys.path) == expected
        assert not expected or sys.path[-1] == str(folder)
