"""Runs on several ranks, interrupted and resumed: `torchrun`, SLURM, signals, lost ranks, full disks.

Starting ranks takes most of the time, so one start serves several tests: the fixtures run, the tests look.
"""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from tests.tasks.test_atomic_checkpoint_io import files_of_at_most
from tests.tasks.test_no_waiting import Reads
from tests.tiny_runs import column
from tests.tiny_set import make_set, write_config
from videoctx.cli import main

ROOT = Path(__file__).parents[1]
TWO_RANKS = ["--trainer.devices=2", "--trainer.strategy=ddp"]
PREEMPTED = 75
NUM_VIDEOS, EPOCHS = 8, 2
STOP = 2  # steps that are done when a run is stopped, of the four of an epoch on two ranks

# Each rank runs this file; the first starts the second.
ALL_COMMANDS = """
import json
from pathlib import Path
from videoctx.cli import main

for arguments in json.loads(Path(__file__).with_name("commands.json").read_text()):
    main(arguments)
"""


class SendSignal(Callback):
    """Sends this process a signal in the step after so many."""

    def __init__(self, number: int, rank: int, step: int) -> None:
        self.number, self.rank, self.step = number, rank, step

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        if (trainer.global_rank, trainer.global_step) == (self.rank, self.step - 1):
            os.kill(os.getpid(), self.number)


class KeepLosses(Callback):
    """Writes every rank's losses, a step each, to `folder`."""

    def __init__(self, folder: str) -> None:
        self.folder, self.losses = Path(folder), []

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any) -> None:  # noqa: ARG002
        self.losses.append(outputs["loss"].item())

    def on_fit_end(self, trainer: Trainer, *_: Any) -> None:
        (self.folder / f"{trainer.world_size}-{trainer.global_rank}.json").write_text(json.dumps(self.losses))


class WatchSteps(Callback):
    """Writes down on every rank, from the start of each step to that of the next in its epoch, which operators needed
    a number on the host.
    """

    def __init__(self, folder: str) -> None:
        self.folder, self.steps, self.reads = Path(folder), [], None

    def on_train_batch_start(self, *_: Any) -> None:
        if self.reads is None:
            self.reads = Reads()
            self.reads.__enter__()
        else:
            self.steps.append(self.reads.seen.copy())
        self.reads.seen.clear()

    def on_train_epoch_end(self, *_: Any) -> None:
        self.reads.__exit__(None, None, None)
        self.reads = None

    def on_fit_end(self, trainer: Trainer, *_: Any) -> None:
        (self.folder / f"steps-{trainer.global_rank}.json").write_text(json.dumps(self.steps))


def sending(number: int, *, rank: int, step: int) -> list[str]:
    arguments = {"number": int(number), "rank": rank, "step": step}
    return [
        "--trainer.callbacks+=tests.test_scale.SendSignal",
        *(f"--trainer.callbacks.{name}={value}" for name, value in arguments.items()),
    ]


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def start(*command: object, **environment: object) -> subprocess.Popen:
    environment = {name: str(value) for name, value in environment.items()}
    return subprocess.Popen(
        [sys.executable, *map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment},
    )


