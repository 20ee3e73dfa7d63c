"""Write a file so that it appears under its name complete or not at all."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex

# Errors that only writing can raise. Most of them come without a file name.
WRITE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
MAX_NAME = 60  # characters, so that a temporary name fits into 255 bytes


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
    if os.path.exists(path) and not os.path.isfile(path):
        yield Path(path)
        return
    target = Path(os.path.realpath(path))
    part = target.with_name(f".part-{token_hex(4)}-{target.name[-MAX_NAME:]}")
    try:
        yield part
        with part.open("rb+") as file:
            os.fsync(file.fileno())  # some file systems report only here that they are full
        if target.exists():
            shutil.copymode(target, part)
        os.replace(part, target)
    except OSError as error:
        if error.filename == str(part) or (error.filename is None and error.errno in WRITE_ERRORS):
            if error.filename2 is not None:  # of os.replace
                raise OSError(error.errno, error.strerror, str(path)) from error
            error.filename = str(path)
        raise
    finally:
        part.unlink(missing_ok=True)
