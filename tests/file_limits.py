"""Limits of this process that make writing fail as on a full disk, or as with too few file descriptors."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def files_of_at_most(num_bytes: int) -> Iterator[None]:
    """Let the system refuse to write more than this to any file (EFBIG). Python ignores the signal that comes first."""
    with _limited(resource.RLIMIT_FSIZE, num_bytes):
        yield


@contextmanager
def no_more_open_files() -> Iterator[None]:
    """Let the system refuse to open another file (EMFILE)."""
    lowest_free = os.dup(0)
    os.close(lowest_free)
    with _limited(resource.RLIMIT_NOFILE, lowest_free):
        yield


@contextmanager
def _limited(kind: int, value: int) -> Iterator[None]:
    before = resource.getrlimit(kind)
    resource.setrlimit(kind, (value, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(kind, before)
