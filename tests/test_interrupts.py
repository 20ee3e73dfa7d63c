"""Ctrl-C, SIGTERM and SIGHUP during an import end the process at once; at another time it cleans up before."""

import builtins
import signal
import subprocess
import sys
import threading
from itertools import count

import pytest

from tests.each_case import each_case
from videoctx.cli import main
from videoctx.interrupts import without_interrupts

PROGRAM = """
import os, signal, sys, threading
from videoctx.atomic_write import atomic_write
from videoctx.interrupts import Terminated, interrupts_end_with
sys.path.insert(0, sys.argv[1])
number = int(sys.argv[3])
begun, end = threading.Event(), threading.Event()

def write():
    with atomic_write(os.path.join(sys.argv[1], "written by a thread")) as part:
        part.touch()
        begun.set()
        end.wait()

threading.Thread(target=write).start()
begun.wait()
with interrupts_end_with("program", "; some is left"):
    try:
        if sys.argv[2] == "import":
            import interrupting
        os.kill(os.getpid(), number)
    except KeyboardInterrupt as stop:
        assert isinstance(stop, Terminated) == (number != signal.SIGINT)
        if sys.argv[2] == "again":
            os.kill(os.getpid(), number)
        if sys.argv[2] == "error":
            raise ValueError("what follows from it")
        raise
    finally:
        print("cleaned up")
        end.set()
"""
MODULE = "import os, signal, sys\nos.kill(os.getpid(), int(sys.argv[3]))\n"


@each_case(
    ("number", "status", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated"), (signal.SIGHUP, 129, "hung up")],
)
@each_case(("when", "cleans_up"), [("import", False), ("later", True), ("again", False), ("error", True)])
def test_one_line_and_the_status_of_the_signal(tmp_path_factory, number, status, word, when, cleans_up):
    folder = tmp_path_factory.mktemp("modules")
    (folder / "interrupting.py").write_text(MODULE)
    command = [sys.executable, "-c", PROGRAM, str(folder), when, str(int(number))]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stderr == f"program: {word}; some is left\n"
    assert done.returncode == status
    assert done.stdout == "cleaned up\n" * cleans_up
    assert not list(folder.glob(".part-*"))


def test_ctrl_c_at_any_import_of_the_command_line(monkeypatch, capsys):
    """From the first line of `main` on. What Python does before, and the start of the script, is not ours."""
    real_import = builtins.__import__
    for number in range(1000):
        calls = count()

        def import_(*arguments, calls=calls, number=number, **options):
            if next(calls) == number:
                raise KeyboardInterrupt
            return real_import(*arguments, **options)

        status = 0
        with monkeypatch.context() as patch:
            patch.setattr(builtins, "__import__", import_)
            try:
                main(["--version"])
            except SystemExit as stop:
                status = stop.code
        if status == 0:
            break
        assert status == 130, number
        assert capsys.readouterr().err == "videoctx: interrupted\n", number
    assert number >= 3


def test_ctrl_c_that_another_thread_receives_waits_for_the_end_of_the_block():
    begun, reached = threading.Event(), False

    def receive():
        begun.wait(60)
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)

    thread = threading.Thread(target=receive)  # of a library: it has begun before the block
    thread.start()
    with pytest.raises(KeyboardInterrupt), without_interrupts():  # noqa: PT012 - how far the block comes is tested
        begun.set()
        thread.join()
        reached = True
    assert reached
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
