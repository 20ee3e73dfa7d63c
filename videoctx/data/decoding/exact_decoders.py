"""What is known of a video file, and which decoders are exact on it.

decord and torchcodec number the packets and take packet k for
frame k. They are exact if every packet shows one frame, has a timestamp, and the container can be seeked. decord also
takes a key frame's position in decoding order for its position in presentation order and ignores edit lists. On other
files it silently returns different frames than requested, or never returns. PyAV decodes from the first frame on and is
exact on all files; `sparse` is PyAV too, and exact if the packets' bytes show on what frames depend. Some properties
leave it open whether a decoder is exact. PyAV reads such files.
"""

from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise

import numpy as np

from videoctx.data.decoding.parameter_sets import FIELDS_APART

# FFmpeg's names of the containers in which packet k can be frame k, given the conditions below.
MP4, MATROSKA, AVI = "mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi"
INDEXED_FORMATS = (MP4, MATROSKA, AVI)
AVI_CODECS = ("mpeg4", "mjpeg")  # AVI stores when a frame is decoded, not when it is shown
DECORD_CODECS = ("h264", "hevc", "vp8", "vp9", "mpeg4", "mjpeg")  # not av1: its FFmpeg is older than AV1
INTRA_CODECS = ("mjpeg", "prores", "dnxhd", "ffv1", "rawvideo", "png", "huffyuv")
TESTED_CODECS = ("h264", "hevc", "av1", "vp8", "vp9", "mpeg4", "mjpeg")  # all decoders were compared on them
DECORD_MIN_WIDTH = 80  # it takes the row padding of some narrower frames for pixels
DECODERS = ("sparse", "decord", "torchcodec", "pyav")  # the fastest first


