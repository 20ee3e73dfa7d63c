"""The `config.yaml` of a run works with the run's own checkpoint, in every command that takes a config."""

import shutil

import pytest
import yaml

from tests.each_case import each_case
from tests.tiny_runs import result_of
from videoctx.cli import main
from videoctx.cli.run_config import for_command


@pytest.fixture
def started(place, tmp_path, monkeypatch):
    """The folder of a run that has started from weights which are no longer there."""
    monkeypatch.setattr("sys.argv", ["videoctx"])
    folder = tmp_path / "started"
    shutil.copytree(place.runs / "trained", folder)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["model"]["weights"] = str(tmp_path / "gone.pt")
    config["trainer"]["logger"]["init_args"] |= {"save_dir": str(tmp_path / "runs"), "name": "next"}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


def command(name: str, folder, *arguments: object) -> None:
    checkpoint = folder / "checkpoints" / "last.ckpt"
    main([name, "-c", str(folder / "config.yaml"), "--ckpt_path", str(checkpoint), *map(str, arguments)])


def test_evaluations_take_the_checkpoint_and_not_the_starting_weights(started, capsys):
    command("validate", started)
    command("test", started)
    command("predict", started, "--data.test_split=val")
    assert result_of(started / "test")["checkpoint"] == str(started / "checkpoints" / "last.ckpt")
    assert "gone.pt" not in capsys.readouterr().out
    for evaluation in ("validate", "test", "predict"):
        config = yaml.safe_load((started / evaluation / "config.yaml").read_text())
        assert config["model"]["weights"] is None, evaluation


def test_a_training_is_resumed_by_its_config(started, tmp_path):
    command("fit", started, "--trainer.max_epochs=5")
    assert (tmp_path / "runs" / "next" / "checkpoints" / "last.ckpt").is_file()


def test_the_config_of_an_evaluation_is_that_of_another_one(started):
    command("test", started)
    command("predict", started, "-c", started / "test" / "config.yaml")
    main(["test", "-c", str(started / "predict" / "config.yaml")])  # it names the checkpoint
    assert result_of(started / "test-1") == result_of(started / "test")


def test_an_evaluation_of_a_config_alone_does_not_take_the_starting_weights(started, capsys):
    with pytest.raises(SystemExit):
        main(["test", "-c", str(started / "config.yaml")])
    line = "videoctx: test needs a trained network: expected --ckpt_path or --model.weights"
    assert capsys.readouterr().err.strip() == line


def test_tools_take_the_network_of_a_run(started, place, tmp_path, capsys):
    (video,) = place.videos.glob("test0.mp4")
    command("attention", started, str(video), "--method=gradcam", "--layer=res5", f"--output={tmp_path / 'shown'}")
    assert len(list((tmp_path / "shown").iterdir())) == 2
    main(["complexity", "-c", str(started / "config.yaml"), "--clip_len=4", "--size=32", "--json"])
    assert '"params"' in capsys.readouterr().out


@pytest.mark.slow
def test_export_takes_the_network_of_a_run(started, tmp_path):
    command("export", started, "--format=torch-export", f"--output={tmp_path / 'net.pt2'}", "--frame_size=32x32")
    assert (tmp_path / "net.pt2").is_file()


@each_case(
    ("command", "name", "lost"),
    [
        ("test", "config.yaml", {"return_predictions", "ckpt_path", "weights"}),
        ("fit", "config.yaml", {"return_predictions", "verbose"}),
        ("predict", "config.yaml", {"verbose", "ckpt_path", "weights"}),
        ("test", "other.yaml", set()),
    ],
)
def test_what_a_command_does_not_take_of_a_run(tmp_path, command, name, lost):
    (tmp_path / "training_card.json").touch()
    config = {"verbose": False, "return_predictions": False, "ckpt_path": "x", "model": {"weights": "y", "seed": 0}}
    kept = for_command(config, tmp_path / name, command)
    assert {*config, *config["model"]} - {*kept, *kept["model"]} == lost
