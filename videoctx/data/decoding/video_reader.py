"""Frames of a video at given indices, decoded by one of three libraries.

The libraries are decord; torchcodec, which needs the system's FFmpeg; and PyAV, which reads all files but decodes from
the first frame on. By default a file is decoded by the fastest library that is installed and exact on it. Which ones
are exact is read from the container (`videoctx.data.decoding.containers`) or from the manifest.

Open a reader in the process that uses it, because decord's threads do not survive a fork. Ask it once for all frames,
and close it at once, because an idle decord reader keeps decoding in the background.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
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
        """Number of frames that can be decoded."""
        ...

    @property
    def fps(self) -> float:
        """Average number of frames per second."""
        ...

    def read(self, indices: np.ndarray) -> np.ndarray:
        """Decode the frames at sorted, distinct indices (U,). Returns (U, H, W, 3) uint8 RGB, upright."""
        ...


@contextmanager
def open_video(path: str, decoder: Decoder = "auto", probe_result: ProbeResult | None = None) -> Iterator[VideoReader]:
    """Open a video for reading.

    Args:
        path: Path of a local file.
        decoder: Decoding library. `auto` takes the fastest one that is installed and exact on this file.
        probe_result: What `data_prep.inspect_videos` found about the file. If given, the container is not probed, as
            long as the file's size is unchanged. Without it the container is probed when the file is first opened. This
            does not find damage in the middle of a file, which decord and torchcodec may conceal.

    Raises:
        VideoDecodeError: The file is missing, empty, damaged, not a video, or not the file that was inspected. It is
            raised inside the `with` block too.
        ValueError: The decoder is unknown.
        ImportError: The decoder is not installed.
    """
    check_decoder(decoder)
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
    """Return the probe result of a file that was decoded to its end without damage.

    Args:
        num_frames: Number of decoded frames.
    """
    if num_frames == 0:
        return ProbeResult(size_bytes, (), 0, container.fps, problem="the video has no frames")
    counts_agree = num_frames == container.num_frames
    decoders = container.decoders if counts_agree else ("pyav",)  # the others take packet k for frame k
    return ProbeResult(size_bytes, decoders, num_frames, container.fps, container.variable_frame_rate)


def check_decoder(decoder: str) -> None:
    """Check that a decoder can be used here.

    Raises:
        ValueError: The decoder is unknown.
        ImportError: The decoder is not installed.
    """
    if decoder not in get_args(Decoder):
        raise ValueError(f"decoder is {decoder!r}; expected one of {', '.join(get_args(Decoder))}")
    if decoder != "auto" and not is_installed(decoder):
        raise ImportError(
            f"decoder is {decoder!r}, but {decoder} is not installed or does not load here;"
            f" expected one of {', '.join(('auto', *filter(is_installed, LIBRARIES)))}"
        )


@cache
def is_installed(decoder: str) -> bool:
    """Return whether the library can be imported here."""
    if decoder not in LIBRARIES:
        return False
    try:
        import_module(f"videoctx.data.decoding.{decoder}_reader")
    except (ImportError, OSError, RuntimeError):  # OSError, RuntimeError: its own libraries are missing
        return False
    return True


def _choose(path: str, exact: tuple[str, ...]) -> str:
    for decoder in exact:
        if _can_name(path, decoder) and is_installed(decoder):
            return decoder
    raise VideoDecodeError(path, f"none of the decoders that read it exactly is installed: {', '.join(exact)}")


def _can_name(path: str, decoder: str) -> bool:
    """Return whether the decoder can open a file of this name. Only PyAV opens names that are not UTF-8."""
    return decoder == "pyav" or path.isascii() or path.encode(errors="replace").decode() == path


def _check_unchanged(path: str, probe_result: ProbeResult) -> None:
    if probe_result.problem:
        raise VideoDecodeError(path, probe_result.problem)
    size = file_status(path).st_size
    if size != probe_result.size_bytes:
        raise VideoDecodeError(
            path,
            f"{size} bytes, but {probe_result.size_bytes} in the manifest: not the file that was inspected;"
            f" run inspect_videos again",
        )


def _open_reader(path: str, decoder: str, num_frames: int | None, fps: float) -> AbstractContextManager[VideoReader]:
    if decoder == "decord":
        from videoctx.data.decoding.decord_reader import open_decord

        return open_decord(path, num_frames=num_frames, fps=fps)
    if decoder == "torchcodec":
        from videoctx.data.decoding.torchcodec_reader import open_torchcodec

        return open_torchcodec(path, num_frames=num_frames, fps=fps)
    from videoctx.data.decoding.pyav_reader import open_pyav

    return open_pyav(path, num_frames=num_frames, fps=fps)
