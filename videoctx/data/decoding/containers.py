"""Properties of a video file, read by demuxing. Only the first frame is decoded, which takes a few milliseconds.

They decide which decoders are exact on the file. decord and torchcodec number the packets and take packet k for
frame k. They are exact if every packet shows one frame, has a timestamp, and the container can be seeked. decord also
takes a key frame's position in decoding order for its position in presentation order and ignores edit lists. On other
files it silently returns different frames than requested, or never returns. PyAV decodes from the first frame on and is
exact on all files; `sparse` is PyAV too, and exact if the packets' bytes show on what frames depend. Some properties
leave it open whether a decoder is exact. PyAV reads such files.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from errno import EMFILE, ENFILE
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import av
import numpy as np

from videoctx.data.decoding.accepted_formats import OPEN_OPTIONS, is_indexed_container, why_not_accepted
from videoctx.data.decoding.display_matrix import display_matrix
from videoctx.data.decoding.file_structure import is_fragmented
from videoctx.data.decoding.frame_rate import packet_rate
from videoctx.data.decoding.packets import Packet, damage_of, num_false_key_frames, read_packet
from videoctx.data.decoding.parameter_sets import FIELDS_APART
from videoctx.data.decoding.pyav_versions import as_fraction, open_input
from videoctx.data.decoding.sparse_rule import SparseRule
from videoctx.data.decoding.video_stream import demux, video_stream
from videoctx.user_error import UserError

# FFmpeg's names of the containers in which packet k can be frame k, given the conditions below.
MP4, MATROSKA, AVI = "mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi"
INDEXED_FORMATS = (MP4, MATROSKA, AVI)
AVI_CODECS = ("mpeg4", "mjpeg")  # AVI stores when a frame is decoded, not when it is shown
DECORD_CODECS = ("h264", "hevc", "vp8", "vp9", "mpeg4", "mjpeg")  # not av1: its FFmpeg is older than AV1
INTRA_CODECS = ("mjpeg", "prores", "dnxhd", "ffv1", "rawvideo", "png", "huffyuv")
TESTED_CODECS = ("h264", "hevc", "av1", "vp8", "vp9", "mpeg4", "mjpeg")  # all decoders were compared on them
DECORD_MIN_WIDTH = 80  # it takes the row padding of some narrower frames for pixels
DECODERS = ("sparse", "decord", "torchcodec", "pyav")  # the fastest first

LONGEST_REASON = 200  # characters of another library's message


class VideoDecodeError(UserError):
    """A video cannot be read. The message is one line with its path and the reason."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)  # both, so that it survives a pickle between processes
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


def _damage(error: Exception) -> str:
    text = " ".join(str(error).split())[:LONGEST_REASON]
    return f"damaged: {type(error).__name__}{text and f': {text}'}"


@contextmanager
def decoder_errors(path: str, reason: Callable[[Exception], str] = _damage) -> Iterator[None]:
    """Make a `VideoDecodeError` of whatever a decoder raises inside the `with`.

    A damaged file makes decoders raise many kinds of exceptions. Each is the failure of that file and never ends a run.
    Errors of this package pass unchanged, and so does a `MemoryError` of Python, which no file is to blame for.
    `reason` words an exception that is not PyAV's.
    """
    try:
        yield
    except av.FFmpegError as error:  # FFmpeg's own `MemoryError` comes from a size that a damaged file states
        if isinstance(error, OSError) and error.errno in (EMFILE, ENFILE):  # too many open files
            raise OSError(error.errno, error.strerror, path) from error
        raise VideoDecodeError(path, f"damaged: {error.strerror}") from error
    except (UserError, MemoryError):
        raise
    except Exception as error:
        raise VideoDecodeError(path, reason(error)) from error


