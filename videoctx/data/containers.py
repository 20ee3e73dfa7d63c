"""What a file really holds, read by demuxing: no frame is decoded, a few milliseconds a file.

It decides who may decode the file. decord is exact only where a key frame's place in decoding order is its
place in showing order, where nothing is cut away by an edit list, and in containers that it can seek in;
elsewhere it returns other frames than were asked for, without a word, or never returns.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import av
import numpy as np

# FFmpeg's names of the containers that decord seeks in exactly, given the conditions below.
DECORD_FORMATS = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm")
DECORD_CODECS = ("h264", "hevc", "vp8", "vp9", "mpeg4", "mjpeg")  # not av1: its FFmpeg is older than AV1
DECORD_MIN_WIDTH = 80  # it mistakes the padded rows of some narrower frames for pixels


class VideoDecodeError(RuntimeError):
    """A video that cannot be read; says which and why in one line."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)  # both, so that it survives a pickle between processes
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Container:
    """The first video stream of a file."""

    format: str  # FFmpeg's name
    codec: str
    width: int  # as stored, before rotation
    height: int
    fps: float  # on average
    num_packets: int  # of video, cut-away ones too; a promise of frames, not a count
    num_discarded: int  # packets that an edit list cuts away
    duration_seconds: float  # from the first frame shown to the end of the last
    variable_frame_rate: bool
    gop_lengths: tuple[int, ...]  # packets from each key frame to the next
    has_b_frames: bool  # some frame is decoded before one that is shown earlier
    open_gop: bool  # some frame that is decoded after a key frame is shown before it
    has_timestamps: bool  # every packet says when it is shown

    @property
    def why_not_decord(self) -> str | None:
        """Why decord is not exact here; None where it is."""
        if not any(self.format == name for name in DECORD_FORMATS):
            return f"it cannot seek exactly in {self.format}"
        if self.codec not in DECORD_CODECS:
            return f"it cannot decode {self.codec} exactly"
        if self.num_discarded:
            return "an edit list cuts frames away"
        if not self.has_timestamps:
            return "frames lack timestamps"
        if self.open_gop:
            return "open GOPs"
        if min(self.width, self.height) < DECORD_MIN_WIDTH:
            return f"frames narrower than {DECORD_MIN_WIDTH} pixels"
        return None

    @property
    def decoder(self) -> str:
        """The fastest installed decoder that is exact on this file."""
        return "decord" if self.why_not_decord is None and find_spec("decord") else "pyav"


def probe(path: str) -> Container:
    """Read a file's packets; remembered until the file changes.

    Raises:
        VideoDecodeError: the file is missing, empty, or no video.
    """
    try:
        status = Path(path).stat()
    except OSError as error:
        raise VideoDecodeError(path, error.strerror or str(error)) from error
    if not Path(path).is_file():
        raise VideoDecodeError(path, "not a file")
    if status.st_size == 0:
        raise VideoDecodeError(path, "the file is empty")
    return _probe(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=4096)
def _probe(path: str, modified_ns: int, size: int) -> Container:  # noqa: ARG001 - part of the key
    with open_container(path) as container:
        stream = container.streams.video[0]
        packets = []
        try:
            for packet in container.demux(stream):
                if packet.size:
                    packets.append((packet.pts, packet.is_keyframe, packet.is_discard, packet.duration or 0))
        except av.FFmpegError as error:
            raise VideoDecodeError(path, f"damaged: {error.strerror}") from error
        if not packets:
            raise VideoDecodeError(path, "the video has no frames")
        has_timestamps = all(pts is not None for pts, *_ in packets)
        shown = np.array([pts if has_timestamps else index for index, (pts, *_) in enumerate(packets)])
        key = np.flatnonzero([is_key for _, is_key, *_ in packets])
        kept = ~np.array([discarded for *_, discarded, _ in packets])
        order = np.sort(shown[kept]) if kept.any() else shown[:0]
        steps = np.diff(order)
        last_duration = packets[int(shown.argmax())][3]
        return Container(
            format=container.format.name,
            codec=stream.codec_context.name,
            width=stream.codec_context.width,
            height=stream.codec_context.height,
            fps=float(stream.average_rate or 0),
            num_packets=len(packets),
            num_discarded=int((~kept).sum()),
            duration_seconds=float((order[-1] - order[0] + last_duration) * stream.time_base) if len(order) else 0.0,
            variable_frame_rate=bool(len(steps) and steps.max() - steps.min() > max(1, steps.min() // 50)),
            gop_lengths=tuple(np.diff([*key, len(packets)]).tolist()),
            has_b_frames=bool((np.diff(shown) < 0).any()),
            open_gop=bool(any(np.count_nonzero(shown < shown[place]) != place for place in key)),
            has_timestamps=has_timestamps and len(np.unique(shown)) == len(shown),
        )


@contextmanager
def open_container(path: str) -> Iterator[av.container.InputContainer]:
    """The file as PyAV opens it.

    Raises:
        VideoDecodeError: it is no video.
    """
    try:
        container = av.open(f"file:{path}" if "://" not in path else path)
    except av.FFmpegError as error:
        raise VideoDecodeError(path, f"not a video that FFmpeg knows: {error.strerror}") from error
    with container:
        if not container.streams.video:
            raise VideoDecodeError(path, "no video stream in the file")
        yield container
