"""Properties that are read from a file's bytes, because FFmpeg does not report them."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

MOST_BOXES = 100_000
MATROSKA_SEGMENT = b"\x18\x53\x80\x67"
TS_PACKET_SIZES = (188, 192, 204)
TS_SYNC = 0x47


def is_fragmented(path: str) -> bool:
    """Return whether an MP4 file stores its samples in movie fragments, `moof` boxes."""
    with Path(path).open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        for kind, start, stop in _boxes(file, 0, size):
            if kind == b"moof" or (
                kind == b"moov" and any(inner == b"mvex" for inner, *_ in _boxes(file, start, stop))
            ):
                return True
    return False


def missing_end(path: str, format_name: str) -> str | None:
    """Return in words how much of a file is missing at its end. None if it is complete, or if its format does not say.

    Args:
        format_name: FFmpeg's name of the container.
    """
    with Path(path).open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if format_name.startswith("matroska"):
            promised = _matroska_size(file)
        elif format_name.startswith("mov"):
            promised = max((stop for _, _, stop in _boxes(file, 0, size)), default=size)
        elif format_name == "mpegts":
            return _cut_ts_packet(file, size)
        else:
            return None
    return f"truncated: {size} of {promised} bytes are there" if promised > size else None


def _boxes(file: BinaryIO, start: int, stop: int) -> Iterator[tuple[bytes, int, int]]:
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


def _matroska_size(file: BinaryIO) -> int:
    """Return the size of a Matroska file by its headers, or 0 if they leave it open, as in a live recording."""
    start = 0
    for _ in range(100):
        file.seek(start)
        header = file.read(16)
        if len(header) < 2 or not header[0]:
            return 0
        id_bytes = 9 - header[0].bit_length()
        size_bytes = 9 - header[id_bytes].bit_length() if len(header) > id_bytes else 9
        if id_bytes > 4 or size_bytes > 8:
            return 0
        size = int.from_bytes(header[id_bytes : id_bytes + size_bytes], "big") & ((1 << 7 * size_bytes) - 1)
        start += id_bytes + size_bytes + size
        if header[:id_bytes] == MATROSKA_SEGMENT:
            return 0 if size == (1 << 7 * size_bytes) - 1 else start
    return 0


def _cut_ts_packet(file: BinaryIO, size: int) -> str | None:
    head = file.read(4 + TS_PACKET_SIZES[-1] * 2)
    for packet_size in TS_PACKET_SIZES:
        first = 4 if packet_size == 192 else 0  # after a time code
        if len(head) > first + packet_size and head[first] == head[first + packet_size] == TS_SYNC:
            cut = size % packet_size
            return f"truncated: it ends after {cut} of {packet_size} bytes of a transport packet" if cut else None
    return None
