"""What is read from a file's own headers, because FFmpeg does not report it: fragments, a missing end, a broken chain.

Most containers are chains of elements, each of which starts with its size. A file that was cut ends inside an element,
and the chain breaks where bytes were overwritten. FFmpeg then resumes at the next element that it finds, without a word
about the frames between. A cut exactly between two elements cannot be noticed if no header states the whole size, as in
MPEG-TS, in MPEG program streams and in live recordings.
"""

import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from videoctx.data.decoding.matroska_structure import matroska_damage

MOST_BOXES = 100_000
BOXES_WITH_FRAMES = (b"mdat", b"moov", b"moof")  # what else comes last may be cut off, or is no box
TS_PACKET_SIZES = (188, 192, 204)
TS_SYNC = 0x47
FLV_TAGS = (8, 9, 15, 18)  # audio, video, data, data
OGG_PAGE, OGG_END_OF_STREAM = b"OggS", 4
AVI_FRAMES = b"movi"
OPEN_RIFF_SIZES = (0, 0xFFFFFFFF)  # of a recording that was not finished
LARGEST_FILE = 1 << 63  # bytes
MXF_KEY = b"\x06\x0e\x2b\x34"
GIF_EXTENSION, GIF_IMAGE, GIF_TRAILER = 0x21, 0x2C, 0x3B
BITS_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def is_fragmented(path: str) -> bool:
    """Return whether an MP4 file stores its samples in movie fragments, `moof` boxes."""
    with Path(path).open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        for kind, start, stop in boxes(file, 0, size):
            if kind == b"moof" or (kind == b"moov" and any(inner == b"mvex" for inner, *_ in boxes(file, start, stop))):
                return True
    return False


def structural_damage(path: str, format_name: str) -> str | None:
    """Return in words what a file lacks by its own headers. None if nothing, or if its format does not say.

    Args:
        format_name: FFmpeg's name of the container.
    """
    with Path(path).open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if format_name.startswith("matroska"):
            return matroska_damage(file, size)
        if format_name.startswith("mov"):
            ends = (stop for kind, _, stop in boxes(file, 0, size) if kind in BOXES_WITH_FRAMES)
            return missing_end(size, max(ends, default=size))
        if format_name == "mpegts":
            return _cut_ts_packet(file, size)
        if format_name in ("flv", "live_flv"):
            return _flv_damage(file, size)
        if format_name == "avi":
            return missing_end(size, _avi_end(file))
        if format_name == "ogg":
            return _ogg_damage(file, size)
        if format_name == "mxf":
            return missing_end(size, _mxf_end(file, size))
        if format_name == "gif":
            return _gif_damage(file, size)
    return None


def missing_end(size: int, promised: int) -> str | None:
    """Return a message if a file is smaller than its headers promise."""
    return f"truncated: {size} of {promised} bytes are there" if promised > size else None


