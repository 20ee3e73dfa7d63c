"""The base class of errors that the command line reports in one line, that line, and what some errors mean."""

import errno


class UserError(RuntimeError):
    """An error that the user can do something about.

    The message names what is at fault and what would be accepted. The command line prints it without a traceback.
    Errors of a value or of a file are a `ValueError` or an `OSError` instead.

    >>> raise UserError("clip.mp4: the file is empty")
    Traceback (most recent call last):
    videoctx.user_error.UserError: clip.mp4: the file is empty
    """


def error_line(error: BaseException) -> str:
    """Return the message of an error as one line, that of a file as `PATH: reason`.

    >>> error_line(FileNotFoundError(2, "No such file or directory", "clip.mp4"))
    'clip.mp4: No such file or directory'
    """
    if not isinstance(error, OSError) or error.strerror is None:
        return " ".join(str(error).split())
    names = [str(name) for name in (error.filename, error.filename2) if name]
    remedy = "; expected a higher limit of open files (ulimit -n)" if error.errno == errno.EMFILE else ""
    if error.errno == errno.ENOSPC and not names:  # whoever writes a file names it
        remedy = "; expected room in /dev/shm, for the memory and the semaphores that processes share"
    return " ".join(f"{': '.join([*names, error.strerror])}{remedy}".split())


# Parts of the messages of allocators and of libraries for devices. `torch.OutOfMemoryError` is a RuntimeError.
SIGNS_OF_FULL_MEMORY = ("out of memory", "DefaultCPUAllocator", "_ALLOC_FAILED")


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that memory of the host or of a device is exhausted."""
    return (
        isinstance(error, MemoryError)
        or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
        or (isinstance(error, RuntimeError) and any(sign in str(error) for sign in SIGNS_OF_FULL_MEMORY))
    )


# The extras of this package that install a library.
EXTRAS = {
    **dict.fromkeys(("onnx", "onnxscript", "onnxruntime"), "onnx"),
    **dict.fromkeys(("starlette", "uvicorn"), "app"),
    "psutil": "bench",
    "webdataset": "shards",
    "distributed": "cluster",
    "dask": "cluster",
    "torchcodec": "torchcodec",
}

PACKAGES = {"PIL": "pillow", "yaml": "pyyaml", "imagehash": "ImageHash"}  # that have another name than the library


def missing_library(error: BaseException) -> str | None:
    """Return one line on a library that is not installed. None: the error is another.

    >>> missing_library(ModuleNotFoundError("No module named 'onnx'", name="onnx"))
    "onnx is not installed; expected pip install 'videoctx[onnx]'"
    """
    if not isinstance(error, ModuleNotFoundError) or not error.name:
        return None
    library = error.name.partition(".")[0]
    if library in ("videoctx", "data_prep"):
        return None
    package = f"'videoctx[{EXTRAS[library]}]'" if library in EXTRAS else PACKAGES.get(library, library)
    return f"{library} is not installed; expected pip install {package}"
