"""Decode the frames of a segment at its constant rate, upright and in their final size."""

from collections.abc import Iterator
from itertools import count

import av
import numpy as np

from data_prep.transcode.segment import Segment
from videoctx.data.decoding.containers import VideoDecodeError, open_container
from videoctx.data.decoding.frame_folder import open_frame_folder
from videoctx.data.decoding.video_stream import decode_stream


def grid_frames(segment: Segment) -> Iterator[av.VideoFrame]:
    """Yield the frame of each slot of the segment's grid, in order.

    Raises:
        VideoDecodeError: the source is damaged.
    """
    finish = _Finish(segment)
    shown = None  # the last frame so far that is nearest to the next slot or to one before it
    place = segment.first
    for slot, frame in _decode(segment):
        if shown is not None and slot > place:
            finished = finish(shown)
            while place < min(slot, segment.stop):
                yield finished
                place += 1
        if place >= segment.stop:
            return
        shown = frame
    if shown is not None:
        yield finish(shown)


def _decode(segment: Segment) -> Iterator[tuple[int, av.VideoFrame]]:
    """Yield the slots and the decoded frames, from the first wanted frame or an earlier one on."""
    if segment.is_of_images:
        yield from _read_images(segment)
        return
    previous = None
    with open_container(segment.path) as container:
        stream = container.streams[segment.stream_index]
        assert isinstance(stream, av.VideoStream)
        stream.codec_context.thread_count = 1
        if segment.seek_seconds is not None:
            container.seek(int(segment.seek_seconds / segment.time_base), stream=stream)
        indices = count()
        try:
            for frame in decode_stream(container, stream):
                previous = segment.slot(next(indices), frame.pts, previous)
                yield previous, frame
        except av.FFmpegError as error:
            raise VideoDecodeError(segment.path, f"damaged: {error.strerror}") from error


def _read_images(segment: Segment) -> Iterator[tuple[int, av.VideoFrame]]:
    begin = max(0, int(segment.first / segment.rate * segment.own_rate) - 1)  # the one before may be the nearest
    with open_frame_folder(segment.path, float(segment.own_rate)) as images:
        for index in range(begin, images.num_frames):
            pixels = np.ascontiguousarray(images.image(index)[1])
            yield segment.slot(index, None, None), av.VideoFrame.from_ndarray(pixels, format="rgb24")


class _Finish:
    """Turns a decoded frame upright and scales it."""

    def __init__(self, segment: Segment) -> None:
        self._segment = segment
        self._graph: av.filter.Graph | None = None
        self._size = 0, 0

    def __call__(self, frame: av.VideoFrame) -> av.VideoFrame:
        if self._graph is None:
            self._graph, self._size = self._build(frame), (frame.width, frame.height)
        if frame.is_corrupt:
            raise VideoDecodeError(self._segment.path, f"the frame at {frame.time or 0:g} s is damaged")
        if (frame.width, frame.height) != self._size:
            raise VideoDecodeError(
                self._segment.path,
                f"its size changes from {self._size[0]}×{self._size[1]} to {frame.width}×{frame.height} pixels",
            )
        self._graph.vpush(frame)
        return self._graph.vpull()

    def _build(self, frame: av.VideoFrame) -> av.filter.Graph:
        graph = av.filter.Graph()
        if hasattr(graph, "threads"):  # since PyAV 18
            graph.threads = 1
        source = graph.add(
            "buffer",
            f"width={frame.width}:height={frame.height}:pix_fmt={frame.format.name}"
            f":time_base={self._segment.time_base}:colorspace={int(frame.colorspace)}:range={int(frame.color_range)}",
        )
        turns = [graph.add(name, arguments) for name, arguments in self._segment.turns]
        scale = graph.add("scale", f"{self._segment.width}:{self._segment.height}:out_range=tv")
        chain = (source, *turns, scale, graph.add("setsar", "1"), graph.add("format", "yuv420p"))
        graph.link_nodes(*chain, graph.add("buffersink")).configure()
        return graph