def ended(*processes: subprocess.Popen) -> list[tuple[int, str]]:
    """Exit status and stderr of each."""
    errors = [process.communicate(timeout=150)[1] for process in processes]
    return [(process.returncode, error) for process, error in zip(processes, errors, strict=True)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Videos, a config, and a manifest of only two of the videos."""
    folder = tmp_path_factory.mktemp("scale")
    manifest = make_set(folder, num_videos={"train": NUM_VIDEOS})
    rows = manifest.read_text().splitlines(keepends=True)
    (folder / "two.csv").write_text("".join(rows[:3]))
    write_config(folder / "config.yaml", manifest=manifest, runs=folder / "runs")
    return folder


def fit(folder: Path, name: str, *arguments: object) -> list[str]:
    return [
        "fit",
        f"-c={folder / 'config.yaml'}",
        "--data.val_split=null",
        "--data.batch_size=1",
        "--checkpoint.monitor=null",
        f"--trainer.max_epochs={EPOCHS}",
        f"--trainer.logger.init_args.name={name}",
        *map(str, arguments),
    ]


def two_videos(folder: Path, *, batch_size: int) -> list[str]:
    """Every step sees the same two videos, whether side by side or on two ranks."""
    (folder / "losses").mkdir(exist_ok=True)
    return fit(
        folder,
        "two_videos",
        f"--data.manifest={folder / 'two.csv'}",
        f"--data.batch_size={batch_size}",
        "--model.net.init_args.dropout=0",
        "--trainer.callbacks+=videoctx.tasks.FrozenBatchNorm",
        "--trainer.callbacks+=tests.test_scale.KeepLosses",
        f"--trainer.callbacks.folder={folder / 'losses'}",
    )


@pytest.fixture(scope="module")
def slurm(folder):
    """Two nodes as `srun` starts them; rank one gets the signal that SLURM sends before it ends a job."""
    job = {
        "SLURM_JOB_ID": 4711,
        "SLURM_NTASKS": 2,
        "SLURM_NTASKS_PER_NODE": 1,
        "SLURM_NNODES": 2,
        "SLURM_JOB_NAME": "fit",
        "SLURM_NODELIST": "127.0.0.1",
        "SLURM_LOCALID": 0,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": free_port(),
    }
    nodes = ["--trainer.num_nodes=2", "--trainer.devices=1", "--trainer.strategy=ddp"]
    arguments = fit(folder, "stopped", *nodes, *sending(signal.SIGUSR1, rank=1, step=STOP))
    ranks = (start("-m", "videoctx", *arguments, **job, SLURM_PROCID=rank, SLURM_NODEID=rank) for rank in range(2))
    return ended(*ranks)


@pytest.fixture(scope="module")
def one_node(folder, slurm):  # noqa: ARG001
    """Two ranks that Lightning starts: a whole run, the rest of the stopped one, two videos, one that is watched."""
    watching = ["--trainer.callbacks+=tests.test_scale.WatchSteps", f"--trainer.callbacks.folder={folder}"]
    stopped = folder / "runs" / "stopped" / "checkpoints" / "preempted.ckpt"
    commands = [
        fit(folder, "whole", *TWO_RANKS),
        fit(folder, "rest", *TWO_RANKS, f"--ckpt_path={stopped}"),
        [*two_videos(folder, batch_size=1), *TWO_RANKS],
        fit(folder, "watched", *TWO_RANKS, "--trainer.log_every_n_steps=100", *watching),
    ]
    (folder / "commands.json").write_text(json.dumps(commands))
    (folder / "ranks.py").write_text(ALL_COMMANDS)
    ((status, error),) = ended(start(folder / "ranks.py"))
    assert status == 0, error[-4000:]


@pytest.fixture(scope="module")
def torchrun(folder):
    """Two nodes, a rank each."""
    nodes = ["--trainer.num_nodes=2", "--trainer.devices=1", "--trainer.strategy=ddp"]
    port = free_port()
    return ended(
        *(
            start(
                *("-m", "torch.distributed.run", "--nnodes=2", f"--node_rank={node}", "--nproc_per_node=1"),
                *("--master_addr=127.0.0.1", f"--master_port={port}", "-m", "videoctx"),
                *fit(folder, "torchrun", *nodes, "--trainer.callbacks+=tests.tiny_set.KeepWeights"),
                f"--trainer.callbacks.folder={folder}",
            )
            for node in range(2)
        )
    )


@pytest.mark.slow
def test_two_nodes_under_torchrun_train_as_two_ranks_of_one(folder, torchrun, one_node):  # noqa: ARG001
    assert [status for status, _ in torchrun] == [0, 0], torchrun
    losses = column(folder / "runs" / "torchrun", "train/loss")
    assert len(set(losses)) == EPOCHS * NUM_VIDEOS // 2
    assert losses == column(folder / "runs" / "whole", "train/loss")
    first, second = (torch.load(folder / f"rank{rank}.pt") for rank in range(2))
    assert all(torch.equal(second[name], parameter) for name, parameter in first.items())


@pytest.mark.slow
def test_rank_zero_alone_writes(folder, torchrun):  # noqa: ARG001
    files = (path.name for path in (folder / "runs" / "torchrun").rglob("*") if path.is_file())
    written = sorted(name.partition(".tfevents")[0] for name in files)
    assert written == ["best.ckpt", "config.yaml", "events.out", "last.ckpt", "metrics.csv", "training_card.json"]


@pytest.mark.slow
def test_a_signal_to_one_task_of_slurm_ends_all_with_a_checkpoint(folder, slurm):
    assert [status for status, _ in slurm] == [PREEMPTED] * 2, slurm
    checkpoint = folder / "runs" / "stopped" / "checkpoints" / "preempted.ckpt"
    lines = [line for _, error in slurm for line in error.splitlines() if line.startswith("videoctx: ")]
    (line,) = lines
    assert line.startswith(f"videoctx: stopped by another rank's signal in epoch 0, step {STOP}; ")
    assert line.endswith(f": --ckpt_path {checkpoint}")
    # Lightning's own way would save in the middle of a step.
    assert not any("Handling auto-requeue signal" in error for _, error in slurm)


@pytest.mark.slow
def test_two_ranks_resume_where_they_stopped(folder, one_node):  # noqa: ARG001
    losses = {name: column(folder / "runs" / name, "train/loss") for name in ("whole", "stopped", "rest")}
    assert len(losses["stopped"]) == STOP
    assert losses["stopped"] + losses["rest"] == losses["whole"]


@pytest.mark.slow
def test_a_step_of_several_ranks_waits_for_no_device(folder, one_node):  # noqa: ARG001
    """The one number is what all ranks say over gloo, from host to host, of signals. Lightning's own is gone."""
    for rank in range(2):
        steps = json.loads((folder / f"steps-{rank}.json").read_text())
        assert steps == [["aten::_local_scalar_dense"]] * EPOCHS * (NUM_VIDEOS // 2 - 1)


@pytest.mark.slow
def test_training_card_has_the_number_of_ranks(folder, one_node, torchrun):  # noqa: ARG001
    for name, ranks in {"whole": {"all": 2, "nodes": 1}, "torchrun": {"all": 2, "nodes": 2}}.items():
        assert json.loads((folder / "runs" / name / "training_card.json").read_text())["ranks"] == ranks


@pytest.mark.slow
def test_a_batch_of_two_is_two_ranks_of_one(folder, one_node, monkeypatch):  # noqa: ARG001
    """Statistics of BatchNorm are frozen: SyncBatchNorm, which makes them those of all ranks, needs a GPU."""
    monkeypatch.setattr("sys.argv", ["videoctx"])
    main([*two_videos(folder, batch_size=2), "--trainer.logger.init_args.name=side_by_side"])
    one, first, second = (
        torch.tensor(json.loads((folder / "losses" / f"{ranks}.json").read_text())) for ranks in ("1-0", "2-0", "2-1")
    )
    assert len(one) == EPOCHS
    assert len({*first.tolist(), *second.tolist()}) == 2 * EPOCHS
    torch.testing.assert_close((first + second) / 2, one, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_a_rank_that_is_killed_is_named_and_nothing_of_the_run_is_left(folder):
    """Rank zero may be killed by Lightning's watch while it ends, so its exit status is one of two."""
    killed = sending(signal.SIGKILL, rank=1, step=STOP)
    run = start("-m", "videoctx", *fit(folder, "lost", *TWO_RANKS, "--data.loading.num_workers=1", *killed))
    ((status, error),) = ended(run)  # stderr is closed, so whoever held it is gone
    assert status in (2, -signal.SIGKILL)
    (line,) = [line for line in error.splitlines() if line.startswith("videoctx: ")]
    assert line.startswith("videoctx: rank 0 ends: rank 1 (process ")
    assert line.endswith(", SIGKILL: perhaps out of memory) is gone")
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("number", "step"), [(signal.SIGTERM, 3), pytest.param(signal.SIGUSR1, NUM_VIDEOS, marks=pytest.mark.slow)]
)
def test_a_signal_writes_a_checkpoint_from_which_the_rest_is_trained(folder, number, step, monkeypatch, capsys):
    """In the middle of an epoch, and in its last step."""
    monkeypatch.setattr("sys.argv", ["videoctx"])
    before = signal.getsignal(number)
    name = number.name
    main(fit(folder, f"{name}-whole"))
    with pytest.raises(SystemExit) as stop:
        main(fit(folder, f"{name}-stopped", *sending(number, rank=0, step=step)))
    assert stop.value.code == PREEMPTED
    assert signal.getsignal(number) == before
    checkpoint = folder / "runs" / f"{name}-stopped" / "checkpoints" / "preempted.ckpt"
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("videoctx: stopped")]
    assert line.startswith(f"videoctx: stopped by {name} in epoch 0, step {step}; ")
    assert line.endswith(f": --ckpt_path {checkpoint}")
    main(fit(folder, f"{name}-rest", f"--ckpt_path={checkpoint}"))
    losses = [column(folder / "runs" / f"{name}-{part}", "train/loss") for part in ("whole", "stopped", "rest")]
    assert len(losses[1]) == step
    assert losses[1] + losses[2] == losses[0]


def test_too_little_memory_is_one_line_that_names_what_to_change(folder, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["videoctx"])
    huge = ["--data.train.crop_size_px=300000", "--data.train.short_side_px=[300000,300000]"]
    with pytest.raises(SystemExit) as stop:
        main(fit(folder, "huge", *huge))
    assert stop.value.code == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("videoctx: ")]
    assert line.startswith("videoctx: out of memory (")
    assert "; a batch of a device is 1 clip of 4 × 300000 × 300000); expected less of data.batch_size" in line


