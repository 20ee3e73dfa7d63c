"""One row of the manifest, and what inspection found about its file."""

from dataclasses import dataclass

FRAMES = "frames"  # the decoder of images


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What `data_prep.inspect_videos` found about a file."""

    size_bytes: int
    decoders: tuple[str, ...]  # exact on this file, the fastest first
    num_frames: int  # that can be decoded
    fps: float  # average
    variable_frame_rate: bool = False
    problem: str | None = None  # why the file cannot be used
    video_stream: int | None = None  # index among all streams of the file; None: not stated

    def as_row(self) -> dict[str, str]:
        """Return the columns of the manifest."""
        return {
            "size_bytes": str(self.size_bytes),
            "decoders": " ".join(self.decoders),
            "num_frames": str(self.num_frames),
            "fps": repr(self.fps),
            "variable_frame_rate": "yes" if self.variable_frame_rate else "",
            "problem": self.problem or "",
            "video_stream": "" if self.video_stream is None else str(self.video_stream),
        }


@dataclass(frozen=True, slots=True)
class VideoRecord:
    """One row of the manifest."""

    path: str  # resolved path or URL of the file
    label: int | tuple[bool, ...] | None  # class index, or whether each class is shown; None: not given
    split: str
    start_seconds: float | None = None
    end_seconds: float | None = None
    weight: float = 1.0
    probe_result: ProbeResult | None = None  # None: not inspected
    fps: float | None = None  # of images that were not inspected; None: not given

    @property
    def class_index(self) -> int | tuple[bool, ...]:
        """The label for tensors: -1 if it is not given."""
        return -1 if self.label is None else self.label
