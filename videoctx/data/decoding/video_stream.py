"""Which of a file's streams is the video."""

from collections.abc import Iterator

import av
from av.stream import Disposition

PERMISSION_AT_THE_END = (
    "nsv",
)  # FFmpeg's demuxer returns -1 at the end of such files, which reads as a PermissionError


def video_stream(container: av.container.InputContainer) -> av.VideoStream | None:
    """Return the video stream that every decoder and tool reads. None: the file has no video.

    The rule is that of the ffmpeg program: a stream with the disposition `default` comes first, then the one with the
    most pixels, then the first one. Attached cover art, such as the cover of a song, is not a video.
    """
    streams = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    return max(streams, key=_preference, default=None)  # the first of equal ones


def demux(container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[av.Packet]:
    """Yield the packets of the stream. The last one is empty, except in a format of `PERMISSION_AT_THE_END`."""
    try:
        yield from container.demux(stream)
    except av.error.PermissionError:
        if container.format.name not in PERMISSION_AT_THE_END:
            raise


def decode_stream(container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[av.VideoFrame]:
    """Yield the frames of the stream."""
    try:
        yield from container.decode(stream)
    except av.error.PermissionError:
        if container.format.name not in PERMISSION_AT_THE_END:
            raise
        yield from stream.decode()


def _preference(stream: av.VideoStream) -> tuple[bool, int]:
    codec = stream.codec_context  # None: FFmpeg has no decoder
    return bool(stream.disposition & Disposition.default), codec.width * codec.height if codec is not None else 0
