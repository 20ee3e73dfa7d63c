"""Encode a segment as a file of which every decoder returns exactly the requested frames, quickly.

The result is H.264 in mp4: closed groups of 16 frames, no B-frames, no edit list, a constant frame rate, upright
frames, square pixels, no sound. To read frame k, a decoder decodes at most 16 frames, and no player, seek or edit list
disagrees about which frame it is.

Each encoder uses one thread, because whole videos are encoded in parallel.
"""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import av

from data_prep.command_line.setting_error import SettingError
from data_prep.transcode.frame_grid import grid_frames
from data_prep.transcode.segment import Segment
from videoctx.atomic_write import WRITE_ERRORS
from videoctx.data.decoding.accepted_formats import FFMPEG_OPTIONS
from videoctx.data.decoding.containers import VideoDecodeError, probe

GOP_LENGTH = 16
# An edit list would state when the first frame is shown; without B-frames that is always at 0. The index comes first,
# because a reader of a remote file needs it first.
MP4_OPTIONS = {"use_editlist": "0", "movflags": "+faststart"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """The settings of the new videos.

    Raises:
        SettingError: a setting out of range.
    """

    short_side_px: int  # of larger videos; smaller ones keep their size
    fps: float | None  # None: the source's own rate, on average
    crf: int  # x264's constant rate factor: smaller is better and larger
    preset: str  # of x264: slower ones give smaller files

    def __post_init__(self) -> None:
        if self.short_side_px < 2 or self.short_side_px % 2:
            raise SettingError(f"--short_side_px is {self.short_side_px}; expected an even number, 2 or more")
        if self.fps is not None and not 0 < self.fps <= 1000:
            raise SettingError(f"--fps is {self.fps:g}; expected more than 0 and at most 1000")
        if not 0 <= self.crf <= 51:
            raise SettingError(f"--crf is {self.crf}; expected 0 to 51")

    def encoder_options(self) -> dict[str, str]:
        """Return the options of libx264, by the names that PyAV and the ffmpeg program share."""
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


def encode_with_pyav(segment: Segment, encoding: Encoding, target: Path, *, comment: str) -> int:
    """Write the segment to `target`, whatever its suffix; return the number of frames.

    Args:
        comment: stored in the file's metadata.

    Raises:
        VideoDecodeError: the source is damaged.
        OSError: the target cannot be written.
    """
    with av.open(f"file:{target}", "w", format="mp4", options=MP4_OPTIONS) as output:
        output.metadata["comment"] = comment
        stream = output.add_stream("libx264", rate=segment.rate, options=encoding.encoder_options())
        stream.width, stream.height, stream.pix_fmt = segment.width, segment.height, "yuv420p"
        num_frames = 0
        for frame in grid_frames(segment):
            if not num_frames:
                for name in ("color_primaries", "color_trc", "color_range", "colorspace"):
                    setattr(stream.codec_context, name, getattr(frame, name))
            frame.pts, frame.time_base = num_frames, 1 / segment.rate
            frame.pict_type = av.video.frame.PictureType.NONE  # otherwise x264 keeps the type it had in the source
            output.mux(stream.encode(frame))
            num_frames += 1
        output.mux(stream.encode())
    return num_frames


def encode_with_ffmpeg(segment: Segment, encoding: Encoding, target: Path, *, comment: str) -> int:
    """Do the same as `encode_with_pyav` with the ffmpeg program, 5.1 or newer.

    Raises:
        VideoDecodeError: the program failed; its last line is the reason.
        OSError: the target cannot be written, or there is no such program.
    """
    if segment.stamped:
        first_shown = segment.first_pts * segment.time_base
        times = f"round(PTS-{first_shown.numerator}/{first_shown.denominator}/TB)"
    else:
        times = f"round(N*{segment.own_rate.denominator}/{segment.own_rate.numerator}/TB)"
    filters = [
        f"setpts={times}",
        f"fps=fps={segment.rate}:round=near:eof_action=pass",  # from here on, a frame's time is its slot in the grid
        f"trim=start_pts={segment.first}:end_pts={segment.stop}",
        "setpts=PTS-STARTPTS",
        f"scale={segment.width}:{segment.height}:out_range=tv",
        "setsar=1",
        "format=yuv420p",
    ]
    seek = [] if segment.seek_seconds is None else ["-seek_timestamp", "1", "-ss", f"{segment.seek_seconds:.6f}"]
    result = subprocess.run(
        [
            *("ffmpeg", "-nostdin", "-hide_banner", "-loglevel", "error", "-nostats", "-progress", "pipe:1", "-xerror"),
            *FFMPEG_OPTIONS,
            *("-threads", "1", "-filter_threads", "1", "-copyts", "-noaccurate_seek", *seek),
            *(
                "-i",
                f"file:{segment.path}",
                "-map",
                f"0:{segment.stream_index}",
                "-map_metadata",
                "-1",
                "-map_chapters",
                "-1",
            ),
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
        full = next((code for code in WRITE_ERRORS if os.strerror(code) in result.stderr), None)
        if full is not None:
            raise OSError(full, os.strerror(full), str(target))
        lines = result.stderr.strip().splitlines() or [f"it ended with status {result.returncode}"]
        raise VideoDecodeError(segment.path, f"ffmpeg: {lines[-1]}")
    counts = [line.removeprefix("frame=") for line in result.stdout.splitlines() if line.startswith("frame=")]
    return int(counts[-1]) if counts else 0


def check_result(target: Path, segment: Segment, num_frames: int) -> None:
    """Read the result back from the disk.

    Raises:
        VideoDecodeError: the source gave fewer frames than its container promises, or the result is not as described
            at the top of this module.
    """
    promised = segment.stop - segment.first
    if not num_frames or (segment.stop_is_exact and num_frames != promised):
        raise VideoDecodeError(segment.path, f"damaged: {num_frames} of {promised} frames can be decoded")
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
        raise VideoDecodeError(str(target), f"not what was requested of the encoder: {content}")
