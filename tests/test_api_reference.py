"""`make docs` builds the API reference without a warning."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]


@pytest.mark.slow
def test_api_reference_is_built_without_a_warning(tmp_path):
    command = [sys.executable, ".ci/api_reference.py", tmp_path]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    run = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")
    assert "def load" in re.sub(r"<[^>]+>", "", (tmp_path / "videoctx.html").read_text())
    assert (tmp_path / "videoctx" / "layers.html").is_file()
