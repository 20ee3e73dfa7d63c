"""A library that is not installed is one line with what to install."""

import builtins

import pytest

from data_prep.write_shards.__main__ import main as write_shards
from videoctx.cli import main
from videoctx.data.decoding import video_reader


@pytest.fixture
def without(monkeypatch):
    """Let the import of some libraries fail as if they were not installed."""

    def without(*names: str) -> None:
        real_import = builtins.__import__

        def import_(name, *arguments, **options):
            if name.partition(".")[0] in names:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)
            return real_import(name, *arguments, **options)

        monkeypatch.setattr(builtins, "__import__", import_)
        monkeypatch.setattr("sys.argv", ["videoctx"])

    return without


def last_line(capsys, *arguments: object) -> str:
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main([*map(str, arguments)])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    return error.splitlines()[-1]


def test_a_command_without_a_library_names_it_and_its_extra(place, tmp_path, without, capsys):
    without("onnx", "psutil", "tensorboard")
    export = ("export", "--ckpt_path", place.last, "--format=onnx", "--output", tmp_path / "a.onnx")
    line = last_line(capsys, *export)
    assert line == "videoctx: format is 'onnx', but onnx is not installed; expected videoctx[onnx]"


def test_a_library_that_another_library_needs_is_one_line(monkeypatch, capsys):
    def needs_tensorboard(_):
        raise ModuleNotFoundError("No module named 'tensorboard'", name="tensorboard.compat")

    monkeypatch.setattr("videoctx.cli.commands._dispatch", needs_tensorboard)
    assert last_line(capsys, "fit") == "videoctx: tensorboard is not installed; expected pip install tensorboard"


@pytest.mark.parametrize("decoder", ["decord", "torchcodec"])
def test_a_decoder_that_is_not_installed_is_one_line(place, tmp_path, monkeypatch, capsys, decoder):
    installed = video_reader.is_installed
    monkeypatch.setattr(video_reader, "is_installed", lambda name: name != decoder and installed(name))
    arguments = (f"--trainer.logger.init_args.save_dir={tmp_path}", f"--data.loading.decoder={decoder}")
    line = last_line(capsys, "fit", "-c", place.config, *arguments)
    assert line.startswith(f"videoctx: decoder is {decoder!r}, but {decoder} is not installed or does not load here;")


def test_data_prep_without_a_library_names_its_extra(place, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)  # noqa: ARG005
    assert write_shards([str(place.videos / "manifest.csv"), str(tmp_path / "shards")]) == 2
    assert "pip install 'videoctx[shards]'" in capsys.readouterr().err
