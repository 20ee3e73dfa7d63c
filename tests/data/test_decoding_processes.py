"""Decoding processes that cannot be started raise an error of one line."""

from multiprocessing.context import ForkServerProcess

import pytest

from videoctx.cli.commands import is_user_error
from videoctx.data.loading.dataset import SampleIndex
from videoctx.data.loading.decoding_processes import DecodingProcesses


def test_processes_that_cannot_be_started_are_reported(monkeypatch):
    def refuse(_):
        raise ConnectionRefusedError("the server is gone")

    monkeypatch.setattr(ForkServerProcess, "_Popen", staticmethod(refuse))
    processes = DecodingProcesses(None, num_processes=2, deadline_seconds=9)
    with pytest.raises(ChildProcessError, match=r"the server is gone.*fewer") as refused:
        processes.decode(SampleIndex(0), "a.mp4")
    assert is_user_error(refused.value)
    processes.close()
