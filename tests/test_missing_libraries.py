"""A library that is not installed is one line with what to install."""

import builtins
import importlib
import os
import sys
import tempfile
import traceback
from pathlib import Path

import pytest

from data_prep.write_shards.__main__ import main as write_shards
from tests.test_full_disk import evaluated_run
from videoctx.cli import main
from videoctx.data.decoding import video_reader
from videoctx.data.decoding.containers import VideoDecodeError
from videoctx.data.storage.local_files import LocalFiles

ROOT = Path(__file__).parents[1]
QUICK = ("onnx", "psutil", "webdataset", "jinja2", "yaml")
IMPORTED_AGAIN = ("videoctx", "data_prep", "torch.utils.tensorboard")  # what may have imported the library already


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


def without_library(library: str, shim: Path, name: str, arguments: list[str]) -> tuple[int, str]:
    """Run a command in a fork of this process that has no such library, nor have the processes that it starts.

    Args:
        shim: A folder for a module of that name, whose import fails.
        name: The module whose `main` is the command.

    Returns:
        The exit status and the error stream.
    """
    (shim / f"{library}.py").write_text(
        f"raise ModuleNotFoundError({f'No module named {library!r}'!r}, name={library!r})\n"
    )
    with tempfile.TemporaryFile() as errors:
        child = os.fork()
        if child == 0:
            status: object = 1
            try:
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
                os.dup2(errors.fileno(), 2)
                sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
                os.environ["PYTHONPATH"] = f"{shim}:{ROOT}"
                for module in list(sys.modules):
                    if f"{module}.".startswith(tuple(f"{name}." for name in (library, *IMPORTED_AGAIN))):
                        del sys.modules[module]
                sys.modules[library] = None  # type: ignore[assignment]
                sys.argv = ["videoctx"]
                status = importlib.import_module(name).main(arguments)
            except SystemExit as stop:
                status = stop.code
            except BaseException:
                traceback.print_exc()
            sys.stderr.flush()
            os._exit(status if isinstance(status, int) else 0)
        _, ended = os.waitpid(child, 0)
        errors.seek(0)
        return os.waitstatus_to_exitcode(ended), errors.read().decode()


@pytest.mark.parametrize("quick", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_every_library_that_is_missing_is_one_line_with_what_to_install(place, tmp_path, quick):
    run, manifest = evaluated_run(place), str(place.videos / "manifest.csv")
    last, video = f"--ckpt_path={place.last}", str(place.videos / "test0.mp4")
    export = ["export", last, "--format=onnx", f"--output={tmp_path / 'a.onnx'}"]
    inspect = [manifest, f"--output={tmp_path / 'a.csv'}", "--workers=1"]
    fit = ["fit", "-c", str(place.config), f"--trainer.logger.init_args.save_dir={tmp_path}", "--trainer.max_epochs=1"]
    kinetics = ["k400", str(tmp_path / "k400"), f"--base_url={tmp_path}"]
    commands = [
        ("onnx", "videoctx[onnx]", "videoctx.cli", export),
        ("onnxscript", "videoctx[onnx]", "videoctx.cli", export),
        ("onnxruntime", "videoctx[onnx]", "videoctx.cli", export),
        ("psutil", "videoctx[bench]", "videoctx.cli", ["bench", "data", f"--manifest={manifest}"]),
        ("webdataset", "videoctx[shards]", "data_prep.write_shards.__main__", [manifest, str(tmp_path / "shards")]),
        ("distributed", "videoctx[cluster]", "data_prep.inspect_videos.__main__", [*inspect, "--scheduler=tcp://a:1"]),
        ("torchcodec", "torchcodec", "videoctx.cli", [*fit, "--data.loading.decoder=torchcodec"]),
        ("decord", "decord", "videoctx.cli", [*fit, "--data.loading.decoder=decord"]),
        ("tensorboard", "tensorboard", "videoctx.cli", fit),
        ("jinja2", "jinja2", "videoctx.cli", ["report", str(run)]),
        ("jinja2", "jinja2", "data_prep.summarize.__main__", [manifest, f"--output={tmp_path / 'a.html'}"]),
        ("matplotlib", "matplotlib", "videoctx.cli", ["score", str(run)]),
        ("scipy", "scipy", "videoctx.cli", ["compare", str(run), str(run)]),
        ("pyarrow", "pyarrow", "videoctx.cli", ["score", str(run)]),
        ("av", "av", "videoctx.cli", ["classify", video, last]),
        ("imagehash", "ImageHash", "data_prep.inspect_videos.__main__", inspect),
        ("filelock", "filelock", "data_prep.download_kinetics.__main__", kinetics),
        ("tenacity", "tenacity", "data_prep.download_kinetics.__main__", kinetics),
        ("yaml", "pyyaml", "videoctx.cli", ["complexity", "-c", "slow_r50"]),
    ]
    for library, package, name, arguments in commands:
        if quick != (library in QUICK):
            continue
        shim = tmp_path / f"without-{library}"
        shim.mkdir(exist_ok=True)
        status, errors = without_library(library, shim, name, arguments)
        assert "Traceback" not in errors, (library, errors)
        assert status == 2, (library, errors)
        line = errors.splitlines()[-1]
        assert all(word in line for word in (library, "not installed", package)), (library, errors)


def test_a_backend_of_urls_that_is_missing_fails_its_files_only(tmp_path, monkeypatch):
    """A library for URLs is asked for when the first such video is read."""
    files = LocalFiles(tmp_path, num_attempts=1)
    for library, url in (("s3fs", "s3://b/a.mp4"), ("gcsfs", "gs://b/a.mp4"), ("aiohttp", "http://127.0.0.1:1/a.mp4")):
        with monkeypatch.context() as patch:
            for module in [name for name in sys.modules if name.partition(".")[0] in (library, "fsspec")]:
                patch.delitem(sys.modules, module)
            patch.setitem(sys.modules, library, None)
            with pytest.raises(VideoDecodeError, match=f"^{url}: cannot be fetched: .*{library}"):
                files.size(url)


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