def boxes(file: BinaryIO, start: int, stop: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield the type of each box of an MP4 file, and where its content starts and stops."""
    for _ in range(MOST_BOXES):
        file.seek(start)
        header = file.read(16)
        if start + 8 > stop or len(header) < 8:
            return
        size, kind, content = int.from_bytes(header[:4], "big"), header[4:8], start + 8
        if size == 1:
            size, content = int.from_bytes(header[8:16], "big"), start + 16
        end = stop if size == 0 else start + size
        if end < content or not kind.isascii():
            return  # not a box
        yield kind, content, end
        start = end


def _cut_ts_packet(file: BinaryIO, size: int) -> str | None:
    head = file.read(4 + TS_PACKET_SIZES[-1] * 2)
    for packet_size in TS_PACKET_SIZES:
        first = 4 if packet_size == 192 else 0  # after a time code
        if len(head) > first + packet_size and head[first] == head[first + packet_size] == TS_SYNC:
            cut = size % packet_size
            if not cut:
                return None
            return (
                f"truncated: it ends after {cut} of {packet_size} bytes of a transport packet, so its last frame may"
                " lack its end; if the rest is wanted, `ffmpeg -i FILE -c copy NEW.ts` makes a complete file of it"
            )
    return None


def _flv_damage(file: BinaryIO, size: int) -> str | None:
    head = file.read(9)
    start = int.from_bytes(head[5:9], "big") + 4
    while head[:3] == b"FLV" and start < size:
        file.seek(start)
        header = file.read(4)
        if header[0] & 0x1F not in FLV_TAGS:
            return f"damaged: byte {start} of {size} starts no FLV tag"
        start += 11 + int.from_bytes(header[1:4], "big")
        if start > size:
            return missing_end(size, start)
        start += 4  # the tag's size again, which may be missing at the end
    return None


def _avi_end(file: BinaryIO) -> int:
    """Return where the last list of frames ends, or 0 if the headers leave it open.

    Whatever follows a RIFF chunk, other than the next one, is no part of the video. Some writers leave bytes of their
    buffers there, which look like a list of frames.
    """
    start, end, riff_end = 0, 0, 0
    while True:
        file.seek(start)
        header = file.read(12)
        kind, size = header[:4], int.from_bytes(header[4:8], "little")
        if len(header) < 12 or not kind.isascii() or (start >= riff_end and kind != b"RIFF"):
            return end
        if kind == b"RIFF":
            riff_end = LARGEST_FILE if size in OPEN_RIFF_SIZES else start + 8 + size
            start += 12
            continue
        if kind == b"LIST" and header[8:12] == AVI_FRAMES:
            if size in OPEN_RIFF_SIZES:
                return 0
            end = start + 8 + size
        start += 8 + size + size % 2


def _ogg_damage(file: BinaryIO, size: int) -> str | None:
    start, is_last = 0, False
    while start < size:
        file.seek(start)
        header = file.read(27 + 255)
        if header[:4] != OGG_PAGE[: len(header)]:
            return None if is_last else f"damaged: byte {start} of {size} starts no Ogg page"
        page_bytes = 27 + (header[26] + sum(header[27 : 27 + header[26]]) if len(header) > 26 else 0)
        if start + page_bytes > size:
            return missing_end(size, start + page_bytes)
        file.seek(start)
        page = file.read(page_bytes)
        if ogg_checksum(page) != page[22:26]:
            return f"damaged: the checksum of the Ogg page at byte {start} of {size} is incorrect"
        is_last = bool(page[5] & OGG_END_OF_STREAM)
        start += page_bytes
    return None


def ogg_checksum(page: bytes) -> bytes:
    """Return the checksum that belongs into bytes 22 to 26 of an Ogg page (RFC 3533), whatever is there.

    It is zlib's, with bits in the other order and without inversions.
    """
    content = (page[:22] + bytes(4) + page[26:]).translate(BITS_REVERSED)
    checksum = zlib.crc32(content, 0xFFFFFFFF) ^ 0xFFFFFFFF
    return checksum.to_bytes(4, "big").translate(BITS_REVERSED)


def _mxf_end(file: BinaryIO, size: int) -> int:
    """Return where the last element ends, or 0 if the chain breaks."""
    start = 0
    while start < size:
        file.seek(start)
        header = file.read(25)  # key, and length
        if not header.startswith(MXF_KEY[: len(header)]):
            return 0
        if len(header) < 25:
            return start + 25
        length_bytes = header[16] & 0x7F if header[16] & 0x80 else 0  # of the length, after its first byte
        length = int.from_bytes(header[17 : 17 + length_bytes], "big") if length_bytes else header[16]
        start += 17 + length_bytes + length
    return start


def _gif_damage(file: BinaryIO, size: int) -> str | None:
    head = file.read(13)
    start = 13 + _color_table_bytes(head[10] if len(head) > 10 else 0)
    while start < size:
        file.seek(start)
        header = file.read(10)
        if header[0] == GIF_IMAGE:
            start += 10 + _color_table_bytes(header[9] if len(header) > 9 else 0) + 1
        elif header[0] == GIF_EXTENSION:
            start += 2
        elif header[0] == GIF_TRAILER:
            return None
        elif header[0] == 0:  # some writers end a block twice
            start += 1
            continue
        else:
            return f"damaged: byte {start} of {size} starts no GIF block"
        while True:  # sub-blocks, each after its size; one without content ends them
            file.seek(start)
            length = file.read(1)
            if not length:
                return missing_end(size, start)
            start += 1 + length[0]
            if not length[0]:
                break
    return None


def _color_table_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0
