"""Whether a Matroska or WebM file is complete, by its elements (https://www.rfc-editor.org/rfc/rfc9559)."""

from typing import BinaryIO, NamedTuple

SEGMENT, CLUSTER = b"\x18\x53\x80\x67", b"\x1f\x43\xb6\x75"
ENTERED = (SEGMENT, CLUSTER)  # their elements are walked through; others are passed over as wholes
MOST_HEADER_BYTES = 12  # identifier and size


class _Element(NamedTuple):
    identifier: bytes
    header_bytes: int
    content_bytes: int | None  # None: open, as in a live recording


def matroska_damage(file: BinaryIO, size: int) -> str | None:
    """Return in words what the file lacks. None if nothing, as far as its elements tell."""
    start, end, segment_is_open = 0, size, True
    while start < end:
        file.seek(start)
        header = file.read(MOST_HEADER_BYTES)
        element = _element(header)
        if element is None:
            if start + len(header) == size and len(header) < MOST_HEADER_BYTES and header[0]:
                return f"truncated: it ends after {len(header)} bytes of an element's header"
            return f"damaged: byte {start} of {size} starts no Matroska element"
        start += element.header_bytes
        if element.identifier in ENTERED:
            if element.identifier == SEGMENT and element.content_bytes is not None:
                end, segment_is_open = start + element.content_bytes, False
                if end > size:
                    return f"truncated: {size} of {end} bytes are there"
        elif element.content_bytes is None:
            return None  # no other element can be open
        else:
            start += element.content_bytes
    if start <= end:
        return None
    if segment_is_open:
        return f"truncated: {size} of {start} bytes are there"
    return f"damaged: an element ends at byte {start}, and the segment at byte {end}"


def _element(header: bytes) -> _Element | None:
    """Return the element that starts with these bytes, or None if they do not start one."""
    id_bytes = 9 - header[0].bit_length()
    if id_bytes > 4 or len(header) <= id_bytes:
        return None
    size_bytes = 9 - header[id_bytes].bit_length()
    if size_bytes > 8 or len(header) < id_bytes + size_bytes:
        return None
    mask = (1 << 7 * size_bytes) - 1
    content_bytes = int.from_bytes(header[id_bytes : id_bytes + size_bytes], "big") & mask
    return _Element(header[:id_bytes], id_bytes + size_bytes, None if content_bytes == mask else content_bytes)
