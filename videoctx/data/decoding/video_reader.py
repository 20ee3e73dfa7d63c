"""Frames of a video at given indices, decoded by one of four decoders, or read from images.

The decoders are `sparse`, which is PyAV that decodes only what the frames depend on; decord; torchcodec, which needs
the system's FFmpeg; and `pyav`, which reads all files but decodes from the first frame on. By default a file is decoded
by the fastest one that is installed and exact on it. Which ones are exact is read from the container
(`videoctx.data.decoding.exact_decoders`) or from the manifest.

Open a reader in the process that uses it, because decord's threads do not survive a fork. Ask it once for all frames,
and close it at once, because an idle decord reader keeps decoding in the background.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cache
from importlib import import_module
from itertools import dropwhile
from typing import Literal, NamedTuple, Protocol, TypeVar, get_args

import numpy as np

from videoctx.data.annotations import ProbeResult
from videoctx.data.decoding.containers import OpenFile, VideoDecodeError, file_status, open_container, open_whole
from videoctx.data.decoding.exact_decoders import Container
from videoctx.data.decoding.frame_folder import check_images_unchanged, open_frame_folder
from videoctx.data.decoding.video_stream import video_stream
from videoctx.data.decoding.yuv_frames import DecodedFrames
from videoctx.data.storage.locations import holds_images

Decoder = Literal["auto", "sparse", "decord", "torchcodec", "pyav"]
LIBRARIES = get_args(Decoder)[1:]
Frames = TypeVar("Frames", np.ndarray, DecodedFrames)


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

    @property
    def frame_seconds(self) -> np.ndarray | None:
        """(num_frames,) float64: time of each frame, relative to the first one. None: they are at even distances."""
        ...

    def read(self, indices: np.ndarray) -> np.ndarray:
        """Decode the frames at sorted, distinct indices (U,). Returns (U, H, W, 3) uint8 RGB, upright."""
        ...

    def read_yuv(self, indices: np.ndarray) -> DecodedFrames:
        """Decode the same frames, as planes where the device can convert them to the same RGB."""
        ...


@contextmanager
def open_video(
    path: str,
    decoder: Decoder = "auto",
    probe_result: ProbeResult | None = None,
    *,
    fps: float | None = None,
    short_side_px: int | None = None,
) -> Iterator[VideoReader]:
    """Open a video for reading.

    Args:
        path: Path of a local file, or of a folder, a zip file or a tar file of images (`frame_folder`).
        decoder: Decoding library. `auto` takes the fastest one that is installed and exact on this file. Images are
            always read by the decoder `frames`.
        probe_result: What `data_prep.inspect_videos` found about the file. If given, the container is not probed, as
            long as the file's size is unchanged. Without it the container is probed when the file is first opened. This
            does not find damage in the middle of a file, which decord and torchcodec may conceal.
        fps: Frames per second of images, which state none, unless `probe_result` has it. Files of video have their own.
        short_side_px: Let `sparse` and `pyav` scale larger frames to this short side. None: frames have their own size.

    Raises:
        VideoDecodeError: The file is missing, empty, damaged, not a video, or not the file that was inspected. It is
            raised inside the `with` block too.
        ValueError: The decoder is unknown.
        ImportError: The decoder is not installed.
    """
    check_decoder(decoder)
    opened = None
    if holds_images(path):
        if probe_result is not None:
            check_unchanged(path, probe_result)
        with open_frame_folder(path, fps if probe_result is None else probe_result.fps) as images:
            yield images
        return
    if probe_result is None:
        container, opened = open_whole(path)
        num_frames = container.num_frames if decoder == "auto" or decoder in container.decoders else None
        video = _Video(
            path, num_frames, container.fps, container.stream_index, container.variable_frame_rate, short_side_px
        )
        exact = container.decoders
    else:
        check_unchanged(path, probe_result)
        of_video = probe_result.num_frames, probe_result.fps, probe_result.video_stream
        video = _Video(path, *of_video, probe_result.variable_frame_rate, short_side_px)
        exact = probe_result.decoders
    try:
        names = _choose(path, exact) if decoder == "auto" else (decoder,)
        if opened is not None and names[0] != "sparse":
            opened.close()  # the others open the file themselves
            opened = None
        with _FirstThatReads(video, names, opened) as reader:
            if reader.num_frames < 1:
                raise VideoDecodeError(path, "the video has no frames")
            yield reader
    finally:
        if opened is not None:
            opened.close()


def probe_result_of(
    container: Container, *, num_frames: int, size_bytes: int, agreeing: str | None = None
) -> ProbeResult:
    """Return the probe result of a file that was decoded to its end without damage.

    Args:
        num_frames: Number of decoded frames.
        agreeing: The fastest decoder that returned the frames of PyAV. None: they were not compared.
    """
    if num_frames == 0:
        return ProbeResult(size_bytes, (), 0, container.fps, problem="the video has no frames")
    decoders = container.decoders
    if agreeing is not None:
        decoders = tuple(name for name in decoders if name in (agreeing, "pyav"))
    if num_frames != container.num_frames:
        decoders = ("pyav",)  # the others number the packets
    varies, stream = container.variable_frame_rate, container.stream_index
    return ProbeResult(size_bytes, decoders, num_frames, container.fps, varies, video_stream=stream)


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


class _Video(NamedTuple):
    """What readers are told of a file."""

    path: str
    num_frames: int | None  # None: the reader counts them
    fps: float
    stream_index: int | None
    variable_frame_rate: bool
    short_side_px: int | None


class _FirstThatReads:
    """A reader that moves on to the next decoder when one cannot open or read the file.

    Args:
        video: The file.
        decoders: Decoders in the order in which they are tried.
        opened: The open file, for a sparse decoder.
    """

    def __init__(self, video: _Video, decoders: tuple[str, ...], opened: OpenFile | None) -> None:
        self._video, self._decoders, self._opened = video, decoders, opened
        self._stack = ExitStack()
        self.reader: VideoReader

    def __enter__(self) -> VideoReader:
        while True:
            first, *others = self._decoders
            self._decoders = tuple(others)
            try:
                self.reader = self._stack.enter_context(_open_reader(self._video, first, self._opened))
            except VideoDecodeError:
                if not self._has_next():
                    raise
            else:
                return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def num_frames(self) -> int:
        return self.reader.num_frames

    @property
    def fps(self) -> float:
        return self.reader.fps

    @property
    def frame_seconds(self) -> np.ndarray | None:
        return self.reader.frame_seconds if self._video.variable_frame_rate else None

    def read(self, indices: np.ndarray) -> np.ndarray:
        return self._first_result(lambda reader: reader.read(indices))

    def read_yuv(self, indices: np.ndarray) -> DecodedFrames:
        return self._first_result(lambda reader: reader.read_yuv(indices))

    def _first_result(self, read: Callable[[VideoReader], Frames]) -> Frames:
        try:
            return read(self.reader)
        except VideoDecodeError:
            if not self._has_next():
                raise
        self._stack.close()
        return read(self.__enter__())

    def _has_next(self) -> bool:
        self._decoders = _from_first_installed(self._decoders)
        return bool(self._decoders)


def _choose(path: str, exact: tuple[str, ...]) -> tuple[str, ...]:
    """Return the decoders to try in turn, of which the first one is installed."""
    usable = _from_first_installed(tuple(decoder for decoder in exact if _can_name(path, decoder)))
    if usable:
        return usable
    raise VideoDecodeError(path, f"none of the decoders that read it exactly is installed: {', '.join(exact)}")


def _from_first_installed(decoders: tuple[str, ...]) -> tuple[str, ...]:
    """Leave out decoders up to one that is installed. The others are not imported: torchcodec takes seconds."""
    return tuple(dropwhile(lambda decoder: not is_installed(decoder), decoders))


def _can_name(path: str, decoder: str) -> bool:
    """Return whether the decoder can open a file of this name. Only PyAV opens names that are not UTF-8."""
    return decoder in ("sparse", "pyav") or path.isascii() or path.encode(errors="replace").decode() == path


def check_unchanged(path: str, probe_result: ProbeResult) -> None:
    """Raise a `VideoDecodeError` if a file is not the one that was inspected, or has a problem."""
    if probe_result.problem:
        raise VideoDecodeError(path, probe_result.problem)
    if holds_images(path):
        check_images_unchanged(path, probe_result)
        return
    size = file_status(path).st_size
    if size != probe_result.size_bytes:
        raise VideoDecodeError(
            path,
            f"{size} bytes, but {probe_result.size_bytes} in the manifest: not the file that was inspected;"
            f" run inspect_videos again",
        )


def _open_reader(video: _Video, decoder: str, opened: OpenFile | None) -> AbstractContextManager[VideoReader]:
    path, num_frames, fps, stream_index, _, short_side_px = video
    if decoder == "sparse":
        from videoctx.data.decoding.sparse_reader import open_sparse

        return open_sparse(path, num_frames=num_frames, fps=fps, opened=opened, short_side_px=short_side_px)
    if decoder == "decord":
        from videoctx.data.decoding.decord_reader import open_decord

        return open_decord(path, num_frames=num_frames, fps=fps)
    if decoder == "torchcodec":
        from videoctx.data.decoding.torchcodec_reader import open_torchcodec

        if stream_index is None:
            stream_index = _stream_index(path)
        return open_torchcodec(path, num_frames=num_frames, fps=fps, video_stream=stream_index)
    from videoctx.data.decoding.pyav_reader import open_pyav

    return open_pyav(path, num_frames=num_frames, fps=fps, short_side_px=short_side_px)


def _stream_index(path: str) -> int:
    with open_container(path) as container:
        stream = video_stream(container)
        return 0 if stream is None else stream.index
