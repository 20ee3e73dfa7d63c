"""Work in other processes: what comes back, what a dying worker takes along, and what is left behind after an end."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import psutil
import pytest

from data_prep.scheduling import dask_cluster
from data_prep.scheduling import run_each as run_each_module
from data_prep.scheduling.run_each import SchedulerError, run_each

GONE_SECONDS = 60  # for processes to be gone; it takes a fraction of one


@pytest.fixture(scope="module")
def cluster():
    distributed = pytest.importorskip("distributed", reason="Dask is not installed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, protocol="tcp", dashboard_address=None
    ) as cluster:
        yield cluster


def work(item: str, folder: Path | None = None) -> str:
    """Do what the item names; the part after its colon is the name of a file."""
    what, _, name = item.partition(":")
    if what == "die" or (what == "die once" and not (folder / name).exists()):
        if folder:
            (folder / name).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "raise":
        raise KeyError(item)
    if what == "raise what cannot travel":
        raise Untravelled(1, 2)
    if what == "touch":
        (folder / name).touch()
    if what == "start a program and wait":
        program = subprocess.Popen(["sleep", "1000"])
        (folder / f"{os.getpid()} {program.pid}").touch()
        time.sleep(1000)
    return item.upper()


class Untravelled(Exception):
    def __init__(self, one, two):
        super().__init__(f"{one} and {two} in one")


def outcomes(*items, folder=None, **options):
    return dict(run_each(partial(work, folder=folder), items, description="Working", **options))


def gone(pids) -> bool:
    deadline = time.monotonic() + GONE_SECONDS
    while time.monotonic() < deadline:
        if not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" for pid in pids):
            return True
        time.sleep(0.01)
    return False


def test_every_item_has_a_result_and_is_counted(capsys):
    assert outcomes("a", "b", "c", workers=2) == {"a": "A", "b": "B", "c": "C"}
    assert "Working" in (errors := capsys.readouterr().err)
    assert "3/3" in errors


def test_no_items():
    assert outcomes(workers=1) == {}


def test_exception_is_the_failure_of_its_item():
    found = outcomes("a", "raise", "raise what cannot travel", "b", workers=1)
    assert found["a"] == "A"
    assert found["b"] == "B"
    assert found["raise"].reason == "KeyError: 'raise'"
    assert found["raise what cannot travel"].reason == "Untravelled: 1 and 2 in one"
    assert "in work" in found["raise"].details


def test_death_of_a_worker_affects_only_its_item(tmp_path):
    fine = [f"item {number}" for number in range(20)]
    found = outcomes(*fine[:10], "die:culprit", "die once:unlucky", *fine[10:], workers=2, folder=tmp_path)
    assert {item: found[item] for item in fine} == {item: item.upper() for item in fine}
    assert found["die once:unlucky"] == "DIE ONCE:UNLUCKY"
    assert "died twice" in found["die:culprit"].reason


def test_workers_that_never_start_end_the_run(monkeypatch):
    monkeypatch.setattr(run_each_module, "MOST_DEATHS_AT_START", 3)
    with pytest.raises(SchedulerError, match="worker processes died and none finished"):
        outcomes(*(f"die:{number}" for number in range(100)), workers=2)


def test_no_workers():
    with pytest.raises(ValueError, match="workers is 0; expected at least 1"):
        outcomes("a", workers=0)


def test_few_items_are_in_flight_and_processes_end_with_the_iteration(tmp_path):
    items = [f"touch:{number}" for number in range(1000)]
    iteration = run_each(partial(work, folder=tmp_path), items, description="Working", workers=2)
    next(iteration)
    children = {child.pid for child in psutil.Process().children()}
    iteration.close()
    assert len(list(tmp_path.iterdir())) <= 3
    assert children
    assert gone({pid for pid in children if psutil.pid_exists(pid) and "spawn_main" in _command(pid)})


def _command(pid: int) -> str:
    try:
        return " ".join(psutil.Process(pid).cmdline())
    except psutil.NoSuchProcess:
        return ""


@pytest.mark.parametrize(("sign", "status"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_interrupted_or_killed_run_leaves_no_process(tmp_path, sign, status):
    script = (
        "import sys\nfrom pathlib import Path\nfrom functools import partial\n"
        "from data_prep.scheduling.run_each import run_each\n"
        "from tests.data_prep.scheduling.test_run_each import work\n"
        "if __name__ == '__main__':\n"
        "    items = ['start a program and wait'] * 5\n"
        "    try:\n"
        "        list(run_each(partial(work, folder=Path(sys.argv[1])), items, description='', workers=2))\n"
        "    except KeyboardInterrupt:\n"
        "        sys.exit(130)\n"
    )
    (tmp_path / "script.py").write_text(script)
    (tmp_path / "pids").mkdir()
    root = Path(__file__).parents[3]
    run = subprocess.Popen(
        [sys.executable, tmp_path / "script.py", tmp_path / "pids"],
        env={**os.environ, "PYTHONPATH": str(root)},
        stderr=subprocess.PIPE,
    )
    while len(pids := list((tmp_path / "pids").iterdir())) < 2:
        assert run.poll() is None
        time.sleep(0.02)
    run.send_signal(sign)
    assert run.wait(GONE_SECONDS) == status
    assert gone({int(pid) for path in pids for pid in path.name.split()})
    if sign == signal.SIGINT:
        assert b"Traceback" not in run.stderr.read()


def test_cluster_gives_the_same_as_processes(cluster):
    items = ["a", "raise", "b"]
    found = outcomes(*items, scheduler=cluster.scheduler_address)
    expected = outcomes(*items, workers=1)
    assert {item: getattr(outcome, "reason", outcome) for item, outcome in found.items()} == {
        item: getattr(outcome, "reason", outcome) for item, outcome in expected.items()
    }


@pytest.mark.slow
def test_death_of_a_cluster_worker_affects_only_its_item(cluster, tmp_path):
    items = [f"item {number}" for number in range(200)]
    found = outcomes(
        *items[:100], "die once:unlucky", *items[100:], folder=tmp_path, scheduler=cluster.scheduler_address
    )
    assert (tmp_path / "unlucky").exists()
    assert found == {item: item.upper() for item in (*items, "die once:unlucky")}


@pytest.mark.slow
def test_item_that_kills_cluster_workers_fails(cluster):
    found = outcomes("a", "die", "b", scheduler=cluster.scheduler_address)
    assert "died twice" in found.pop("die").reason
    assert found == {"a": "A", "b": "B"}


def test_no_scheduler_at_the_address(monkeypatch):
    pytest.importorskip("distributed", reason="Dask is not installed")
    monkeypatch.setattr(dask_cluster, "CONNECT_SECONDS", 0.2)
    with pytest.raises(SchedulerError, match=r"--scheduler tcp://127\.0\.0\.1:9: .*expected tcp://HOST:PORT"):
        outcomes("a", scheduler="tcp://127.0.0.1:9")


def test_dask_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(SchedulerError, match=r"pip install 'videoctx\[cluster\]'"):
        outcomes("a", scheduler="tcp://127.0.0.1:9")
