"""Frames at indices, whatever library reads them.

A reader is opened in the process that uses it (decord's own threads do not survive a fork), asked once for the
sorted distinct frames of everything that is wanted from a video, and dropped at once (an idle decord reader
goes on decoding in the background).

Three libraries read, of which a file takes the fastest that is installed and exact on it: decord; torchcodec, which
needs the system's FFmpeg; PyAV, which reads everything and has to decode from the first frame on. Which are exact is
found by looking into the container (`videoctx.data.decoding.containers`), or has been written into the manifest.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from typing import Literal, Protocol, get_args

import numpy as np

from videoctx.data.annotations import ProbeResult
from videoctx.data.decoding.containers import Container, VideoDecodeError, file_status, probe

Decoder = Literal["auto", "decord", "torchcodec", "pyav"]
LIBRARIES = get_args(Decoder)[1:]


class VideoReader(Protocol):
    """An open video."""

    @property
    def num_frames(self) -> int:
        """How many frames can be decoded."""
        ...

    @property
    def fps(self) -> float:
        """Frames per second, on average."""
        ...

    def read(self, indices: np.ndarray) -> np.ndarray:
        """The frames at sorted, distinct `indices` (U,): (U, H, W, 3) uint8 RGB, upright."""
        ...


@contextmanager
def open_video(path: str, decoder: Decoder = "auto", probe_result: ProbeResult | None = None) -> Iterator[VideoReader]:
    """Open a video for reading.

    Args:
        decoder: `auto` takes the fastest that is installed and exact on this file.
        probe_result: what inspecting the file has found. It is believed, and the file is not looked into again, as long
            as its size is the same. Without it the container is looked into, at the first opening; that finds no
            damage in the middle, which decord and torchcodec may paint over.

    Raises:
        VideoDecodeError: the file is missing, empty, no video, damaged, or not the one that was inspected; also from
            within the `with` block.
        ValueError: there is no such decoder.
        ImportError: the decoder that is asked for is not installed.
    """
    if decoder not in get_args(Decoder):
        raise ValueError(f"decoder is {decoder!r}; expected one of {', '.join(get_args(Decoder))}")
    if decoder != "auto" and not is_installed(decoder):
        raise ImportError(
            f"decoder is {decoder!r}, but {decoder} is not installed or does not load here;"
            f" expected one of {', '.join(('auto', *filter(is_installed, LIBRARIES)))}"
        )
    if probe_result is None:
        container = probe(path)
        exact, fps = container.decoders, container.fps
        num_frames = container.num_frames if decoder == "auto" or decoder in exact else None
    else:
        _check_unchanged(path, probe_result)
        exact, num_frames, fps = probe_result.decoders, probe_result.num_frames, probe_result.fps
    with _open_reader(path, _choose(path, exact) if decoder == "auto" else decoder, num_frames, fps) as reader:
        if reader.num_frames < 1:
            raise VideoDecodeError(path, "the video has no frames")
        yield reader


def probe_result_of(container: Container, *, num_frames: int, size_bytes: int) -> ProbeResult:
    """The probe result on a file of which `num_frames` frames have been decoded, to the end and without damage."""
    if num_frames == 0:
        return ProbeResult(size_bytes, (), 0, container.fps, problem="the video has no frames")
    kept_promise = num_frames == container.num_frames
    decoders = container.decoders if kept_promise else ("pyav",)  # the others take packet k for frame k
    return ProbeResult(size_bytes, decoders, num_frames, container.fps, container.variable_frame_rate)


@cache
def is_installed(decoder: str) -> bool:
    """Whether the library can be used here; it is loaded for that."""
    if decoder not in LIBRARIES:
        return False
    try:
        import_module(f"videoctx.data.decoding.{decoder}_reader")
    except (ImportError, OSError, RuntimeError):  # OSError, RuntimeError: it is there, but not what it needs
        return False
    return True


def _choose(path: str, exact: tuple[str, ...]) -> str:
    for decoder in exact:
        if _can_name(path, decoder) and is_installed(decoder):
            return decoder
    raise VideoDecodeError(path, f"none of the decoders that read it exactly is installed: {', '.join(exact)}")


def _can_name(path: str, decoder: str) -> bool:
    """Only PyAV opens files whose name is not UTF-8."""
    return decoder == "pyav" or path.isascii() or path.encode(errors="replace").decode() == path


def _check_unchanged(path: str, probe_result: ProbeResult) -> None:
    if probe_result.problem:
        raise VideoDecodeError(path, probe_result.problem)
    size = file_status(path).st_size
    if size != probe_result.size_bytes:
        raise VideoDecodeError(
            path,
            f"{size} bytes, but the manifest says {probe_result.size_bytes}: another file than the one inspected;"
            f" run inspect_videos again",
        )


def _open_reader(path: str, decoder: str, num_frames: int | None, fps: float):
    if decoder == "decord":
        from videoctx.data.decoding.decord_reader import open_decord

        return open_decord(path, num_frames=num_frames, fps=fps)
    if decoder == "torchcodec":
        from videoctx.data.decoding.torchcodec_reader import open_torchcodec

        return open_torchcodec(path, num_frames=num_frames, fps=fps)
    from videoctx.data.decoding.pyav_reader import open_pyav

    return open_pyav(path, num_frames=num_frames, fps=fps)
