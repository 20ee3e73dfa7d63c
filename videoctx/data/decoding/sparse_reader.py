"""Decoding with PyAV of only those packets on which the requested frames depend.

- The packets are listed once. The rank of a packet's time is its frame's number, and a decoded frame is recognized by
  its time. So frames may be left out, and a missing one is an error and never another frame.
- Decoding starts at the last packet before a frame at which it can start (`packet_use`), whatever the container marks.
- Packets to which no frame refers are not decoded unless their frame is requested.
- Only requested frames are converted to RGB, by one converter, as PyAV converts them: every pixel is the same. Or their
  planes are copied, for the device to convert them (`yuv_frames`).
- The packets of a small file are kept in memory, and then nothing is sought. In a large file the container is sought,
  and the packets from there on are compared with the list.

`videoctx.data.decoding.sparse_rule` decides for which files all of this is exact.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, count, islice

import av
import numpy as np

from videoctx.data.decoding.containers import (
    FileKey,
    OpenFile,
    VideoDecodeError,
    decoder_errors,
    file_key,
    open_container,
)
from videoctx.data.decoding.frame_collector import FrameCollector
from videoctx.data.decoding.packet_list import PacketList, can_be_kept, list_packets
from videoctx.data.decoding.video_stream import demux, video_stream
from videoctx.data.decoding.yuv_frames import DecodedFrames, FrameFormat

NUM_LARGE_FILES = 8  # of which a process remembers the list of packets


class SparseReader:
    """Requested frames of a video, decoded by PyAV on one thread.

    Args:
        path: Path of a local file.
        container: The open file.
        packets: Its packets.
        num_frames: Number of frames if it is known. Otherwise the packets are counted.
        fps: Average number of frames per second.
        short_side_px: Scale larger frames to this short side. None: not.
    """

    def __init__(
        self,
        path: str,
        container: av.container.InputContainer,
        packets: PacketList,
        *,
        num_frames: int | None,
        fps: float,
        short_side_px: int | None = None,
    ) -> None:
        stream = video_stream(container)
        assert stream is not None
        assert stream.codec_context is not None
        self._path, self._container, self._stream, self._codec = path, container, stream, stream.codec_context
        self._list = packets
        if not self._list.has_times or len(np.unique(self._list.times)) < len(self._list.times):
            raise VideoDecodeError(path, "the sparse decoder needs a distinct time for every packet")
        promised = len(self._list.frames)
        if promised < (num_frames or 0):
            raise VideoDecodeError(path, f"the sparse decoder finds {promised} frames; expected {num_frames}")
        self.num_frames = promised if num_frames is None else num_frames
        self.fps = fps
        self._size: tuple[int, int] | None = None
        self._short_side_px = short_side_px

    @property
    def frame_seconds(self) -> np.ndarray:
        """(num_frames,) float64: time of each frame, relative to the first one."""
        times = self._list.times[self._list.frames]
        return (times - times[:1]) * float(self._stream.time_base or 0)

    def read(self, indices: np.ndarray) -> np.ndarray:
        """Decode the frames at sorted, distinct indices. Returns (U, H, W, 3) uint8 RGB."""
        return self._read(indices, "rgb").pixels

    def read_yuv(self, indices: np.ndarray) -> DecodedFrames:
        """Decode the frames at sorted, distinct indices, as planes if they can be converted on the device."""
        return self._read(indices, "yuv")

    def _read(self, indices: np.ndarray, frames: FrameFormat) -> DecodedFrames:
        rows = {int(place): row for row, place in enumerate(self._list.frames[indices])}
        collector = FrameCollector(len(rows), frames, self._short_side_px)
        with decoder_errors(self._path):
            for start, places in self._runs(sorted(rows)):
                for place, frame in self._decode_again(start, places):
                    collector.add(rows[place], frame)
        return collector.result()

    def _runs(self, places: list[int]) -> Iterator[tuple[int, list[int]]]:
        """Yield where decoding starts, and the packets whose frames are requested from there on."""
        runs: dict[int, list[int]] = {}
        for place in places:
            runs.setdefault(self._list.start_of(place), []).append(place)
        yield from sorted(runs.items())

    def _decode_again(self, start: int, places: list[int]) -> Iterator[tuple[int, av.VideoFrame]]:
        """Yield the frames of the packets at `places`, from the first packet on if decoding from `start` fails.

        A frame after a start of H.264 may list references from before it, without using them.
        """
        try:
            yield from self._decode(start, places)
        except (av.FFmpegError, VideoDecodeError):
            if start == 0:
                raise
            yield from self._decode(0, places)

    def _decode(self, start: int, places: list[int]) -> Iterator[tuple[int, av.VideoFrame]]:
        """Yield the frames of the packets at `places`."""
        self._codec.flush_buffers()
        missing: dict[int | None, int] = {int(self._list.times[place]): place for place in places}
        needed = self._needed(start, places)
        for place, packet in zip(range(start, places[-1] + 1), self._packets_from(start), strict=False):
            if place not in needed:
                continue
            for frame in self._codec.decode(packet):
                if (found := missing.pop(frame.pts, None)) is not None:
                    yield found, self._checked(frame)
        if missing:
            for frame in self._codec.decode(None):  # those that wait for their turn
                if (found := missing.pop(frame.pts, None)) is not None:
                    yield found, self._checked(frame)
        if missing:
            frame_number = int(np.flatnonzero(self._list.frames == min(missing.values()))[0])
            raise VideoDecodeError(self._path, f"frame {frame_number} of {self.num_frames} cannot be decoded")

    def _needed(self, start: int, places: list[int]) -> set[int]:
        """Return the packets to decode."""
        requested = set(places)
        uses = {place: self._list.use(place) for place in range(start, places[-1] + 1)}
        highest_layer = max(use.layer for use in uses.values())
        first_shown = self._list.times[start]
        return {
            place
            for place, use in uses.items()
            if place in requested
            or not (
                (use.is_unreferenced and use.layer == highest_layer)
                or (use.is_leading and self._list.times[place] < first_shown)
            )
        }

    def _packets_from(self, start: int) -> Iterator[av.Packet]:
        """Yield the packets from `start` on."""
        if self._list.packets is not None:
            yield from islice(self._list.packets, start, None)
            return
        places: dict[int | None, int] = {int(time): place for place, time in enumerate(self._list.times)}
        for time in (self._list.times[start], self._list.times.min()):
            self._container.seek(int(time), stream=self._stream, backward=True)
            packets = (packet for packet in demux(self._container, self._stream) if packet.size)
            first = next(packets, None)
            if first is not None and (place := places.get(first.pts, len(places))) <= start:
                break
        else:
            raise VideoDecodeError(self._path, f"packet {start} cannot be sought")
        for sought, packet in zip(count(place), chain((first,), packets), strict=False):
            if packet.pts != self._list.times[sought]:
                raise VideoDecodeError(self._path, f"packet {sought} is another one after seeking")
            if sought >= start:
                yield packet

    def _checked(self, frame: av.VideoFrame) -> av.VideoFrame:
        if frame.is_corrupt:
            raise VideoDecodeError(self._path, "a frame is damaged")
        size = (frame.width, frame.height)
        self._size = self._size or size
        if self._size != size:
            (width, height), new = self._size, f"{frame.width}×{frame.height}"
            raise VideoDecodeError(self._path, f"its size changes from {width}×{height} to {new} pixels")
        return frame


@contextmanager
def open_sparse(
    path: str,
    *,
    num_frames: int | None,
    fps: float,
    opened: OpenFile | None = None,
    short_side_px: int | None = None,
) -> Iterator[SparseReader]:
    """Open a video for sparse decoding. See the reader for the other arguments.

    Args:
        opened: The file if it is open and its packets have been read. The caller closes it.
    """
    if opened is not None:
        if opened.packets.packets is None:
            _remember(file_key(path), opened.packets)
        container, packets = opened.input, opened.packets
        yield SparseReader(path, container, packets, num_frames=num_frames, fps=fps, short_side_px=short_side_px)
        return
    with open_container(path) as container:
        packets = _packets_of(path, container)
        yield SparseReader(path, container, packets, num_frames=num_frames, fps=fps, short_side_px=short_side_px)


_large_files: dict[FileKey, PacketList] = {}


def _packets_of(path: str, container: av.container.InputContainer) -> PacketList:
    """Return the packets of an open file. Those of the last large files are remembered."""
    key, stream = file_key(path), video_stream(container)
    assert stream is not None
    if can_be_kept(key.num_bytes):
        return list_packets(container, stream, keep=True)
    if key not in _large_files:
        _remember(key, list_packets(container, stream, keep=False))
    return _large_files[key]


def _remember(key: FileKey, packets: PacketList) -> None:
    while len(_large_files) >= NUM_LARGE_FILES:
        del _large_files[next(iter(_large_files))]
    _large_files[key] = packets
