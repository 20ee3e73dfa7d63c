"""Returns the memory that a job has freed to the operating system.

The C library keeps the pages of freed frames for later, in every thread that allocated some. After videos of many sizes
these are 200 MB and more of a server that does nothing.
"""

import ctypes
from functools import cache
from typing import Any


def return_free_memory() -> None:
    """Let the C library return whole pages that hold nothing, where it can (glibc). It takes about 5 ms."""
    trim = _trim()
    if trim is not None:
        trim(0)


@cache
def _trim() -> Any:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # another C library, such as musl's, or another system
        return None
