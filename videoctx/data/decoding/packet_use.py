"""What a packet's bytes state about decoding: whether it can start there, and whether other frames need the packet.

Nothing here relies on what the container marks, which is often not what the packets hold. A codec that is not in
`CODECS` is not understood.

- H.264 (ITU-T H.264, 7.4.1 and D.2.8): it starts at an IDR frame, or at an I frame with a recovery point of exactly
  itself. Slices with `nal_ref_idc` 0 are not referred to.
- HEVC (ITU-T H.265, 7.4.2.2): it starts at a random access point (IRAP), whose leading frames (RADL, RASL) are then
  left out. Sub-layer non-reference frames are not referred to by frames of the same temporal layer.
- MPEG-4 part 2: it starts at an I-VOP. In interlaced video FFmpeg reads a B-VOP by those before it.
- VP8 (RFC 6386), VP9 and AV1: it starts at a key frame that is shown. Whether a frame is referred to is not read.
- MJPEG: every frame stands alone.
"""

from collections.abc import Iterator
from typing import NamedTuple

CODECS = ("h264", "hevc", "av1", "vp8", "vp9", "mpeg4", "mjpeg")
VOP_START = b"\x00\x00\x01\xb6"
H264_SLICES = (1, 2, 3, 4, 5)  # NAL unit types; a frame in partitions (2 to 4) has no slice of type 1
H264_IDR, H264_SEI = 5, 6
H264_I_SLICES = (2, 4, 7, 9)  # slice types I and SI
RECOVERY_POINT = 6  # type of an SEI message
HEVC_SLICES = range(32)  # NAL unit types
HEVC_STARTS = range(16, 22)  # BLA, IDR, CRA
HEVC_LEADING = range(6, 10)  # RADL, RASL
HEVC_LAST_UNREFERENCED = 14  # even types up to this one
HEADER_BYTES = 32  # of a slice, which hold the fields that are read
AV1_FRAME_HEADERS = (3, 6)  # OBU types
Buffer = bytes | memoryview


class PacketUse(NamedTuple):
    """How a packet takes part in decoding."""

    is_start: bool = False  # a decoder can start here, and all frames shown from this one on are exact
    is_unreferenced: bool = False  # no later packet of the same or a lower layer refers to it
    is_leading: bool = False  # it needs frames before the start that it follows, and no frame shown after that needs it
    layer: int = 0  # temporal layer of HEVC


REFERENCED = PacketUse()


class PacketReader:
    """Reads the packets of a stream.

    Args:
        codec: FFmpeg's name.
        extradata: The codec's parameters as the container stores them.
    """

    def __init__(self, codec: str, extradata: bytes) -> None:
        self.codec = codec
        self.length_bytes = _length_bytes(codec, extradata)

    def units(self, packet: Buffer) -> Iterator[tuple[int, int]]:
        """Yield where each NAL unit of H.264 or HEVC starts and stops."""
        return _units_with_lengths(packet, self.length_bytes) if self.length_bytes else _units_of_annex_b(bytes(packet))

    def use(self, packet: Buffer) -> PacketUse:
        """Return the use of a packet that is not empty. It is the cautious one if the bytes make no sense."""
        try:
            match self.codec:
                case "h264":
                    return self._h264(packet)
                case "hevc":
                    return self._hevc(packet)
                case "mpeg4":
                    return _mpeg4(bytes(packet))
                case "vp8":
                    return PacketUse(is_start=not packet[0] & 1)
                case "vp9":
                    header = vp9_header(packet)
                    return PacketUse(is_start=header == Vp9Header(is_repeated=False, is_key=True, is_shown=True))
                case "av1":
                    return PacketUse(is_start=_is_av1_start(packet))
                case "mjpeg":
                    return PacketUse(is_start=True, is_unreferenced=True)
        except IndexError:  # the packet ends inside a header
            pass
        return REFERENCED

    def _h264(self, packet: Buffer) -> PacketUse:
        num_slices, is_referenced, is_idr, is_intra, is_recovery_point = 0, False, True, True, False
        for start, stop in self.units(packet):
            kind = packet[start] & 0x1F
            if kind in H264_SLICES:
                num_slices += 1
                is_referenced |= bool(packet[start] & 0x60)
                is_idr &= kind == H264_IDR
                if is_intra:  # a recovery point stands before the slices; without one, only IDR slices are read
                    is_intra = is_referenced and (is_recovery_point or kind == H264_IDR)
                    is_intra = is_intra and _is_h264_intra(packet[start + 1 : start + HEADER_BYTES])
            elif kind == H264_SEI and not is_recovery_point:
                is_recovery_point = _is_recovery_point(_without_escapes(packet[start + 1 : stop]))
        if not num_slices:
            return REFERENCED
        is_start = is_referenced and (is_idr or (is_intra and is_recovery_point))
        return PacketUse(is_start=is_start, is_unreferenced=not is_referenced)

    def _hevc(self, packet: Buffer) -> PacketUse:
        for start, _ in self.units(packet):
            kind, layer = packet[start] >> 1 & 0x3F, (packet[start] & 1) << 5 | packet[start + 1] >> 3
            if kind in HEVC_SLICES and layer == 0:  # all slices of a frame have one type
                return PacketUse(
                    is_start=kind in HEVC_STARTS,
                    is_unreferenced=kind <= HEVC_LAST_UNREFERENCED and kind % 2 == 0,
                    is_leading=kind in HEVC_LEADING,
                    layer=(packet[start + 1] & 7) - 1,
                )
        return REFERENCED


