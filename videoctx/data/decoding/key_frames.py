"""Whether a packet that the container marks as a key frame holds one.

A decoder that starts at a marked packet of another kind shows errors until the next real key frame, or waits for it.
"""

from collections.abc import Iterator

H264_SLICES = (1, 5)  # NAL unit types of a slice; a partitioned slice (2) is not a key frame's
H264_I_SLICES = (2, 4, 7, 9)  # slice types I and SI
HEVC_SLICES = range(32)
HEVC_KEY_FRAMES = range(16, 24)
MOST_BYTES = 64  # of a slice that are read
AV1_SEQUENCE_HEADER, AV1_FRAME_HEADERS = 1, (3, 6)  # types of its units (OBU)
VOP_START = b"\x00\x00\x01\xb6"


def is_key_frame(codec: str, packet: bytes, extradata: bytes) -> bool:
    """Return whether a decoder can start at the packet. True if the codec's packets are not understood here.

    Args:
        codec: FFmpeg's name.
        extradata: The codec's parameters as the container stores them.
    """
    if not packet:
        return True
    if codec == "h264":
        for unit in _units(packet, (extradata[4] & 3) + 1 if len(extradata) > 4 and extradata[0] == 1 else 0):
            if unit[0] & 0x1F in H264_SLICES:
                return _h264_slice_type(unit[1:MOST_BYTES]) in H264_I_SLICES
    elif codec == "hevc":
        for unit in _units(packet, (extradata[21] & 3) + 1 if len(extradata) > 21 and extradata[0] == 1 else 0):
            if (unit[0] >> 1) & 0x3F in HEVC_SLICES:
                return (unit[0] >> 1) & 0x3F in HEVC_KEY_FRAMES
    elif codec == "mpeg4":
        start = packet.find(VOP_START)
        return start < 0 or start + 4 >= len(packet) or packet[start + 4] >> 6 == 0
    elif codec == "h263" and len(packet) > 4 and packet[:2] == b"\x00\x00" and packet[2] >> 2 == 0x20:
        source_format = (packet[4] >> 2) & 7
        return source_format == 7 or not packet[4] & 2  # an extended header (7) is not read here
    elif codec == "vp8":
        return not packet[0] & 1
    elif codec == "vp9":
        return _is_vp9_key_frame(packet[0])
    elif codec == "av1":
        return _is_av1_key_frame(packet)
    return True


def _is_vp9_key_frame(first: int) -> bool:
    """Return whether the first byte of a frame's header is a key frame's: no frame shown again, and of type 0."""
    show_existing_frame, frame_type = (4, 2) if first & 0x30 == 0x30 else (8, 4)  # profile 3 has one more bit
    return first >> 6 == 2 and not first & (show_existing_frame | frame_type)


def _is_av1_key_frame(packet: bytes) -> bool:
    """Return whether the first frame header of a temporal unit is a key frame's. True if there is none."""
    place, is_still = 0, False
    while place < len(packet):
        kind, has_size = packet[place] >> 3 & 15, packet[place] & 2
        place += 2 if packet[place] & 4 else 1  # with an extension
        size, shift = len(packet) - place, 0
        if has_size:
            size = 0
            for place in range(place, min(place + 8, len(packet))):  # noqa: B020
                size |= (packet[place] & 0x7F) << shift
                shift += 7
                if not packet[place] & 0x80:
                    break
            place += 1
        if kind == AV1_SEQUENCE_HEADER and place < len(packet):
            is_still = bool(packet[place] & 8)  # the reduced header: there are only key frames
        if kind in AV1_FRAME_HEADERS and place < len(packet):
            return is_still or not packet[place] >> 5  # no frame shown again, and of type 0
        place += size
    return True


def _units(packet: bytes, length_bytes: int) -> Iterator[bytes]:
    """Yield the NAL units' first bytes.

    Args:
        length_bytes: Size of the length before each unit; 0 if start codes (Annex B) separate the units.
    """
    place = 0
    while length_bytes and place + length_bytes < len(packet):
        size = int.from_bytes(packet[place : place + length_bytes], "big")
        place += length_bytes
        if size:
            yield packet[place : place + min(size, MOST_BYTES)]
        place += size
    while not length_bytes and (place := packet.find(b"\x00\x00\x01", place) + 3) > 2 and place < len(packet):
        yield packet[place : place + MOST_BYTES]


def _h264_slice_type(header: bytes) -> int:
    """Return the second Exp-Golomb code of a slice header, or -1 if the header is cut off."""
    bits = "".join(f"{byte:08b}" for byte in header.replace(b"\x00\x00\x03", b"\x00\x00"))
    place, value = 0, -1
    for _ in ("first_mb_in_slice", "slice_type"):
        zeros = bits.find("1", place) - place
        if zeros < 0:
            return -1
        place += zeros
        value = int(bits[place : place + zeros + 1], 2) - 1
        place += zeros + 1
    return value
