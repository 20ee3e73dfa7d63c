"""Ctrl-C ends every command with status 130 and one line, whatever it does at that moment, and SIGTERM with 143.

A command is run in a process that sends itself and its workers the signal when it calls a function.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROGRAM = """
import importlib, os, runpy, signal, sys
program, where, times, number, *arguments = sys.argv[1:]
signal.signal(signal.SIGINT, signal.default_int_handler)
module, _, name = where.partition(":")
owner = importlib.import_module(module)
*outer, name = name.split(".")
for part in outer:
    owner = getattr(owner, part)
original = getattr(owner, name)

def interrupted(*arguments, **options):
    setattr(owner, name, original)
    if after:
        result = original(*arguments, **options)
    for _ in range(int(times)):
        os.killpg(0, int(number))
    return result if after else original(*arguments, **options)

after = name == "ensure_running"  # the fork server has just been started, and imports modules
setattr(owner, name, interrupted)
sys.argv = [program, *arguments]
runpy.run_module(program, run_name="__main__")
"""
DECODING = "videoctx.data.loading.dataset:decode_clips"
FORKSERVER = "multiprocessing.forkserver:_forkserver.ensure_running"
ONE_PER_CLASS = [f"--{split}_per_class=1" for split in ("train", "val", "test")]
SPAWN = "multiprocessing.popen_spawn_posix:Popen._launch"


def interrupt(
    program: str, where: str, *arguments: object, times: int = 1, number: int = signal.SIGINT
) -> tuple[int, str]:
    """Return the exit status and the error stream of a command that is interrupted when it calls a function."""
    command = [sys.executable, "-c", PROGRAM, program, where, str(times), str(int(number)), *map(str, arguments)]
    ended = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        timeout=600,
        start_new_session=True,
        check=False,
    )
    return ended.returncode, ended.stderr


def check(name: str, ended: tuple[int, str], *, number: int = signal.SIGINT) -> None:
    status, error = ended
    word = "interrupted" if number == signal.SIGINT else "terminated"
    assert status == 128 + number, (name, status, error)
    assert "Traceback" not in error, (name, error)
    assert "KeyboardInterrupt" not in error.replace("Detected KeyboardInterrupt", ""), (name, error)
    lines = [line for line in error.splitlines() if line.strip()]
    assert f": {word}" in lines[-1], (name, error)
    assert sum(f": {word}" in line for line in lines) == 1, (name, error)


def test_ctrl_c_before_a_command_does_anything():
    check("complexity", interrupt("videoctx", "videoctx.cli.commands:_dispatch", "complexity", "-c", "slow_r50"))
    check("toy", interrupt("data_prep.make_toy_dataset", "jsonargparse:auto_cli", "toy", times=2))


def test_sigterm_before_a_command_does_anything():
    place, arguments = "videoctx.cli.commands:_dispatch", ("complexity", "-c", "slow_r50")
    check("complexity", interrupt("videoctx", place, *arguments, number=signal.SIGTERM), number=signal.SIGTERM)


@pytest.mark.slow
def test_sigterm_while_a_command_works(place, tmp_path):
    """A training saves a checkpoint and ends with status 75; everything else ends with 143, without temporary files."""
    manifest, write_manifest = place.videos / "manifest.csv", "videoctx.data.annotations:write_manifest"
    run = ("-c", place.config, f"--trainer.logger.init_args.save_dir={tmp_path}", "--data.loading.num_workers=0")
    status, error = interrupt("videoctx", DECODING, "fit", *run, number=signal.SIGTERM)
    assert status == 75, error
    assert "preempted.ckpt" in error.splitlines()[-1]
    commands = [
        ("videoctx", DECODING, "test", *run, "--ckpt_path", place.last, "--trainer.logger.init_args.name=b"),
        ("videoctx", DECODING, "classify", place.videos / "test0.mp4", "--ckpt_path", place.last),
        ("data_prep.inspect_videos", SPAWN, manifest, "--output", tmp_path / "a.csv"),
        ("data_prep.transcode", SPAWN, manifest, tmp_path / "transcoded"),
        ("data_prep.write_shards", write_manifest, manifest, tmp_path / "shards"),
        ("data_prep.write_annotations", write_manifest, "csv", place.videos, manifest, "--output", tmp_path / "m.csv"),
    ]
    for command in commands:
        check(" ".join(map(str, command[:3])), interrupt(*command, number=signal.SIGTERM), number=signal.SIGTERM)
    assert not [path for path in tmp_path.rglob(".*") if path.name.startswith((".part-", ".transcode-"))]


@pytest.mark.slow
@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_while_a_command_works(place, tmp_path, times):
    config, checkpoint, video = place.config, place.last, place.videos / "test0.mp4"
    manifest, write_manifest = place.videos / "manifest.csv", "videoctx.data.annotations:write_manifest"
    encoded = "data_prep.synthetic.encoded_dataset:write_manifest"
    run = ("-c", config, f"--trainer.logger.init_args.save_dir={tmp_path}", "--data.loading.num_workers=2")
    export = ("--format=torch-export", "--output", tmp_path / "a.pt2")
    commands = [
        ("videoctx", DECODING, "fit", *run, "--trainer.logger.init_args.name=a", "--data.loading.num_workers=0"),
        ("videoctx", FORKSERVER, "fit", *run, "--trainer.logger.init_args.name=b"),
        ("videoctx", FORKSERVER, "test", *run, "--ckpt_path", checkpoint, "--trainer.logger.init_args.name=c"),
        ("videoctx", DECODING, "classify", video, "--ckpt_path", checkpoint),
        ("videoctx", "torch.export:export", "export", "--ckpt_path", checkpoint, *export),
        ("data_prep.make_toy_dataset", encoded, tmp_path / "toy", *ONE_PER_CLASS),
        ("data_prep.inspect_videos", SPAWN, manifest, "--output", tmp_path / "a.csv"),
        ("data_prep.summarize", SPAWN, manifest, "--output", tmp_path / "a.html"),
        ("data_prep.transcode", SPAWN, manifest, tmp_path / "transcoded"),
        ("data_prep.write_shards", write_manifest, manifest, tmp_path / "shards"),
        ("data_prep.write_annotations", write_manifest, "csv", place.videos, manifest, "--output", tmp_path / "m.csv"),
    ]
    if times > 1:  # one command of each kind: a training, its workers, a prediction, and a pool of processes
        commands = [commands[number] for number in (0, 1, 3, 6)]
    for command in commands:
        check(" ".join(map(str, command[:3])), interrupt(*command, times=times))
    left = [path for path in tmp_path.rglob(".*") if path.name.startswith((".part-", ".transcode-"))]
    assert times > 1 or not left