class Vp9Header(NamedTuple):
    """The first bits of a VP9 frame."""

    is_repeated: bool  # a frame that is stored already is shown
    is_key: bool
    is_shown: bool


def vp9_header(packet: Buffer) -> Vp9Header:
    """Return the header of a VP9 packet's first frame."""
    bits = f"{packet[0]:08b}{packet[1] if len(packet) > 1 else 0:08b}"
    place = 5 if bits[2:4] == "11" else 4  # after the marker and the profile, of which the third has a reserved bit
    if bits[place] == "1":
        return Vp9Header(is_repeated=True, is_key=False, is_shown=True)
    return Vp9Header(is_repeated=False, is_key=bits[place + 1] == "0", is_shown=bits[place + 2] == "1")


def is_vp9_hidden(packet: Buffer) -> bool:
    """Return whether a VP9 packet shows no frame: it holds one that is only referred to."""
    is_superframe = packet[-1] & 0xE0 == 0xC0  # several frames, of which one is shown
    return not is_superframe and not vp9_header(packet).is_shown


def _length_bytes(codec: str, extradata: bytes) -> int:
    """Return the size of the length before each NAL unit; 0 if start codes (Annex B) separate the units."""
    place = {"h264": 4, "hevc": 21}.get(codec)
    if place is None or len(extradata) <= place:
        return 0
    is_annex_b = extradata.startswith((b"\x00\x00\x01", b"\x00\x00\x00\x01"))
    return 0 if is_annex_b or (codec == "h264" and extradata[0] != 1) else (extradata[place] & 3) + 1


def _units_with_lengths(packet: Buffer, length_bytes: int) -> Iterator[tuple[int, int]]:
    place, end = 0, len(packet)
    while place + length_bytes < end:
        size = int.from_bytes(packet[place : place + length_bytes], "big")
        place += length_bytes
        if size:
            yield place, min(place + size, end)
        place += size


def _units_of_annex_b(packet: bytes) -> Iterator[tuple[int, int]]:
    start = packet.find(b"\x00\x00\x01") + 3
    while start > 2 and start < len(packet):
        following = packet.find(b"\x00\x00\x01", start)
        yield start, following if following >= 0 else len(packet)
        start = following + 3


def _without_escapes(unit: Buffer) -> bytes:
    """Return a NAL unit without the bytes that keep start codes out of it."""
    return bytes(unit).replace(b"\x00\x00\x03", b"\x00\x00")


def _is_h264_intra(slice_header: Buffer) -> bool:
    bits = Bits(_without_escapes(slice_header))
    bits.exp_golomb()  # first_mb_in_slice
    return bits.exp_golomb() in H264_I_SLICES


def _is_recovery_point(messages: bytes) -> bool:
    """Return whether SEI messages promise exact frames from this one on."""
    place = 0
    while place + 2 < len(messages):
        kind = size = 0
        while messages[place] == 0xFF:
            kind, place = kind + 255, place + 1
        kind, place = kind + messages[place], place + 1
        while messages[place] == 0xFF:
            size, place = size + 255, place + 1
        size, place = size + messages[place], place + 1
        if kind == RECOVERY_POINT:
            bits = Bits(messages[place : place + size])
            recovery_frame_count, is_exact = bits.exp_golomb(), bits.read(1)
            return recovery_frame_count == 0 and is_exact == 1
        place += size
    return False


def _mpeg4(packet: bytes) -> PacketUse:
    start = packet.find(VOP_START)
    if start < 0 or packet.find(VOP_START, start + 4) >= 0:
        return REFERENCED
    return PacketUse(is_start=packet[start + 4] >> 6 == 0)


def _is_av1_start(packet: Buffer) -> bool:
    """Return whether the first frame of a temporal unit is a key frame that is shown."""
    place = 0
    while place < len(packet):
        header = packet[place]
        kind, has_extension, has_size = header >> 3 & 15, header >> 2 & 1, header >> 1 & 1
        place += 1 + has_extension
        if not has_size:
            size = len(packet) - place
        else:
            size, shift = 0, 0
            while True:
                byte = packet[place]
                size |= (byte & 0x7F) << shift
                shift, place = shift + 7, place + 1
                if not byte & 0x80:
                    break
        if kind in AV1_FRAME_HEADERS:
            return packet[place] >> 4 == 1  # show_existing_frame 0, frame_type 0, show_frame 1
        place += size
    return False


class Bits:
    """Reads bits from the first one on. Raises IndexError beyond the last."""

    def __init__(self, content: bytes) -> None:
        self._bits = "".join(f"{byte:08b}" for byte in content)
        self._place = 0

    def read(self, count: int) -> int:
        """Return an unsigned number of `count` bits."""
        start, self._place = self._place, self._place + count
        if self._place > len(self._bits):
            raise IndexError("the bits have ended")
        return int(self._bits[start : self._place] or "0", 2)

    def exp_golomb(self) -> int:
        """Return an unsigned Exp-Golomb code."""
        one = self._bits.find("1", self._place)
        if one < 0:
            raise IndexError("the bits have ended")
        zeros, self._place = one - self._place, one
        return self.read(zeros + 1) - 1

    def signed_exp_golomb(self) -> int:
        """Return a signed Exp-Golomb code."""
        code = self.exp_golomb()
        return -(code // 2) if code % 2 == 0 else (code + 1) // 2
