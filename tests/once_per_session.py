"""A folder that one worker of pytest-xdist fills and all of them read."""

from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock


def once_per_session(tmp_path_factory: pytest.TempPathFactory, name: str, fill: Callable[[Path], None]) -> Path:
    """Return a folder that `fill` has filled, in the process of the first worker that asks for it.

    Use it in session fixtures that encode videos or train. Tests must not change what is in the folder.

    Args:
        tmp_path_factory: pytest's fixture of that name.
        name: name of the folder, one per fixture.
        fill: writes into the empty folder that it is given. If it raises, the next worker tries again.
    """
    base = tmp_path_factory.getbasetemp()  # in a worker: a folder of its own inside the session's
    session = base.parent if base.name.startswith("popen-") else base
    folder, filled = session / name, session / f"{name}.filled"
    with FileLock(session / f"{name}.lock"):
        if not filled.exists():
            folder.mkdir(exist_ok=True)
            fill(folder)
            filled.touch()
    return folder