@dataclass(frozen=True, slots=True)
class Container:
    """The video stream of a file that `video_stream` chooses."""

    format: str  # FFmpeg's name
    stream_index: int  # among all streams of the file
    num_video_streams: int  # cover art included
    codec: str
    width: int  # as stored, before rotation
    height: int
    pixel_format: str  # FFmpeg's name
    full_range: bool  # luma from 0 to 255, not from 16 to 235
    rotation: int  # degrees counterclockwise that turn the stored frame upright, a multiple of 90
    mirrored: bool  # after the rotation the frame is mirrored too
    fps: float  # average, by the times of the packets if they have any
    rate: Fraction  # the same as a fraction, such as 30000/1001; 0 if it is unknown
    num_packets: int  # video packets, discarded ones included; not always the number of frames
    num_discarded: int  # packets that an edit list removes
    num_empty: int  # packets that show no frame, or may show none
    duration_seconds: float  # from the first frame shown to the end of the last
    variable_frame_rate: bool
    gop_lengths: tuple[int, ...]  # number of packets from each key frame to the next
    has_b_frames: bool  # a frame is decoded before one that is shown earlier
    open_gop: bool  # a frame that is decoded after a key frame is shown before it
    has_timestamps: bool  # every packet has a presentation time, and all are distinct
    starts_with_key_frame: bool
    is_fragmented: bool  # an MP4 file in movie fragments
    has_duration: bool  # the container states one
    num_false_key_frames: int  # packets that are marked or indexed as key frames and hold other frames
    unproven: str | None  # what keeps the sparse decoder from being exact, by the packets' bytes
    key_frames: tuple[int, ...]  # indices of the frames shown that are marked as key frames
    damage: str | None  # what the file lacks by its own headers, though frames can be decoded; None: nothing
    frame_seconds: np.ndarray = field(repr=False, compare=False)
    """(num_frames,) float64: time of frame k, relative to the first frame. The times are evenly spaced if packets have
    no timestamps (`has_timestamps`). Seconds of an annotation are looked up here if the frame rate is variable."""

    @property
    def why_not(self) -> dict[str, str]:
        """Decoders that may not be exact on this file, and why."""
        never, unsure = self._why_never, self._why_unsure
        return (dict.fromkeys(("decord", "torchcodec"), unsure) if unsure else {}) | never

    @property
    def decoders(self) -> tuple[str, ...]:
        """Decoders that are exact on this file, the fastest first, whether or not they are installed."""
        return tuple(decoder for decoder in DECODERS if decoder not in self.why_not)

    @property
    def candidates(self) -> tuple[str, ...]:
        """Decoders that are exact on this file if they agree with PyAV on some frames, the fastest first."""
        return tuple(decoder for decoder in DECODERS if decoder not in self._why_never)

    @property
    def _why_never(self) -> dict[str, str]:
        reasons = {
            "sparse": self._why_not_counted or self._why_not_sparse,
            "torchcodec": self._why_not_numbered,
            "decord": self._why_not_numbered or self._why_not_decord,
        }
        return {decoder: reason for decoder, reason in reasons.items() if reason}

    @property
    def _why_unsure(self) -> str | None:
        """The reason why only a comparison of frames can tell whether decoders are exact, if there is one."""
        if self.is_fragmented:
            return "movie fragments"
        if self.num_video_streams > 1:
            return f"{self.num_video_streams} video streams"
        if self.num_discarded:
            return "an edit list removes frames"
        if "444" in self.pixel_format or self.pixel_format.startswith("gbr"):
            return "4:4:4"
        if not self.has_duration:
            return "the container states no duration"
        if self.num_false_key_frames:
            return f"{self.num_false_key_frames} packets are marked or indexed as key frames and are none"
        if any(later < earlier for earlier, later in pairwise(self.key_frames)):
            return "key frames are shown in another order than they are stored"
        if self.codec not in TESTED_CODECS:
            return f"{self.codec} was not tested"
        return None

    @property
    def num_frames(self) -> int | None:
        """Number of frames if the file is complete. None if only decoding can tell."""
        return None if self._why_not_counted else self.num_packets - self.num_discarded

    @property
    def _why_not_numbered(self) -> str | None:
        """The reason why packet k may not be frame k for a decoder that relies on the container, if there is one."""
        if self._why_not_counted:
            return self._why_not_counted
        if self.mirrored:
            return "a display matrix that mirrors"
        if len(self.gop_lengths) == self.num_packets > 1 and self.codec not in INTRA_CODECS:
            return f"all frames are marked as key frames, which {self.codec} rarely is"
        return None

    @property
    def _why_not_counted(self) -> str | None:
        """The reason why the packets in the order of their times may not be the frames, if there is one."""
        if self.format not in INDEXED_FORMATS:
            return f"frames are not numbered in {self.format}"
        if self.unproven == FIELDS_APART:
            return FIELDS_APART
        if self.num_empty:
            return f"{self.num_empty} of {self.num_packets} packets may show no frame of their own"
        if not self.has_timestamps:
            return "frames lack timestamps"
        if not self.starts_with_key_frame:
            return "it does not start with a key frame"
        if self.format == AVI and self.codec not in AVI_CODECS:
            return f"{self.codec} in AVI"
        if self.format == AVI and self.has_b_frames:
            return "B-frames in AVI"
        return None

    @property
    def _why_not_sparse(self) -> str | None:
        return "B-frames of MPEG-4" if self.codec == "mpeg4" and self.has_b_frames else self.unproven

    @property
    def _why_not_decord(self) -> str | None:
        if self.codec not in DECORD_CODECS:
            return f"it cannot decode {self.codec} exactly"
        if self.is_fragmented:
            return "movie fragments"
        if self.num_video_streams > 1:
            return f"{self.num_video_streams} video streams, of which it chooses another one"
        if not self.has_duration:
            return "the container states no duration, and it refuses such files"
        if self.num_discarded:
            return "an edit list removes frames"
        if self.open_gop:
            return "open GOPs"
        if min(self.width, self.height) < DECORD_MIN_WIDTH:
            return f"frames narrower than {DECORD_MIN_WIDTH} pixels"
        return None


