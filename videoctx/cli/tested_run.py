"""The run that a tool reads: the folder of a test, or that of a training with tests inside."""

import sys
from pathlib import Path

from videoctx.evaluation.run_folders import newest_test

RUN_HELP = "folder of a test, or of a training whose newest test is taken"


def tested_run(name: str | Path) -> Path:
    """Return the folder of the scores of a run. Where a training has several tests, a line on stderr tells which."""
    folder, line = newest_test(Path(name))
    if line:
        print(line, file=sys.stderr)
    return folder
