"""Evaluations lie in the folder of the training whose checkpoint they evaluate, and the tools find them there."""

import json
import os
import shutil
from pathlib import Path

import pytest
import yaml

from tests.each_case import each_case
from tests.tiny_runs import result_of
from videoctx.cli import main
from videoctx.evaluation.run_folders import newest_test, next_name, training_of


@pytest.fixture(scope="module")
def trained(place, tmp_path_factory):
    """A copy of the folder of a training, whose checkpoint two tests have evaluated."""
    folder = tmp_path_factory.mktemp("evaluated")
    run = folder / "runs" / "own" / "version_0"
    shutil.copytree(place.runs / "trained", run)
    config = yaml.safe_load(place.config.read_text())
    config["trainer"]["logger"]["init_args"] = {"save_dir": str(folder / "runs"), "name": "own"}
    (folder / "own.yaml").write_text(yaml.safe_dump(config))
    for _ in range(2):
        evaluate(run, "test")
    return run


def evaluate(run: Path, command: str, *arguments: object, checkpoint: str = "checkpoints/last.ckpt") -> None:
    config = run.parents[2] / "own.yaml"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["videoctx"])
        main([command, f"-c{config}", f"--ckpt_path={run / checkpoint}", *map(str, arguments)])


def folders(run: Path) -> set[str]:
    return {path.name for path in run.iterdir() if path.is_dir()} - {"checkpoints"}


def test_tests_lie_in_the_run(trained):
    assert {"test", "test-1"} <= folders(trained)
    assert result_of(trained / "test") == result_of(trained / "test-1")
    assert [path.name for path in trained.parent.iterdir()] == ["version_0"]


def test_other_evaluations_lie_in_the_run_wherever_the_checkpoint_is(trained):
    (trained / "kept" / "epochs").mkdir(parents=True)
    shutil.copy(trained / "checkpoints" / "last.ckpt", trained / "kept" / "epochs" / "one.ckpt")
    evaluate(trained, "validate", checkpoint="kept/epochs/one.ckpt")
    evaluate(trained, "predict", checkpoint="kept/epochs/one.ckpt")
    assert folders(trained) == {"test", "test-1", "kept", "validate", "predict"}


def test_weights_of_a_run_are_tested_in_it(trained, monkeypatch):
    monkeypatch.setattr("sys.argv", ["videoctx"])
    config = trained.parents[2] / "own.yaml"
    main(["validate", f"-c{config}", f"--model.weights={trained / 'checkpoints' / 'last.ckpt'}"])
    assert "validate-1" in folders(trained) or "validate" in folders(trained)
    assert [path.name for path in trained.parent.iterdir()] == ["version_0"]


def test_a_logger_on_the_command_line_decides(trained):
    evaluate(trained, "validate", "--trainer.logger.init_args.name=elsewhere")
    assert (trained.parents[1] / "elsewhere" / "version_0" / "config.yaml").is_file()


def test_a_checkpoint_from_elsewhere_gets_a_folder_of_its_own(trained, tmp_path):
    (tmp_path / "a" / "b" / "c").mkdir(parents=True)
    shutil.copy(trained.parents[2] / "own.yaml", tmp_path / "own.yaml")
    config = yaml.safe_load((tmp_path / "own.yaml").read_text())
    config["trainer"]["logger"]["init_args"]["save_dir"] = str(tmp_path / "runs")
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(config))
    shutil.copy(trained / "checkpoints" / "last.ckpt", tmp_path / "a" / "b" / "c" / "net.ckpt")
    evaluate(tmp_path / "a" / "b" / "c", "validate", checkpoint="net.ckpt")
    assert [path.name for path in (tmp_path / "runs" / "own").iterdir()] == ["version_0"]


def test_two_tests_that_start_at_once_get_two_folders(trained, monkeypatch):
    """The second one finds the folder taken that it has chosen."""
    names = iter(["test", "test-7"])
    monkeypatch.setattr("videoctx.cli.evaluation_folder.next_name", lambda *_: next(names))
    evaluate(trained, "test")
    assert "test-7" in folders(trained)
    shutil.rmtree(trained / "test-7")


def test_the_tools_take_the_newest_test_of_a_run(trained, capsys):
    line = f"{trained}: the newest of 2 tests is taken, test-1"
    for tool in (["score"], ["compare", str(trained / "test")], ["report"]):
        capsys.readouterr()
        main([*tool, str(trained)])
        assert capsys.readouterr().err.strip() == line, tool
    assert {"views.csv", "report.html"} <= {path.name for path in (trained / "test-1").iterdir()}
    assert "val/video_top1" in (trained / "test-1" / "report.html").read_text()  # the curves of the training


def test_results_lists_all_tests_of_a_run(trained, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    main(["results", str(trained)])
    rows = [line.strip("│").split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    assert rows == ["test", "test-1"]


@each_case(
    ("names", "expected"), [([], "test"), (["test"], "test-1"), (["test", "test-9", "tests", "test-x"], "test-10")]
)
def test_numbers_are_not_used_twice(tmp_path_factory, names, expected):
    run = tmp_path_factory.mktemp("run")
    for name in names:
        (run / name).mkdir()
    assert next_name(run, "test") == expected


def test_the_training_of_a_file(tmp_path, monkeypatch):
    run = tmp_path / "runs" / "version_0"
    (run / "checkpoints").mkdir(parents=True)
    (run / "training_card.json").write_text("{}")
    (run / "checkpoints" / "best.ckpt").touch()
    (tmp_path / "link.ckpt").symlink_to(run / "checkpoints" / "best.ckpt")
    monkeypatch.chdir(tmp_path)
    assert training_of("runs/version_0/checkpoints/best.ckpt") == Path("runs/version_0")
    assert training_of(run / "checkpoints" / "best.ckpt") == training_of(run / "test") == run
    assert training_of("link.ckpt").samefile(run)
    assert training_of("elsewhere.ckpt") is None


def test_the_newest_test_is_that_of_the_highest_number(tmp_path):
    for number in ("", "-2", "-10"):
        folder = tmp_path / f"test{number}"
        folder.mkdir()
        (folder / "results.json").write_text(json.dumps({}))
        os.utime(folder / "results.json", (0, 0))
    (tmp_path / "test-11").mkdir()  # it has failed
    assert newest_test(tmp_path) == (tmp_path / "test-10", f"{tmp_path}: the newest of 3 tests is taken, test-10")
    assert newest_test(tmp_path / "test-2") == (tmp_path / "test-2", "")


def test_a_control_is_taken_only_where_there_is_no_other_test(tmp_path):
    for name, order in (("test", "recorded"), ("test-1", "recorded"), ("test-2", "shuffled")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "results.json").write_text("{}")
        (tmp_path / name / "card.json").write_text(json.dumps({"data": {"frame_order": order}}))
    line = f"{tmp_path}: the newest of 3 tests that is no control is taken, test-1"
    assert newest_test(tmp_path) == (tmp_path / "test-1", line)
    for name in ("test", "test-1"):
        shutil.rmtree(tmp_path / name)
    line = f"{tmp_path}: test-2 is taken, a control (frames shuffled)"
    assert newest_test(tmp_path) == (tmp_path / "test-2", line)
    (tmp_path / "test-2" / "card.json").write_text("[]")  # not a card
    assert newest_test(tmp_path) == (tmp_path / "test-2", "")
