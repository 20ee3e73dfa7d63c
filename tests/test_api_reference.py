"""`make docs` builds the API reference without a warning."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]


@pytest.mark.slow
def test_api_reference_is_built_without_a_warning(tmp_path):
    recipe = re.search(r"^docs:.*\n\t(.+)", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)[1]
    command = recipe.replace("$(BIN)/python", sys.executable).replace("build/docs", str(tmp_path)).split()
    run = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")
    face = (tmp_path / "videoctx.html").read_text()
    assert (tmp_path / "videoctx" / "layers.html").is_file()
    assert "docstring" in face
