"""What is kept of a packet of the video stream: its times, and what is in it."""

from collections.abc import Sequence
from dataclasses import dataclass

import av

from videoctx.data.decoding.file_structure import structural_damage
from videoctx.data.decoding.key_frames import is_key_frame
from videoctx.data.decoding.packet_use import is_vp9_hidden

MPEG4_VOP = b"\x00\x00\x01\xb6"  # start code of a frame (VOP) in MPEG-4 part 2
MPEG4_EMPTY_VOP_BYTES = 8  # most bytes after the start code of a frame that only repeats the one before


@dataclass(frozen=True, slots=True)
class Packet:
    """A packet of the video stream."""

    pts: int | None
    dts: int | None
    duration: int
    is_key: bool
    is_discarded: bool
    is_empty: bool
    is_b: bool
    is_false_key: bool
    is_cut: bool  # the file ends inside it
    position: int | None  # in the file


def read_packet(packet: av.Packet, codec: str, extradata: bytes) -> Packet:
    """Return the facts about a packet.

    Args:
        codec: FFmpeg's name.
        extradata: The codec's parameters as the container stores them.
    """
    is_empty, is_b = packet.size == 0, False
    if codec == "mpeg4":
        vops = bytes(packet).split(MPEG4_VOP)[1:]
        # none, two in one packet (DivX's "packed bitstream"), or one that only repeats the frame before
        is_empty = len(vops) != 1 or len(vops[0]) <= MPEG4_EMPTY_VOP_BYTES
        is_b = any(vop[:1] and vop[0] >> 6 == 2 for vop in vops)
    elif codec == "vp8" and packet.size:
        is_empty = not bytes(packet)[0] & 0x10  # show_frame: an alternate reference frame is not shown
    elif codec == "vp9" and packet.size:
        is_empty = is_vp9_hidden(memoryview(packet))
    elif packet.has_sidedata("new_extradata"):
        is_empty = True  # the size or format changes here, so that only decoding shows whether there is a frame
    return Packet(
        pts=packet.pts,
        dts=packet.dts,
        duration=packet.duration or 0,
        is_key=packet.is_keyframe,
        is_discarded=packet.is_discard,
        is_empty=is_empty,
        is_b=is_b,
        is_false_key=packet.is_keyframe and not is_key_frame(codec, bytes(packet), extradata),
        is_cut=packet.is_corrupt,
        position=packet.pos,
    )


def damage_of(path: str, format_name: str, packets: Sequence[Packet], promised: int) -> str | None:
    """Return what the file lacks.

    Args:
        format_name: FFmpeg's name of the container.
        promised: Number of packets of the video by the container's headers; 0: not stated.
    """
    if packets[-1].is_cut and format_name != "mpegts":  # there it is any gap, also one that does no harm
        return "truncated: its last frame lacks its end"
    if format_name.startswith("mov") and 0 < promised <= len(packets):
        return None  # whatever size the headers state
    return structural_damage(path, format_name)


def num_false_key_frames(stream: av.VideoStream, packets: Sequence[Packet]) -> int:
    """Return how many packets are key frames by their marks or by the container's index and hold other frames.

    FFmpeg corrects some marks by the packets' content, but seeks to what the index names.
    """
    others = {packet.position for packet in packets if not packet.is_key}
    indexed = sum(entry.is_keyframe and entry.pos in others for entry in stream.index_entries)
    return indexed + sum(packet.is_false_key for packet in packets)
