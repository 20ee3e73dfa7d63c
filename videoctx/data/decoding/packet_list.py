"""The packets of a video stream: their times, and what each one is needed for."""

import av
import numpy as np

from videoctx.data.decoding.packet_use import REFERENCED, PacketReader, PacketUse
from videoctx.data.decoding.video_stream import demux

MOST_KEPT_BYTES = 2**26


def can_be_kept(num_bytes: int) -> bool:
    """Return whether the packets of a file of this size are kept in memory."""
    return num_bytes <= MOST_KEPT_BYTES


class PacketList:
    """The packets of a video stream in the order in which they are stored and decoded.

    Args:
        stream: The stream, of which all packets are added.
        keep: Keep the packets in memory.
    """

    def __init__(self, stream: av.VideoStream, *, keep: bool) -> None:
        assert stream.codec_context is not None
        codec = stream.codec_context.codec.canonical_name
        self._reader = PacketReader(codec, bytes(stream.codec_context.extradata or b""))
        self.packets: list[av.Packet] | None = [] if keep else None
        self._uses: dict[int, PacketUse] = {}
        self._times: list[int | None] = []
        self._is_shown: list[bool] = []
        self.is_marked: list[bool] = []  # as key frames, by the container

    def add(self, packet: av.Packet, use: PacketUse | None = None) -> None:
        """Add the next packet. `use` is how it takes part in decoding, if that is known."""
        self._times.append(packet.pts)
        self._is_shown.append(not packet.is_discard)
        self.is_marked.append(packet.is_keyframe)
        if use is not None:
            self._uses[len(self._times) - 1] = use
        if self.packets is not None:
            self.packets.append(packet)
        elif use is None:
            self._uses[len(self._times) - 1] = self._use(packet)

    def add_all(self, packets: list[av.Packet]) -> None:
        """Add many packets to a list that keeps them, in less time."""
        assert self.packets is not None
        self._times += [packet.pts for packet in packets]
        self._is_shown += [not packet.is_discard for packet in packets]
        self.is_marked += [packet.is_keyframe for packet in packets]
        self.packets += packets

    def close(self) -> None:
        """End the list, after its last packet."""
        self.has_times = None not in self._times
        self.times = np.array(self._times if self.has_times else range(len(self._times)), np.int64)
        shown = np.flatnonzero(self._is_shown)
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


def list_packets(container: av.container.InputContainer, stream: av.VideoStream, *, keep: bool) -> PacketList:
    """Read an open container to its end, and return the packets of the stream."""
    packets = PacketList(stream, keep=keep)
    found = (packet for packet in demux(container, stream) if packet.dts is not None or packet.size)  # not the end
    if keep:
        packets.add_all(list(found))
    else:
        for packet in found:
            packets.add(packet)
    packets.close()
    return packets
