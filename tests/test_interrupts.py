"""Ctrl-C while a module is imported ends the process; at another time it raises KeyboardInterrupt."""

import subprocess
import sys

PROGRAM = """
import os, signal, sys
from videoctx.interrupts import interrupts_end_with
sys.path.insert(0, sys.argv[1])
with interrupts_end_with("stopped"):
    try:
        if sys.argv[2] == "import":
            import interrupting
        os.kill(os.getpid(), signal.SIGINT)
    except KeyboardInterrupt:
        sys.exit(3)
"""


def test_ctrl_c_during_an_import_and_after_it(tmp_path):
    (tmp_path / "interrupting.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    for when, status, errors in (("import", 130, "stopped\n"), ("later", 3, "")):
        command = [sys.executable, "-c", PROGRAM, str(tmp_path), when]
        done = subprocess.run(command, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (status, errors), when
