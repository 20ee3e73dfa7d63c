"""One video, encoded anew such that every decoder returns exactly the frames that are asked for, and soon.

What comes out is H.264 in mp4: closed groups of 16 frames, no B-frames, no edit list, a constant frame rate, upright,
square pixels, no sound. A decoder that wants frame k decodes 16 frames at most, and no player, seek or edit list has
another opinion of which frame that is.

**Time.** Frame n of the result stands for the time n / fps after the first frame of the source, and shows the source's
frame nearest to it; where several are nearest, the last of them; where none is, the one before stays. At the source's
own rate that is every frame once. A trim to [start, end) takes the frames n of this grid which training would have
taken from the untrimmed result (`videoctx.data.sampling.clip_samplers.frame_range`), so it does not matter which comes first.

PyAV decodes, scales and encodes by default; `with_ffmpeg` has the ffmpeg program do the same. One thread each: whole
videos run side by side.
"""

import math
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import count
from pathlib import Path

import av
import numpy as np

from videoctx.data.decoding.containers import VideoDecodeError, display_matrix, open_container, probe
from videoctx.data.sampling.clip_samplers import frame_range

GOP_LENGTH = 16
MAX_GAP_SECONDS = 60  # between two frames; beyond it the timestamps are wrong, and the gap would fill the disk
SEEK_MARGIN_SECONDS = 2
FORMATS_WITHOUT_TIMES = ("avi",)  # frame k is shown at k / fps, whatever times FFmpeg makes up for it
TRANSPOSE = ("transpose", "cclock_flip")  # rows become columns, and nothing else
SEEKABLE_FORMATS = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm")
# No edit list: it would say when the first frame is shown, and without B-frames that is at 0. The index stands
# first, as a reader of a remote file needs it first.
MP4_OPTIONS = {"use_editlist": "0", "movflags": "+faststart"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """What the results are like."""

    short_side_px: int  # of larger videos; smaller ones keep their size
    fps: float | None  # None: the source's own rate, on average
    crf: int  # x264's constant rate factor: smaller is better and larger
    preset: str  # x264's: how long it searches

    def encoder_options(self) -> dict[str, str]:
        """For libx264, by the names that PyAV and the ffmpeg program share."""
        return {
            "crf": str(self.crf),
            "preset": self.preset,
            "g": str(GOP_LENGTH),
            "keyint_min": str(GOP_LENGTH),
            "sc_threshold": "0",
            "bf": "0",
            "flags": "+cgop",
            "threads": "1",
        }


@dataclass(frozen=True, slots=True)
class Stretch:
    """A source, and which frames of its constant-rate grid are wanted."""

    path: str
    stamped: bool  # frames say when they are shown; else frame k is shown at k / own_rate
    own_rate: Fraction
    rate: Fraction  # of the grid
    first: int
    stop: int
    stop_is_sure: bool  # else the container may promise more frames than can be decoded
    first_pts: int  # of the first frame shown, where stamped
    time_base: Fraction
    seekable: bool
    turns: tuple[tuple[str, str], ...]  # FFmpeg's filters, and their arguments, that put the stored picture upright
    width: int  # of the result
    height: int

    def slot(self, index: int, pts: int | None, previous: int | None) -> int:
        """The place in the grid of the frame `index` (counted from the first one decoded)."""
        if not self.stamped:
            return _nearest(Fraction(index) / self.own_rate * self.rate)
        if pts is None:
            return 0 if previous is None else previous + 1
        return _nearest((pts - self.first_pts) * self.time_base * self.rate)

    @property
    def seek_seconds(self) -> float | None:
        """Where to start decoding, in the source's own time; None: at its start."""
        seconds = self.first / self.rate - SEEK_MARGIN_SECONDS
        if not self.seekable or seconds <= SEEK_MARGIN_SECONDS:
            return None
        return float(self.first_pts * self.time_base + seconds)


def plan(path: str, encoding: Encoding, *, start_seconds: float | None, end_seconds: float | None) -> Stretch:
    """Look into the source: its times, its size, and what of it is wanted.

    Raises:
        VideoDecodeError: it cannot be read, or there is no frame between the given seconds.
    """
    content = probe(path)  # refuses what is no video
    with open_container(path) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        first_frame = _first_frame(path, container)
        ratio, time_base = stream.sample_aspect_ratio or Fraction(1), stream.time_base
        rates = [rate for rate in (stream.guessed_rate, stream.average_rate) if rate]
    turns = _turns(first_frame)
    width, height = _result_size(first_frame.width, first_frame.height, ratio, turns, encoding.short_side_px)
    stamped = content.has_timestamps and first_frame.pts is not None and content.format not in FORMATS_WITHOUT_TIMES
    times = content.frame_seconds  # (num_frames,)
    gap = float(np.diff(times).max(initial=0.0))
    if stamped and gap > MAX_GAP_SECONDS:
        raise VideoDecodeError(path, f"its timestamps leap by {gap:g} s")
    times_are_known = stamped and not content.num_empty
    own_rate = _constant_rate(times, rates) if times_are_known else (rates or [None])[-1]
    if not own_rate:
        raise VideoDecodeError(path, "it has no frame rate")
    rate = own_rate if encoding.fps is None else Fraction(str(encoding.fps))
    if times_are_known:
        num_slots = _num_places(times, content.duration_seconds, own_rate, rate)
    else:  # at most
        shown_seconds = max((content.num_packets - content.num_discarded) / own_rate, content.duration_seconds)
        num_slots = _nearest(Fraction(shown_seconds) * rate)
    first, stop = frame_range(num_slots, float(rate), start_seconds, end_seconds)
    if stop <= first:
        lasts = float(num_slots / rate)
        end = lasts if end_seconds is None else end_seconds
        raise VideoDecodeError(
            path, f"no frame from {start_seconds or 0:g} s to {end:g} s: the video lasts {lasts:.2f} s"
        )
    return Stretch(
        path=path,
        stamped=stamped,
        own_rate=own_rate,
        rate=rate,
        first=first,
        stop=stop,
        stop_is_sure=content.num_frames is not None,
        first_pts=first_frame.pts if stamped else 0,
        time_base=time_base,
        seekable=stamped and content.format in SEEKABLE_FORMATS and not content.num_discarded,
        turns=turns,
        width=width,
        height=height,
    )


def with_pyav(stretch: Stretch, encoding: Encoding, target: Path, *, comment: str) -> int:
    """Write the stretch to `target`, whatever its suffix; return how many frames.

    Args:
        comment: kept in the file's metadata.

    Raises:
        VideoDecodeError: the source is damaged.
        OSError: the target cannot be written.
    """
    with av.open(f"file:{target}", "w", format="mp4", options=MP4_OPTIONS) as output:
        output.metadata["comment"] = comment
        stream = output.add_stream("libx264", rate=stretch.rate, options=encoding.encoder_options())
        stream.width, stream.height, stream.pix_fmt = stretch.width, stretch.height, "yuv420p"
        num_frames = 0
        for frame in _grid(stretch):
            if not num_frames:
                for name in ("color_primaries", "color_trc", "color_range", "colorspace"):
                    setattr(stream.codec_context, name, getattr(frame, name))
            frame.pts, frame.time_base = num_frames, 1 / stretch.rate
            frame.pict_type = av.video.frame.PictureType.NONE  # else x264 makes it what it was in the source
            output.mux(stream.encode(frame))
            num_frames += 1
        output.mux(stream.encode())
    return num_frames


def with_ffmpeg(stretch: Stretch, encoding: Encoding, target: Path, *, comment: str) -> int:
    """As `with_pyav`, by the ffmpeg program, 5.1 or newer.

    Raises:
        VideoDecodeError: the program gave up; its last words are the reason.
        OSError: there is no such program.
    """
    if stretch.stamped:
        first_shown = stretch.first_pts * stretch.time_base
        times = f"round(PTS-{first_shown.numerator}/{first_shown.denominator}/TB)"
    else:
        times = f"round(N*{stretch.own_rate.denominator}/{stretch.own_rate.numerator}/TB)"
    filters = [
        f"setpts={times}",
        f"fps=fps={stretch.rate}:round=near:eof_action=pass",  # from here on, a frame's time is its place in the grid
        f"trim=start_pts={stretch.first}:end_pts={stretch.stop}",
        "setpts=PTS-STARTPTS",
        f"scale={stretch.width}:{stretch.height}:out_range=tv",
        "setsar=1",
        "format=yuv420p",
    ]
    seek = [] if stretch.seek_seconds is None else ["-seek_timestamp", "1", "-ss", f"{stretch.seek_seconds:.6f}"]
    result = subprocess.run(
        [
            *("ffmpeg", "-nostdin", "-hide_banner", "-loglevel", "error", "-nostats", "-progress", "pipe:1", "-xerror"),
            *("-threads", "1", "-filter_threads", "1", "-copyts", "-noaccurate_seek", *seek),
            *("-i", f"file:{stretch.path}", "-map", "0:v:0", "-map_metadata", "-1", "-map_chapters", "-1"),
            *("-vf", ",".join(filters), "-fps_mode", "passthrough", "-c:v", "libx264"),
            *(word for name, value in encoding.encoder_options().items() for word in (f"-{name}", value)),
            *(word for name, value in MP4_OPTIONS.items() for word in (f"-{name}", value)),
            *("-metadata", f"comment={comment}", "-f", "mp4", "-y", f"file:{target}"),
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if result.returncode:
        lines = result.stderr.strip().splitlines() or [f"it ended with status {result.returncode}"]
        raise VideoDecodeError(stretch.path, f"ffmpeg: {lines[-1]}")
    counts = [line.removeprefix("frame=") for line in result.stdout.splitlines() if line.startswith("frame=")]
    return int(counts[-1]) if counts else 0


def check(target: Path, stretch: Stretch, num_frames: int) -> None:
    """Read the result back, as it lies on the disk.

    Raises:
        VideoDecodeError: the source gave fewer frames than its container promises, or the result is not what this
            module says it is.
    """
    promised = stretch.stop - stretch.first
    if not num_frames or (stretch.stop_is_sure and num_frames != promised):
        raise VideoDecodeError(stretch.path, f"damaged: {num_frames} of {promised} frames can be decoded")
    content = probe(str(target))
    if content.num_packets != num_frames:
        raise VideoDecodeError(str(target), f"{content.num_packets} of {num_frames} frames were written")
    if (
        content.num_discarded
        or content.open_gop
        or content.has_b_frames
        or set(content.gop_lengths[:-1]) - {GOP_LENGTH}
        or content.gop_lengths[-1] > GOP_LENGTH
    ):
        raise VideoDecodeError(str(target), f"not what was asked of the encoder: {content}")


def _grid(stretch: Stretch) -> Iterator[av.VideoFrame]:
    """The wanted frames of the constant-rate grid, each upright and in its final size."""
    finish = _Finish(stretch)
    shown = None  # the frame so far nearest to the place in the grid that comes next, or before it
    place = stretch.first
    for slot, frame in _decode(stretch):
        if shown is not None and slot > place:
            finished = finish(shown)
            while place < min(slot, stretch.stop):
                yield finished
                place += 1
        if place >= stretch.stop:
            return
        shown = frame
    if shown is not None:
        yield finish(shown)


def _decode(stretch: Stretch) -> Iterator[tuple[int, av.VideoFrame]]:
    """Decoded frames and their places in the grid, from at or before the first one wanted."""
    previous = None
    with open_container(stretch.path) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        if stretch.seek_seconds is not None:
            container.seek(int(stretch.seek_seconds / stretch.time_base), stream=stream)
        indices = count()
        try:
            for frame in container.decode(stream):
                previous = stretch.slot(next(indices), frame.pts, previous)
                yield previous, frame
        except av.FFmpegError as error:
            raise VideoDecodeError(stretch.path, f"damaged: {error.strerror}") from error


class _Finish:
    """Turns a decoded frame upright and scales it."""

    def __init__(self, stretch: Stretch) -> None:
        self._stretch = stretch
        self._graph: av.filter.Graph | None = None
        self._size = 0, 0

    def __call__(self, frame: av.VideoFrame) -> av.VideoFrame:
        if self._graph is None:
            self._graph, self._size = self._build(frame), (frame.width, frame.height)
        if frame.is_corrupt:
            raise VideoDecodeError(self._stretch.path, f"the frame at {frame.time or 0:g} s is damaged")
        if (frame.width, frame.height) != self._size:
            raise VideoDecodeError(
                self._stretch.path,
                f"its size changes from {self._size[0]}×{self._size[1]} to {frame.width}×{frame.height} pixels",
            )
        self._graph.push(frame)
        return self._graph.pull()

    def _build(self, frame: av.VideoFrame) -> av.filter.Graph:
        graph = av.filter.Graph()
        graph.threads = 1
        source = graph.add(
            "buffer",
            f"width={frame.width}:height={frame.height}:pix_fmt={frame.format.name}"
            f":time_base={self._stretch.time_base}:colorspace={int(frame.colorspace)}:range={int(frame.color_range)}",
        )
        turns = [graph.add(name, arguments) for name, arguments in self._stretch.turns]
        scale = graph.add("scale", f"{self._stretch.width}:{self._stretch.height}:out_range=tv")
        chain = (source, *turns, scale, graph.add("setsar", "1"), graph.add("format", "yuv420p"))
        graph.link_nodes(*chain, graph.add("buffersink")).configure()
        return graph


def _first_frame(path: str, container: av.container.InputContainer) -> av.VideoFrame:
    try:
        return next(container.decode(video=0))
    except StopIteration:
        raise VideoDecodeError(path, "no frame can be decoded") from None
    except av.FFmpegError as error:
        raise VideoDecodeError(path, f"damaged: {error.strerror}") from error


def _turns(frame: av.VideoFrame) -> tuple[tuple[str, str], ...]:
    (row_right, row_down), (column_right, column_down) = display_matrix(frame)
    turns = [TRANSPOSE] if row_right == 0 else []  # stored rows are shown as columns
    turns += [("vflip", "")] if row_down + column_down < 0 else []
    turns += [("hflip", "")] if row_right + column_right < 0 else []
    return tuple(turns)


def _result_size(
    width: int, height: int, ratio: Fraction, turns: tuple[tuple[str, str], ...], short_side_px: int
) -> tuple[int, int]:
    """Upright width and height, even, with square pixels, no side longer than that of the stored picture.

    Args:
        width, height: as stored.
        ratio: width of a stored pixel over its height.
    """
    shown = np.array([width * min(ratio, 1), height / max(ratio, 1)], dtype=float)
    if TRANSPOSE in turns:
        shown = shown[::-1]
    scale = min(1.0, short_side_px / shown.min())
    even = 2 * (shown * scale / 2 + (0.5 if scale < 1 else 0.0)).astype(int)  # rounds down where nothing is scaled
    return tuple(int(side) for side in np.maximum(even, 2))


def _constant_rate(times: np.ndarray, rates: list[Fraction]) -> Fraction | None:
    """The first rate at which each frame has a place of its own, one after the other; else the average one."""
    for rate in rates:
        if (_places(times, rate) == np.arange(len(times))).all():
            return rate
    if len(times) < 2:
        return rates[0] if rates else None
    return Fraction((len(times) - 1) / float(times[-1] - times[0])).limit_denominator(1001)


def _places(times: np.ndarray, rate: Fraction) -> np.ndarray:
    """Places in the grid of frames shown at these seconds."""
    return np.floor(np.round(times * float(rate), 6) + 0.5).astype(int)


def _num_places(times: np.ndarray, duration_seconds: float, own_rate: Fraction, rate: Fraction) -> int:
    """Places up to that of the last frame, but none that begins after the end of the video."""
    places = _places(times, rate)
    last = int(places[-1])
    if last + 1 == len(times) == len(np.unique(places)):  # a place for each frame, whatever the last one's duration
        return last + 1
    end = duration_seconds if duration_seconds > times[-1] else times[-1] + 1 / float(own_rate)
    return max(1, min(last + 1, math.ceil(round(end * float(rate), 6))))


def _nearest(number: Fraction) -> int:
    """The nearest integer, as FFmpeg rounds: halves go up."""
    return (2 * number.numerator + number.denominator) // (2 * number.denominator)
