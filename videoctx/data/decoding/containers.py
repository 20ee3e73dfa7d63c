"""Opening a video file, and what one walk over its packets finds.

The file is opened once, its packets are read once, and the first frame is decoded, which takes a few milliseconds. What
is found decides which decoders are exact (`exact_decoders`). The sparse decoder continues with the open file and its
packets, so that no file is opened or demuxed again.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from errno import EMFILE, ENFILE
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from stat import S_ISREG
from typing import NamedTuple

import av
import numpy as np

from videoctx.data.decoding.accepted_formats import OPEN_OPTIONS, is_indexed_container, why_not_accepted
from videoctx.data.decoding.display_matrix import display_matrix
from videoctx.data.decoding.exact_decoders import AVI, MP4, Container
from videoctx.data.decoding.file_structure import is_fragmented
from videoctx.data.decoding.frame_rate import packet_rate
from videoctx.data.decoding.packet_list import PacketList, can_be_kept
from videoctx.data.decoding.packets import Packet, damage_of, num_false_key_frames, read_packet
from videoctx.data.decoding.pyav_versions import as_fraction, open_input
from videoctx.data.decoding.sparse_rule import SparseRule
from videoctx.data.decoding.video_stream import demux, video_stream
from videoctx.user_error import UserError

LONGEST_REASON = 200  # characters of another library's message
MOST_KNOWN = 4096  # files of which a process remembers what was found


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
        if isinstance(error, OSError) and error.errno in (EMFILE, ENFILE):
            raise
        raise VideoDecodeError(path, reason(error)) from error


def file_status(path: str) -> os.stat_result:
    """Return size and times of a file, or raise VideoDecodeError if it is missing, not a file, or empty."""
    try:
        status = os.stat(path)
    except OSError as error:
        raise VideoDecodeError(path, error.strerror or str(error)) from error
    except ValueError as error:  # a name that no file can have, such as one with a NUL
        raise VideoDecodeError(path, str(error)) from error
    if not S_ISREG(status.st_mode):
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
            reason = why_not_accepted(path, not_accepted=not_accepted)
            raise VideoDecodeError(path, reason or f"not a video that FFmpeg knows: {error.strerror}") from error
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


class FileKey(NamedTuple):
    """What identifies a file until it changes."""

    path: str
    modified_ns: int
    num_bytes: int


_known: dict[FileKey, Container] = {}


def file_key(path: str) -> FileKey:
    """Return the key of a file, or raise VideoDecodeError if there is no file."""
    status = file_status(path)
    absolute = path if os.path.isabs(path) else str(Path(path).absolute())
    return FileKey(absolute, status.st_mtime_ns, status.st_size)


class OpenFile:
    """An open file, after one walk over its packets.

    Args:
        path: Path of a local file.
        keep: Keep the packets of a small file, for a decoder that continues with them.

    Raises:
        VideoDecodeError: See `probe`.
    """

    def __init__(self, path: str, *, keep: bool = True) -> None:
        key = file_key(path)
        self._stack = ExitStack()
        self.input = self._stack.enter_context(open_container(path))
        stream = video_stream(self.input)
        assert stream is not None
        self.packets = PacketList(stream, keep=keep and can_be_kept(key.num_bytes))
        try:
            with decoder_errors(path):
                self.container = self._walk(path, stream)
        except BaseException:
            self.close()
            raise
        while len(_known) >= MOST_KNOWN:
            _known.pop(next(iter(_known)), None)
        _known[key] = self.container

    def close(self) -> None:
        """Close the file."""
        self._stack.close()

    def _walk(self, path: str, stream: av.VideoStream) -> Container:
        packets: list[Packet] = []
        first_frame: av.VideoFrame | None = None
        codec = stream.codec_context.codec.canonical_name
        extradata = bytes(stream.codec_context.extradata or b"")
        rule = SparseRule(codec, extradata)
        for packet in demux(self.input, stream):
            is_flush = packet.dts is None and packet.size == 0
            if first_frame is None:
                first_frame = next(iter(packet.decode()), None)
            if not is_flush:
                packets.append(read_packet(packet, codec, extradata))
                self.packets.add(packet, rule.watch(packet))
        self.packets.close()
        if first_frame is None:
            raise VideoDecodeError(path, "the video has no frames")
        if np.count_nonzero(display_matrix(first_frame)) != 2:
            reason = "its display matrix rotates frames by an angle that is not a multiple of 90 degrees"
            raise VideoDecodeError(path, reason)
        return _container(path, self.input, stream, packets, first_frame, rule)


def probe(path: str) -> Container:
    """Read the properties of a file. The result is cached until the file changes.

    Raises:
        VideoDecodeError: The file is missing, empty, or no video, or its first frame cannot be decoded.
    """
    if (known := _known.get(file_key(path))) is None:
        with closing(OpenFile(path, keep=False)) as opened:
            known = opened.container
    return known


def probe_whole(path: str) -> Container:
    """As `probe`, of a file that must be complete.

    Raises:
        VideoDecodeError: See `probe`; or the file was cut or overwritten, which a decoder may conceal.
    """
    return _undamaged(path, probe(path))


def open_whole(path: str) -> tuple[Container, OpenFile | None]:
    """Return the properties of a complete file, and the open file if they were not known yet.

    Raises:
        VideoDecodeError: See `probe_whole`.
    """
    if (known := _known.get(file_key(path))) is not None:
        return _undamaged(path, known), None
    opened = OpenFile(path)
    try:
        return _undamaged(path, opened.container), opened
    except VideoDecodeError:
        opened.close()
        raise


def _undamaged(path: str, container: Container) -> Container:
    if container.damage:
        raise VideoDecodeError(path, container.damage)
    return container


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
