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
from pathlib import Path

import av
import numpy as np

from videoctx.data.decoding.containers import VideoDecodeError, decoder_errors, file_status, open_container
from videoctx.data.decoding.frame_collector import FrameCollector
from videoctx.data.decoding.packet_use import REFERENCED, PacketReader, PacketUse
from videoctx.data.decoding.video_stream import demux, video_stream
from videoctx.data.decoding.yuv_frames import DecodedFrames, FrameFormat

MOST_KEPT_BYTES = 2**26  # size of a file up to which its packets are kept in memory
NUM_LARGE_FILES = 8  # of which a process remembers the list of packets


class PacketList:
    """The packets of a video stream in the order in which they are stored and decoded.

    Args:
        container: An open container, which is read to its end.
        keep: Keep the packets in memory.
    """

    def __init__(self, container: av.container.InputContainer, *, keep: bool) -> None:
        stream = video_stream(container)
        assert stream is not None
        assert stream.codec_context is not None
        codec = stream.codec_context.codec.canonical_name
        self._reader = PacketReader(codec, bytes(stream.codec_context.extradata or b""))
        packets: list[av.Packet] = []
        self._uses: dict[int, PacketUse] = {}
        times: list[int | None] = []
        is_shown: list[bool] = []
        self.is_marked: list[bool] = []  # as key frames, by the container
        for packet in demux(container, stream):
            if packet.dts is None and packet.size == 0:
                continue  # the end
            times.append(packet.pts)
            is_shown.append(not packet.is_discard)
            self.is_marked.append(packet.is_keyframe)
            if keep:
                packets.append(packet)
            else:
                self._uses[len(times) - 1] = self._use(packet)
        self.packets = packets if keep else None
        self.has_times = None not in times
        self.times = np.array(times if self.has_times else range(len(times)), np.int64)
        shown = np.flatnonzero(is_shown)
        self.frames = shown[np.argsort(self.times[shown], kind="stable")]  # (num_frames,) the packet of frame k

    def use(self, place: int) -> PacketUse:
        """Return how packet `place` takes part in decoding."""
        if place not in self._uses:
            assert self.packets is not None
            self._uses[place] = self._use(self.packets[place])
        return self._uses[place]

    def start_of(self, place: int) -> int:
        """Return the last packet at which decoding can start for the frame of packet `place`."""
        for start in range(place, 0, -1):
            if (
                (self.is_marked[start] or self._reader.codec == "mjpeg")
                and self.times[start] <= self.times[place]
                and self.use(start).is_start
            ):
                return start
        return 0

    def _use(self, packet: av.Packet) -> PacketUse:
        return self._reader.use(memoryview(packet)) if packet.size else REFERENCED


class SparseReader:
    """Requested frames of a video, decoded by PyAV on one thread.

    Args:
        path: Path of a local file.
        container: The open file.
        num_frames: Number of frames if it is known. Otherwise the packets are counted.
        fps: Average number of frames per second.
    """

    def __init__(
        self, path: str, container: av.container.InputContainer, *, num_frames: int | None, fps: float
    ) -> None:
        stream = video_stream(container)
        assert stream is not None
        assert stream.codec_context is not None
        self._path, self._container, self._stream, self._codec = path, container, stream, stream.codec_context
        self._list = _list_packets(path, container)
        if not self._list.has_times or len(np.unique(self._list.times)) < len(self._list.times):
            raise VideoDecodeError(path, "the sparse decoder needs a distinct time for every packet")
        promised = len(self._list.frames)
        if promised < (num_frames or 0):
            raise VideoDecodeError(path, f"the sparse decoder finds {promised} frames; expected {num_frames}")
        self.num_frames = promised if num_frames is None else num_frames
        self.fps = fps
        self._is_used = self._list.packets is None
        self._size: tuple[int, int] | None = None

    def read(self, indices: np.ndarray) -> np.ndarray:
        """Decode the frames at sorted, distinct indices. Returns (U, H, W, 3) uint8 RGB."""
        return self._read(indices, "rgb").pixels

    def read_yuv(self, indices: np.ndarray) -> DecodedFrames:
        """Decode the frames at sorted, distinct indices, as planes if they can be converted on the device."""
        return self._read(indices, "yuv")

    def _read(self, indices: np.ndarray, frames: FrameFormat) -> DecodedFrames:
        rows = {int(place): row for row, place in enumerate(self._list.frames[indices])}
        collector = FrameCollector(len(rows), frames)
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
        if self._is_used:
            self._codec.flush_buffers()
        self._is_used = True
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
def open_sparse(path: str, *, num_frames: int | None, fps: float) -> Iterator[SparseReader]:
    """Open a video for sparse decoding. See the reader for the arguments."""
    with open_container(path) as container:
        yield SparseReader(path, container, num_frames=num_frames, fps=fps)


_large_files: dict[tuple[str, int, int], PacketList] = {}


def _list_packets(path: str, container: av.container.InputContainer) -> PacketList:
    """Return the packets of an open file. Those of the last large files are remembered."""
    status = file_status(path)
    if status.st_size <= MOST_KEPT_BYTES:
        return PacketList(container, keep=True)
    key = (str(Path(path).absolute()), status.st_mtime_ns, status.st_size)
    if key not in _large_files:
        while len(_large_files) >= NUM_LARGE_FILES:
            del _large_files[next(iter(_large_files))]
        _large_files[key] = PacketList(container, keep=False)
    return _large_files[key]
