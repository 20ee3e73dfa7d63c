"""The notebook of `videoctx/inference` runs as printed, on fewer videos and for one epoch."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_readme import code_blocks

NOTEBOOK = Path(__file__).parents[2] / "videoctx" / "inference" / "notebook.md"
SHORTER = {'{"train": 40, "val": 8, "test": 15}': '{"train": 2, "val": 1, "test": 1}', "EPOCHS = 14": "EPOCHS = 1"}


@pytest.mark.slow
def test_notebook_runs_from_videos_to_attention(tmp_path):
    script = "\n".join(code_blocks(NOTEBOOK, "python"))
    for text, shorter in SHORTER.items():
        assert text in script
        script = script.replace(text, shorter)
    command = [sys.executable, "-c", f"import matplotlib\nmatplotlib.use('agg')\n{script}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    made = {path.relative_to(tmp_path / "notebook").as_posix() for path in tmp_path.rglob("*")}
    assert {"manifest.csv", "runs/toy/version_0/checkpoints/best.ckpt", "attention/0000-res3.1.mp4"} <= made
    assert {"runs/toy/version_0/test/report.html", "timeline/0000-timeline.png"} <= made
    assert "NonLocal at res3.1, seen from x " in done.stdout
