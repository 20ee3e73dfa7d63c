"""Write a file so that it appears under its name complete or not at all."""

import errno
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from types import TracebackType
from typing import NoReturn

# Errors that mean the file being written, although most libraries raise them without its name.
WRITE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EMFILE, errno.ENFILE)
MAX_NAME = 60  # characters, so that a temporary name fits into 255 bytes

_unfinished: set[Path] = set()  # the temporary files that this process writes now, in any of its threads
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unfinished.clear)


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path to write to; it replaces `path` when the block ends.

    The temporary file lies in the folder of `path`, has the same suffix, and its name is unique, so that several
    threads and processes may write the same `path`: the last one stays. It is flushed to the disk before it replaces
    `path`. When the block raises an exception, it is deleted, and a file that was at `path` before is still there.
    A symbolic link at `path` remains a link; its target is replaced. The permissions of an existing file are kept.
    A device or a pipe, such as `/dev/stdout`, is yielded itself.

    Args:
        path: the file to write. Its folder must exist.

    Raises:
        OSError: the file cannot be written; the error names `path` and not the temporary file.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder, "results.json")
        ...     with atomic_write(path) as part:
        ...         _ = part.write_text("{}", encoding="utf-8")
        ...         print(path.exists())
        ...     print(path.read_text(encoding="utf-8"))
        False
        {}
    """
    with atomic_write_together(path) as (part,):
        yield part


@contextmanager
def atomic_write_together(*paths: str | Path) -> Iterator[tuple[Path, ...]]:
    """Do the same for files that belong together: all of them are complete before the first one replaces its path."""
    parts = tuple(map(_temporary_path, paths))
    temporary = [(path, part) for path, part in zip(paths, parts, strict=True) if part != Path(path)]
    try:
        _unfinished.update(part for _, part in temporary)
        with ErrorsNaming(paths, parts):
            yield parts
        for path, part in temporary:
            with ErrorsNaming([path], [part], unnamed=True):
                with part.open("rb+") as file:
                    os.fsync(file.fileno())  # some file systems report only here that they are full
                if os.path.exists(path):
                    shutil.copymode(path, part)
        for path, part in temporary:
            with ErrorsNaming([path], [part]):
                os.replace(part, os.path.realpath(path))
    finally:
        for _, part in temporary:
            with suppress(OSError):
                part.unlink()
            _unfinished.discard(part)


def exit_at_once(status: int) -> NoReturn:
    """End the process without waiting for its threads; what they are writing is deleted."""
    for part in list(_unfinished):
        with suppress(OSError):
            part.unlink()
    os._exit(status)


def check_writable(path: str | Path) -> None:
    """Check that `path` can be written, before the work whose result it is for. Nothing is left there.

    Raises:
        OSError: as `atomic_write`.
    """
    with ErrorsNaming([path]), suppress(FileNotFoundError):
        os.lstat(path)  # the name may be too long, or the folder may be a file
    if os.path.isdir(path):
        raise IsADirectoryError(errno.EISDIR, "is a folder; expected the name of a file", str(path))
    if (part := _temporary_path(path)) != Path(path):
        with ErrorsNaming([path], [part]):
            part.touch(exist_ok=False)
            part.unlink()


def _temporary_path(path: str | Path) -> Path:
    if os.path.exists(path) and not os.path.isfile(path):
        return Path(path)
    target = Path(os.path.realpath(path))
    return target.with_name(f".part-{token_hex(4)}-{target.name[-MAX_NAME:]}")


class ErrorsNaming:
    """A context in which an error of writing becomes an `OSError` that names the file.

    Libraries raise such errors without a name, with the name of a temporary file, or as the cause of an error of their
    own. Other errors pass unchanged.

    Args:
        paths: the files as the user knows them.
        written: the files that are written in their place; by default `paths`.
        unnamed: every error without a name is of the last file, as nothing else is read or written inside the block.
    """

    def __init__(
        self, paths: Sequence[str | Path], written: Sequence[str | Path] | None = None, *, unnamed: bool = False
    ) -> None:
        self._unnamed = unnamed
        self._paths = [str(path) for path in paths]
        self._names = [os.path.basename(path) for path in (paths if written is None else written)]

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not isinstance(error, Exception):
            return
        cause = error if isinstance(error, OSError) else error.__cause__ or error.__context__
        if not isinstance(cause, OSError) or cause.errno is None:
            return
        named = f"{cause.filename or ''} {cause.strerror or ''}"
        found = next((path for path, name in zip(self._paths, self._names, strict=True) if name in named), None)
        if found is None and (self._unnamed or cause.errno in WRITE_ERRORS) and not cause.filename:
            found = self._paths[-1]
        if found is not None:
            reason = f"cannot be written ({os.strerror(cause.errno)})"
            folder = os.path.dirname(found) or "."
            if cause.errno == errno.ENOENT and not os.path.isdir(folder):
                reason = f"cannot be written, there is no folder {folder}"
            raise OSError(cause.errno, reason, found) from error