def test_a_second_run_into_one_folder_is_refused_in_one_line(folder, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["videoctx"])
    main(fit(folder, "twice", "--trainer.max_epochs=1"))
    before = (folder / "runs" / "twice" / "metrics.csv").read_bytes()
    with pytest.raises(SystemExit):
        main(fit(folder, "twice", "--trainer.max_epochs=1"))
    assert (folder / "runs" / "twice" / "metrics.csv").read_bytes() == before
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("videoctx: ")]
    assert line.startswith(f"videoctx: {folder / 'runs' / 'twice'}: holds the config of another run; expected another")


def test_of_two_runs_that_begin_at_once_one_gets_the_folder(folder, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["videoctx"])
    main(fit(folder, "at_once", "--trainer.max_epochs=1"))
    monkeypatch.setattr("videoctx.cli.training.check_free", lambda _: None)  # what both have seen
    with pytest.raises(SystemExit):
        main(fit(folder, "at_once", "--trainer.max_epochs=1"))
    assert f"{folder / 'runs' / 'at_once'}: holds the config of another run" in capsys.readouterr().err


def test_a_disk_that_is_full_from_the_start_is_one_line(folder, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["videoctx"])
    with files_of_at_most(100), pytest.raises(SystemExit) as stop:
        main(fit(folder, "no_room"))
    assert stop.value.code == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("videoctx: ")]
    assert line == f"videoctx: {folder / 'runs' / 'no_room'}: File too large"


def test_a_full_disk_is_one_line(folder, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["videoctx"])
    with files_of_at_most(20_000), pytest.raises(SystemExit) as stop:
        main(fit(folder, "full"))
    assert stop.value.code == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("videoctx: ")]
    assert ".ckpt: cannot be written (File too large)" in line
