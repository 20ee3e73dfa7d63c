"""Decoding processes that cannot be started raise an error of one line."""

from concurrent.futures import CancelledError, Future
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.context import ForkServerProcess
from types import SimpleNamespace

import pytest
import torch

from videoctx.cli.commands import is_user_error
from videoctx.data.annotations import VideoRecord
from videoctx.data.loading import decoding_processes
from videoctx.data.loading.dataset import SampleIndex
from videoctx.data.loading.decoding_processes import DecodingProcesses, Task


def test_processes_that_cannot_be_started_are_reported(monkeypatch):
    def refuse(_):
        raise ConnectionRefusedError("the server is gone")

    monkeypatch.setattr(ForkServerProcess, "_Popen", staticmethod(refuse))
    processes = DecodingProcesses(None, num_processes=2, deadline_seconds=9)
    with pytest.raises(ChildProcessError, match=r"the server is gone.*fewer") as refused:
        processes.decode(SampleIndex(0), VideoRecord("a.mp4", 0, "train"), "a.mp4")
    assert is_user_error(refused.value)
    processes.close()


def test_a_task_that_a_pool_has_forgotten_is_not_waited_for(monkeypatch):
    """As when an idle process is found dead at the moment of the request."""
    monkeypatch.setattr(decoding_processes, "LOOK_EVERY_SECONDS", 0.01)
    processes = DecodingProcesses(None, num_processes=1, deadline_seconds=9)
    ended = SimpleNamespace(active=False)
    with pytest.raises(BrokenProcessPool, match="have ended"):
        processes.result(Task(Future(), None, ended))
    cancelled, late = Future(), Future()
    cancelled.cancel()
    with pytest.raises(CancelledError):
        processes.result(Task(cancelled, None, ended))
    late.set_exception(TimeoutError("of the task"))
    with pytest.raises(TimeoutError, match="of the task"):
        processes.result(Task(late, None, ended))


def test_the_decoder_is_imported_before_the_first_deadline_begins(monkeypatch):
    imported = []
    monkeypatch.setattr(decoding_processes, "is_installed", lambda decoder: imported.append(decoder) or True)
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    decoding_processes._begin(None)
    assert imported == ["sparse"]
