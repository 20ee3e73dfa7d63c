"""Whether the sparse decoder is exact on a file, by the bytes of all packets."""

import av
import numpy as np

from videoctx.data.decoding.packet_use import CODECS, PacketReader, PacketUse
from videoctx.data.decoding.parameter_sets import ParameterSets


class SparseRule:
    """Takes the packets of a stream in order and returns what keeps the sparse decoder from being exact on them.

    Args:
        codec: FFmpeg's name.
        extradata: The codec's parameters as the container stores them.
    """

    def __init__(self, codec: str, extradata: bytes) -> None:
        self.codec = codec
        self._reader = PacketReader(codec, extradata)
        self._parameter_sets = ParameterSets(self._reader, extradata)
        self._uses: list[PacketUse] = []

    def watch(self, packet: av.Packet) -> PacketUse:
        """Take note of the next packet, and return its use."""
        use = PacketUse()
        if self.codec in CODECS and packet.size:
            content = memoryview(packet)
            use = self._reader.use(content)
            self._parameter_sets.watch(content)
        self._uses.append(use)
        return use

    def why_not(self, shown: np.ndarray, is_discarded: np.ndarray) -> str | None:
        """Return the reason why the sparse decoder may not be exact, if there is one.

        Args:
            shown: (num_packets,) time or rank at which each packet is shown.
            is_discarded: (num_packets,) whether an edit list removes the packet.
        """
        if self.codec not in CODECS:
            return f"{self.codec} was not tested"
        if self._parameter_sets.problem:
            return self._parameter_sets.problem
        is_start = np.array([use.is_start for use in self._uses])
        if not is_start[0]:
            return "decoding cannot start at its first packet"
        if (shown[~is_discarded] < shown[0]).any():
            return "frames before the first key frame"
        start_before = np.maximum.accumulate(np.where(is_start, np.arange(len(shown)), 0))
        can_be_left_out = np.array([use.is_unreferenced or use.is_leading for use in self._uses])
        if ((shown < shown[start_before]) & ~can_be_left_out).any():
            return "open GOPs in which frames before the key frame are referred to"
        return None