@dataclass(frozen=True, slots=True)
class Container:
    """The video stream of a file that `video_stream` chooses."""

    format: str  # FFmpeg's name
    stream_index: int  # among all streams of the file
    num_video_streams: int  # cover art included
    codec: str
    width: int  # as stored, before rotation
    height: int
    pixel_format: str  # FFmpeg's name
    full_range: bool  # luma from 0 to 255, not from 16 to 235
    rotation: int  # degrees counterclockwise that turn the stored frame upright, a multiple of 90
    mirrored: bool  # after the rotation the frame is mirrored too
    fps: float  # average, by the times of the packets if they have any
    rate: Fraction  # the same as a fraction, such as 30000/1001; 0 if it is unknown
    num_packets: int  # video packets, discarded ones included; not always the number of frames
    num_discarded: int  # packets that an edit list removes
    num_empty: int  # packets that show no frame, or may show none
    duration_seconds: float  # from the first frame shown to the end of the last
    variable_frame_rate: bool
    gop_lengths: tuple[int, ...]  # number of packets from each key frame to the next
    has_b_frames: bool  # a frame is decoded before one that is shown earlier
    open_gop: bool  # a frame that is decoded after a key frame is shown before it
    has_timestamps: bool  # every packet has a presentation time, and all are distinct
    starts_with_key_frame: bool
    is_fragmented: bool  # an MP4 file in movie fragments
    has_duration: bool  # the container states one
    num_false_key_frames: int  # packets that are marked or indexed as key frames and hold other frames
    unproven: str | None  # what keeps the sparse decoder from being exact, by the packets' bytes
    key_frames: tuple[int, ...]  # indices of the frames shown that are marked as key frames
    damage: str | None  # what the file lacks by its own headers, though frames can be decoded; None: nothing
    frame_seconds: np.ndarray = field(repr=False, compare=False)
    """(num_frames,) float64: time of frame k, relative to the first frame. The times are evenly spaced if packets have
    no timestamps (`has_timestamps`). Seconds of an annotation are looked up here if the frame rate is variable."""

    @property
    def why_not(self) -> dict[str, str]:
        """Decoders that may not be exact on this file, and why."""
        never, unsure = self._why_never, self._why_unsure
        return (dict.fromkeys(("decord", "torchcodec"), unsure) if unsure else {}) | never

    @property
    def decoders(self) -> tuple[str, ...]:
        """Decoders that are exact on this file, the fastest first, whether or not they are installed."""
        return tuple(decoder for decoder in DECODERS if decoder not in self.why_not)

    @property
    def candidates(self) -> tuple[str, ...]:
        """Decoders that are exact on this file if they agree with PyAV on some frames, the fastest first."""
        return tuple(decoder for decoder in DECODERS if decoder not in self._why_never)

    @property
    def _why_never(self) -> dict[str, str]:
        reasons = {
            "sparse": self._why_not_counted or self._why_not_sparse,
            "torchcodec": self._why_not_numbered,
            "decord": self._why_not_numbered or self._why_not_decord,
        }
        return {decoder: reason for decoder, reason in reasons.items() if reason}

    @property
    def _why_unsure(self) -> str | None:
        """The reason why only a comparison of frames can tell whether decoders are exact, if there is one."""
        if self.is_fragmented:
            return "movie fragments"
        if self.num_video_streams > 1:
            return f"{self.num_video_streams} video streams"
        if self.num_discarded:
            return "an edit list removes frames"
        if "444" in self.pixel_format or self.pixel_format.startswith("gbr"):
            return "4:4:4"
        if not self.has_duration:
            return "the container states no duration"
        if self.num_false_key_frames:
            return f"{self.num_false_key_frames} packets are marked or indexed as key frames and are none"
        if any(later < earlier for earlier, later in pairwise(self.key_frames)):
            return "key frames are shown in another order than they are stored"
        if self.codec not in TESTED_CODECS:
            return f"{self.codec} was not tested"
        return None

    @property
    def num_frames(self) -> int | None:
        """Number of frames if the file is complete. None if only decoding can tell."""
        return None if self._why_not_counted else self.num_packets - self.num_discarded

    @property
    def _why_not_numbered(self) -> str | None:
        """The reason why packet k may not be frame k for a decoder that relies on the container, if there is one."""
        if self._why_not_counted:
            return self._why_not_counted
        if self.mirrored:
            return "a display matrix that mirrors"
        if len(self.gop_lengths) == self.num_packets > 1 and self.codec not in INTRA_CODECS:
            return f"all frames are marked as key frames, which {self.codec} rarely is"
        return None

    @property
    def _why_not_counted(self) -> str | None:
        """The reason why the packets in the order of their times may not be the frames, if there is one."""
        if self.format not in INDEXED_FORMATS:
            return f"frames are not numbered in {self.format}"
        if self.unproven == FIELDS_APART:
            return FIELDS_APART
        if self.num_empty:
            return f"{self.num_empty} of {self.num_packets} packets may show no frame of their own"
        if not self.has_timestamps:
            return "frames lack timestamps"
        if not self.starts_with_key_frame:
            return "it does not start with a key frame"
        if self.format == AVI and self.codec not in AVI_CODECS:
            return f"{self.codec} in AVI"
        if self.format == AVI and self.has_b_frames:
            return "B-frames in AVI"
        return None

    @property
    def _why_not_sparse(self) -> str | None:
        return "B-frames of MPEG-4" if self.codec == "mpeg4" and self.has_b_frames else self.unproven

    @property
    def _why_not_decord(self) -> str | None:
        if self.codec not in DECORD_CODECS:
            return f"it cannot decode {self.codec} exactly"
        if self.is_fragmented:
            return "movie fragments"
        if self.num_video_streams > 1:
            return f"{self.num_video_streams} video streams, of which it chooses another one"
        if not self.has_duration:
            return "the container states no duration, and it refuses such files"
        if self.num_discarded:
            return "an edit list removes frames"
        if self.open_gop:
            return "open GOPs"
        if min(self.width, self.height) < DECORD_MIN_WIDTH:
            return f"frames narrower than {DECORD_MIN_WIDTH} pixels"
        return None