def probe(path: str) -> Container:
    """Read the properties of a file. The result is cached until the file changes.

    Raises:
        VideoDecodeError: The file is missing, empty, or no video, or its first frame cannot be decoded.
    """
    status = file_status(path)
    return _probe(path, status.st_mtime_ns, status.st_size)


def probe_whole(path: str) -> Container:
    """As `probe`, of a file that must be complete.

    Raises:
        VideoDecodeError: See `probe`; or the file was cut or overwritten, which a decoder may conceal.
    """
    container = probe(path)
    if container.damage:
        raise VideoDecodeError(path, container.damage)
    return container


def file_status(path: str) -> os.stat_result:
    """Return size and times of a file, or raise VideoDecodeError if it is missing, not a file, or empty."""
    try:
        status = Path(path).stat()
    except OSError as error:
        raise VideoDecodeError(path, error.strerror or str(error)) from error
    except ValueError as error:  # a name that no file can have, such as one with a NUL
        raise VideoDecodeError(path, str(error)) from error
    if not Path(path).is_file():
        raise VideoDecodeError(path, "not a file")
    if status.st_size == 0:
        raise VideoDecodeError(path, "the file is empty")
    return status


def check_container(path: str) -> None:
    """Check that a file is a container of videos, before a decoder opens it that cannot be kept to such files.

    Raises:
        VideoDecodeError: See `open_container`.
    """
    with decoder_errors(path):
        is_indexed = is_indexed_container(path)  # nearly all files
    if not is_indexed:
        with open_container(path):
            pass


@contextmanager
def open_container(path: str) -> Iterator[av.container.InputContainer]:
    """Open a local file with PyAV, for decoding on one thread. Damage is an error and is not concealed.

    Raises:
        VideoDecodeError: The file is not a video. Any exception inside the `with` that the decoder or its output causes
            becomes one too (`decoder_errors`).
    """
    with decoder_errors(path):
        try:
            container = open_input(f"file:{path}", options=OPEN_OPTIONS)
        except av.FFmpegError as error:
            not_accepted = isinstance(error, av.ArgumentError)
            reason = why_not_accepted(path, not_accepted=not_accepted) or "not a video that FFmpeg knows"
            raise VideoDecodeError(path, f"{reason}: {error.strerror}") from error
    with decoder_errors(path), container:
        stream = video_stream(container)
        if stream is None:
            raise VideoDecodeError(path, "no video stream in the file")
        codec = stream.codec_context
        if codec is None:
            raise VideoDecodeError(path, "FFmpeg has no decoder for its video stream")
        codec.thread_count = 1
        # MPEG-1 and 2 of old encoders break rules that do no harm, so that `bitstream` would refuse them.
        strict = "" if codec.name in ("mpeg1video", "mpeg2video") else "+bitstream"
        codec.options = {"err_detect": f"crccheck+buffer+explode{strict}"}
        yield container


@lru_cache(maxsize=4096)
def _probe(path: str, modified_ns: int, size: int) -> Container:  # noqa: ARG001 - part of the key
    packets: list[Packet] = []
    first_frame: av.VideoFrame | None = None
    with open_container(path) as container:
        stream = video_stream(container)
        assert stream is not None
        codec = stream.codec_context.codec.canonical_name
        extradata = bytes(stream.codec_context.extradata or b"")
        rule = SparseRule(codec, extradata)
        try:
            for packet in demux(container, stream):
                is_flush = packet.dts is None and packet.size == 0
                if first_frame is None:
                    first_frame = next(iter(packet.decode()), None)
                if not is_flush:
                    packets.append(read_packet(packet, codec, extradata))
                    rule.watch(packet)
        except av.FFmpegError as error:
            raise VideoDecodeError(path, f"damaged: {error.strerror}") from error
        if first_frame is None:
            raise VideoDecodeError(path, "the video has no frames")
        if np.count_nonzero(display_matrix(first_frame)) != 2:
            reason = "its display matrix rotates frames by an angle that is not a multiple of 90 degrees"
            raise VideoDecodeError(path, reason)
        return _container(path, container, stream, packets, first_frame, rule)


