"""The parameter sets of H.264 and HEVC streams: whether they stay the same, and whether packets may hold single fields.

A decoder that starts at a key frame has the parameter sets of the container and those that it has read before, so
that all of them must be the same throughout. The frames of an interlaced H.264 stream are stored as frames or as two
fields, and a container may give each field a packet of its own, which is then no frame.
"""

from collections.abc import Iterator
from typing import NamedTuple

from videoctx.data.decoding.packet_use import HEADER_BYTES, Bits, Buffer, PacketReader

H264_SPS, H264_PPS, H264_SLICES = 7, 8, (1, 5)
HEVC_PARAMETER_SETS = range(32, 35)
HIGH_PROFILES = (100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135)  # whose sets name the chroma format
FIELDS_APART = "fields in packets of their own"
MOST_BYTES = 512  # of a parameter set that are read


class Interlacing(NamedTuple):
    """What a sequence parameter set of H.264 states about fields."""

    has_fields: bool  # a frame may be stored as two fields
    frame_num_bits: int
    has_color_planes: bool  # a slice header names one of three separate planes


class ParameterSets:
    """Watches the packets of a stream in order.

    Args:
        reader: Reads the packets of the stream.
        extradata: The codec's parameters as the container stores them.
    """

    def __init__(self, reader: PacketReader, extradata: bytes) -> None:
        self._reader = reader
        self._known: set[bytes] = set()
        self._sequences: list[Interlacing | None] = []  # None: not understood
        self._num_packets = 0
        self.problem: str | None = None  # why packet k may not be frame k, or seeking may not be exact
        if reader.codec == "h264" and reader.length_bytes:
            for unit in _avcc_units(extradata):
                self._learn(unit)
        elif reader.codec == "h264":
            for start, stop in reader.units(extradata):
                if extradata[start] & 0x1F in (H264_SPS, H264_PPS):
                    self._learn(extradata[start:stop])
        elif reader.codec == "hevc" and reader.length_bytes:
            self._known = set(_hvcc_units(extradata))
        elif reader.codec == "hevc":
            units = (extradata[start:stop] for start, stop in reader.units(extradata))
            self._known = {unit.rstrip(b"\0") for unit in units if unit[0] >> 1 & 0x3F in HEVC_PARAMETER_SETS}

    def watch(self, packet: Buffer) -> None:
        """Take note of the next packet."""
        if self.problem is not None or self._reader.codec not in ("h264", "hevc"):
            return
        try:
            self._watch(packet)
        except IndexError:
            self.problem = "a slice header is cut off"
        self._num_packets += 1

    def _watch(self, packet: Buffer) -> None:
        is_h264 = self._reader.codec == "h264"
        parities: list[int] = []  # 0: a frame, 1: a top field, 2: a bottom field
        for start, stop in self._reader.units(packet):
            kind = packet[start] & 0x1F if is_h264 else packet[start] >> 1 & 0x3F
            if kind in ((H264_SPS, H264_PPS) if is_h264 else HEVC_PARAMETER_SETS):
                unit = bytes(packet[start:stop]).rstrip(b"\0")
                if unit not in self._known and self._num_packets:
                    self.problem = "parameter sets change"
                    return
                self._learn(unit)
            elif is_h264 and kind in H264_SLICES:
                if not self._sequences or None in self._sequences:
                    self.problem = "a parameter set is not understood"
                    return
                if any(sequence.has_fields for sequence in self._sequences if sequence):
                    parities.append(self._parity(packet[start + 1 : start + HEADER_BYTES]))
        if parities and not (set(parities) == {0} or {1, 2} <= set(parities)):
            self.problem = FIELDS_APART

    def _parity(self, header: Buffer) -> int:
        kinds = {sequence for sequence in self._sequences if sequence}
        if len(kinds) > 1:
            self.problem = "several parameter sets"
            return 0
        (sequence,) = kinds
        bits = Bits(bytes(header).replace(b"\x00\x00\x03", b"\x00\x00"))
        for _ in ("first_mb_in_slice", "slice_type", "pic_parameter_set_id"):
            bits.exp_golomb()
        bits.read(2 * sequence.has_color_planes + sequence.frame_num_bits)
        is_field = bits.read(1)
        return 1 + bits.read(1) if is_field else 0

    def _learn(self, unit: bytes) -> None:
        unit = unit.rstrip(b"\0")
        if unit in self._known:
            return
        self._known.add(unit)
        if self._reader.codec == "h264" and unit and unit[0] & 0x1F == H264_SPS:
            try:
                self._sequences.append(_interlacing(unit[1:MOST_BYTES].replace(b"\x00\x00\x03", b"\x00\x00")))
            except IndexError:
                self._sequences.append(None)


def _interlacing(content: bytes) -> Interlacing:
    """Read a sequence parameter set (ITU-T H.264, 7.3.2.1.1)."""
    bits = Bits(content)
    profile, _, _ = bits.read(8), bits.read(8), bits.read(8)
    bits.exp_golomb()  # seq_parameter_set_id
    chroma_format, has_color_planes = 1, False
    if profile in HIGH_PROFILES:
        chroma_format = bits.exp_golomb()
        has_color_planes = chroma_format == 3 and bool(bits.read(1))
        bits.exp_golomb(), bits.exp_golomb(), bits.read(1)  # bit depths, qpprime_y_zero_transform_bypass_flag
        if bits.read(1):  # seq_scaling_matrix_present_flag
            for index in range(12 if chroma_format == 3 else 8):
                if bits.read(1):
                    _skip_scaling_list(bits, 16 if index < 6 else 64)
    frame_num_bits = bits.exp_golomb() + 4
    order_type = bits.exp_golomb()
    if order_type == 0:
        bits.exp_golomb()
    elif order_type == 1:
        bits.read(1), bits.signed_exp_golomb(), bits.signed_exp_golomb()
        for _ in range(bits.exp_golomb()):
            bits.signed_exp_golomb()
    bits.exp_golomb(), bits.read(1), bits.exp_golomb(), bits.exp_golomb()  # references, gaps, width, height
    return Interlacing(not bits.read(1), frame_num_bits, has_color_planes)


def _skip_scaling_list(bits: Bits, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + bits.signed_exp_golomb()) % 256
        last = following or last


def _avcc_units(extradata: bytes) -> Iterator[bytes]:
    """Yield the parameter sets of an `avcC` box (ISO/IEC 14496-15)."""
    place = 5
    for count_mask in (0x1F, 0xFF):
        if place >= len(extradata):
            return
        count, place = extradata[place] & count_mask, place + 1
        for _ in range(count):
            size = int.from_bytes(extradata[place : place + 2], "big")
            yield extradata[place + 2 : place + 2 + size]
            place += 2 + size


def _hvcc_units(extradata: bytes) -> Iterator[bytes]:
    """Yield the parameter sets of an `hvcC` box (ISO/IEC 14496-15)."""
    place = 23
    for _ in range(extradata[22] if len(extradata) > 22 else 0):
        count, place = int.from_bytes(extradata[place + 1 : place + 3], "big"), place + 3
        for _ in range(count):
            size = int.from_bytes(extradata[place : place + 2], "big")
            yield extradata[place + 2 : place + 2 + size].rstrip(b"\0")
            place += 2 + size
