"""`torch.compile` with a cache that only this user may write to.

By default torch keeps compiled code in `torchinductor_USER` in the folder for temporary files, and runs what it finds
there, whoever has written it.
"""

import os
from collections.abc import Callable
from typing import Any

import torch

from videoctx.private_folder import default_folder, make_private

CACHE_VARIABLE = "TORCHINDUCTOR_CACHE_DIR"


def keep_compiled_code_private() -> None:
    """Let torch keep compiled code in a private folder, or in `TORCHINDUCTOR_CACHE_DIR` where that is set.

    Raises:
        CacheFolderError: The private folder belongs to another user.
    """
    if CACHE_VARIABLE not in os.environ:
        make_private(default_folder())
        folder = default_folder() / "compiled"
        make_private(folder)
        os.environ[CACHE_VARIABLE] = str(folder)


def compile_for_fixed_sizes(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a network or function compiled for each size of its input.

    Raises:
        CacheFolderError: The private folder belongs to another user.
    """
    keep_compiled_code_private()
    return torch.compile(function, dynamic=False)