def _container(
    path: str,
    container: av.container.InputContainer,
    stream: av.VideoStream,
    packets: list[Packet],
    first_frame: av.VideoFrame,
    rule: SparseRule,
) -> Container:
    has_pts = all(packet.pts is not None for packet in packets)
    shown = np.array([packet.pts if has_pts else index for index, packet in enumerate(packets)])
    key = np.flatnonzero([packet.is_key for packet in packets])
    # MPEG-4 with B-frames has an empty packet for each frame that came early in another packet.
    empty_packets_count = any(packet.is_b for packet in packets)
    kept = np.array([not packet.is_discarded and (empty_packets_count or not packet.is_empty) for packet in packets])
    order = np.sort(shown[kept])
    steps = np.diff(order)
    has_timestamps = has_pts and len(np.unique(shown)) == len(shown)
    last_duration = packets[int(shown.argmax())].duration
    variable_frame_rate = bool(len(steps) and steps.max() - steps.min() > max(1, steps.min() // 50))
    stated = [as_fraction(rate) for rate in (stream.average_rate, stream.guessed_rate) if rate]
    decoding = np.unique([packet.dts for packet in packets if packet.dts is not None])
    shown_times = order if has_pts and container.format.name != AVI else None
    rate = packet_rate(shown_times, decoding, float(stream.time_base or 0), stated)
    seconds_per_unit = float(stream.time_base or 0) if has_pts else float(1 / rate) if rate else 0.0
    if not has_pts:
        last_duration = 1
    elif not last_duration and len(steps):
        last_duration = int(np.median(steps))
    duration_seconds = float(order[-1] - order[0] + last_duration) * seconds_per_unit if len(order) else 0.0
    fps = float(rate)
    if variable_frame_rate and duration_seconds:
        fps = len(order) / duration_seconds  # the header holds the shortest step
        rate = Fraction(fps).limit_denominator(1001)
    out_of_order = (np.diff(shown) < 0).any() or any(packet.is_b for packet in packets)
    # AVI stores no presentation time. If FFmpeg computes one that differs from the decoding time, it expects B-frames.
    delayed = container.format.name == AVI and any(packet.pts != packet.dts for packet in packets)
    matrix = display_matrix(first_frame)
    fragmented = container.format.name == MP4 and is_fragmented(path)
    return Container(
        format=container.format.name,
        stream_index=stream.index,
        num_video_streams=len(container.streams.video),
        codec=rule.codec,
        width=first_frame.width,
        height=first_frame.height,
        pixel_format=first_frame.format.name,
        full_range=first_frame.color_range == av.video.reformatter.ColorRange.JPEG,
        rotation=round(first_frame.rotation) % 360,
        mirrored=bool(np.linalg.det(matrix) < 0),
        fps=fps,
        rate=rate,
        num_packets=len(packets),
        num_discarded=sum(packet.is_discarded for packet in packets),
        num_empty=sum(packet.is_empty for packet in packets),
        duration_seconds=duration_seconds,
        variable_frame_rate=variable_frame_rate,
        gop_lengths=tuple(int(stop - start) for start, stop in pairwise([*key, len(packets)])),
        has_b_frames=bool(out_of_order or delayed),
        open_gop=bool(any(np.count_nonzero(shown < shown[place]) != place for place in key)),
        has_timestamps=has_timestamps,
        starts_with_key_frame=packets[0].is_key,
        is_fragmented=fragmented,
        has_duration=bool(stream.duration or container.duration),
        num_false_key_frames=num_false_key_frames(stream, packets),
        unproven=rule.why_not(shown, np.array([packet.is_discarded for packet in packets])),
        key_frames=tuple(np.searchsorted(order, shown[key[kept[key]]]).tolist()),
        damage=damage_of(path, container.format.name, packets, 0 if fragmented else stream.frames),
        frame_seconds=(order - order[:1]) * seconds_per_unit,
    )
