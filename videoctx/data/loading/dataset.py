"""The dataset: it decodes the clips of one video. An index is a video, not a clip.

Every random choice about a video depends on (seed, epoch, video, repeat), and not on the worker, the rank, or earlier
samples. So a resumed run and a run with other workers see the same clips.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from videoctx.batch import Failure
from videoctx.data.annotations.video_record import ProbeResult, VideoRecord
from videoctx.data.decoding.area_scaling import scaled
from videoctx.data.decoding.containers import VideoDecodeError
from videoctx.data.decoding.video_reader import Decoder, check_decoder, open_video
from videoctx.data.decoding.yuv_frames import DecodedFrames, FrameFormat, YuvColors, check_frame_format
from videoctx.data.loading.page_locking import pinned
from videoctx.data.loading.segment import Segment, TimedReader, segment_frames
from videoctx.data.sampling.clip_samplers import ClipSampler, NoClipError, RandomClips
from videoctx.data.sampling.frame_order import in_order


class SampleIndex(NamedTuple):
    """An index of the dataset: a video, and how to sample its clips."""

    video: int
    epoch: int = 0
    repeat: int = 0  # number of times that the video has come before in this epoch
    clip_len: int | None = None  # length of shorter clips, in multigrid training
    crop_size_px: int | None = None  # side of smaller crops, in multigrid training


@dataclass(slots=True)
class DecodedVideo:
    """The distinct frames of all clips of a video, and the positions of each clip's frames among them.

    The frames are RGB, or planes that the device converts (`videoctx.data.decoding.yuv_frames`).
    """

    path: str
    row: int  # row in its split of the manifest, from 0
    label: int | tuple[bool, ...]  # class index, -1: not given; or whether each class is shown
    seed: int  # seed of the transforms on the device
    frames: Tensor  # (U, H, W, 3) uint8 RGB, U distinct frames; or with `colors`, planes (U, 3 H / 2, W)
    clips: Tensor  # (num_clips, clip_len) int64, positions in `frames`
    starts: list[int]  # first frame of each clip in the video as recorded, num_clips
    failure: Failure | None = None  # why there are no frames
    crop_size_px: int | None = None  # side of smaller crops, in multigrid training
    colors: YuvColors | None = None  # how the planes become RGB. None: the frames are RGB

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the frames."""
        rows, width = self.frames.shape[1:3]
        return (rows if self.colors is None else rows * 2 // 3), width

    @classmethod
    def failed(cls, record: VideoRecord, row: int, reason: str) -> "DecodedVideo":
        """Return a video without frames that could not be read for this reason."""
        frames, clips = torch.empty(0, 0, 0, 3, dtype=torch.uint8), torch.empty(0, 0, dtype=torch.int64)
        return cls(record.path, row, record.class_index, 0, frames, clips, [], Failure(record.path, reason))


@dataclass(slots=True)
class DecodedBatch:
    """Decoded videos, which may differ in size."""

    videos: list[DecodedVideo]

    def pin_memory(self) -> "DecodedBatch":
        """Return a copy with the frames in pinned memory, as far as the system provides it."""
        return self._map(pinned)

    def to(self, device: torch.device, *, non_blocking: bool = False) -> "DecodedBatch":
        """Return a copy with the frames on `device`, in one buffer. Frames that are there already are not copied."""
        for video in self.videos:
            if video.frames.is_cuda:  # its memory is not to be used again before this thread's stream has read it
                video.frames.record_stream(torch.cuda.current_stream(video.frames.device))
        if all(video.frames.device == device for video in self.videos):
            return self
        moved = packed([video.frames for video in self.videos], device, non_blocking=non_blocking)
        return DecodedBatch([replace(video, frames=frames) for video, frames in zip(self.videos, moved, strict=True)])

    def _map(self, function: Callable[[Tensor], Tensor]) -> "DecodedBatch":
        return DecodedBatch([replace(video, frames=function(video.frames)) for video in self.videos])


def packed(frames: Sequence[Tensor], device: torch.device, *, non_blocking: bool = False) -> list[Tensor]:
    """Copy frames of videos, RGB or planes, into one buffer on a device. After the last, one more row can be read."""
    spare = 3 * max((video.shape[2] for video in frames), default=0)
    buffer = torch.empty(sum(video.numel() for video in frames) + spare, dtype=torch.uint8, device=device)
    parts = buffer.split([*(video.numel() for video in frames), spare])
    copies = []
    for video, part in zip(frames, parts, strict=False):
        copies.append(part.view(video.shape))
        copies[-1].copy_(video, non_blocking=non_blocking)
    return copies


class FrameReader(TimedReader, Protocol):
    """A `VideoReader` that may return frames on another device."""

    def read(self, indices: np.ndarray) -> np.ndarray | Tensor: ...


@runtime_checkable
class PlaneReader(Protocol):
    """A reader that may return planes for the device to convert."""

    def read_yuv(self, indices: np.ndarray) -> DecodedFrames: ...


class OpenReader(Protocol):
    """A function such as `open_video`."""

    def __call__(
        self, path: str, decoder: Decoder, probe_result: ProbeResult | None, fps: float | None, /
    ) -> AbstractContextManager[FrameReader]: ...


class DecodedClips(NamedTuple):
    """The fields of a `DecodedVideo` that are decoded."""

    frames: Tensor
    clips: Tensor
    colors: YuvColors | None


def decode_clips(
    reader: FrameReader, indices: np.ndarray, frames: FrameFormat = "rgb", short_side_px: int | None = None
) -> DecodedClips:
    """Decode each distinct frame of some clips once.

    Args:
        indices: (num_clips, clip_len) frame indices.
        frames: Format of the frames. With `yuv`, frames that the device cannot convert are RGB.
        short_side_px: Short side that larger frames are scaled to, unless they are on a GPU. None: they are not scaled.
    """
    distinct, positions = np.unique(indices, return_inverse=True)
    pixels: np.ndarray | Tensor
    if frames == "yuv" and isinstance(reader, PlaneReader):
        pixels, colors = reader.read_yuv(distinct)
    else:
        pixels, colors = reader.read(distinct), None
    if isinstance(pixels, np.ndarray) and colors is None:
        pixels = scaled(pixels, short_side_px)  # if the reader has not done so
    return DecodedClips(torch.as_tensor(pixels), torch.from_numpy(positions.reshape(indices.shape)), colors)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipDecoder:
    """Decodes the clips of one video. A decoding process gets it once, and a record with each video.

    Args:
        sampler: Selects the frames of a video's clips.
        seed: Seed of all random choices.
        decoder: Decoding library (`videoctx.data.decoding.video_reader.open_video`).
        frames: Format of the frames. With `yuv`, a video whose frames the device cannot convert is RGB.
        short_side_px: Short side that larger frames are scaled to where they are decoded. None: they are not scaled.
    """

    sampler: ClipSampler
    seed: int
    decoder: Decoder
    frames: FrameFormat = "rgb"
    short_side_px: int | None = None

    def load(
        self, index: SampleIndex, record: VideoRecord, location: str, *, open_reader: OpenReader | None = None
    ) -> DecodedVideo:
        """Return the video of a record, decoded from the local file at `location` (by `open_video` unless told)."""
        rng = np.random.default_rng((self.seed, index.epoch, index.video, index.repeat))
        device_seed = int(rng.integers(2**63))
        try:
            decoded, starts = self._decode(record, location, rng, index.clip_len, open_reader or self._open)
        except VideoDecodeError as error:
            return DecodedVideo.failed(record, index.video, error.reason)
        return DecodedVideo(
            record.path,
            index.video,
            record.class_index,
            device_seed,
            decoded.frames,
            decoded.clips,
            starts,
            crop_size_px=index.crop_size_px,
            colors=decoded.colors,
        )

    def _decode(
        self,
        record: VideoRecord,
        location: str,
        rng: np.random.Generator,
        clip_len: int | None,
        open_reader: OpenReader,
    ) -> tuple[DecodedClips, list[int]]:
        sampler = self.sampler
        if clip_len is not None:
            assert isinstance(sampler, RandomClips), "only training has shorter clips"
            sampler = sampler.shortened(clip_len, rng)
        with open_reader(location, self.decoder, record.probe_result, record.fps) as reader:
            first, stop = segment_frames(reader, Segment(record.start_seconds, record.end_seconds), record.path)
            try:
                wanted = sampler.clips(stop - first, reader.fps, rng)  # (num_clips, clip_len)
            except NoClipError as error:
                raise VideoDecodeError(record.path, str(error)) from error
            shown = in_order(wanted, sampler.frame_order, rng)
            decoded = decode_clips(reader, first + shown, self.frames, self.short_side_px)
        return decoded, (first + wanted[:, 0]).tolist()

    def _open(
        self, path: str, decoder: Decoder, probe_result: ProbeResult | None, fps: float | None, /
    ) -> AbstractContextManager[FrameReader]:
        return open_video(path, decoder, probe_result, fps=fps, short_side_px=self.short_side_px)


class VideoDataset(Dataset[DecodedVideo]):
    """A dataset of videos: `dataset[SampleIndex(video, epoch)]` decodes one video once, for all of its clips.

    A video that cannot be read is returned with its `failure`. It is never replaced by another.

    Args:
        records: Rows of the manifest.
        sampler: Selects the frames of a video's clips.
        seed: Seed of all random choices.
        decoder: Decoding library (`videoctx.data.decoding.video_reader.open_video`).
        frames: Format of the frames. With `yuv`, a video whose frames the device cannot convert is RGB.
        short_side_px: Short side that larger frames are scaled to where they are decoded. None: they are not scaled.

    Raises:
        ValueError: The decoder is unknown.
        ImportError: The decoder is not installed.
    """

    def __init__(
        self,
        records: Sequence[VideoRecord],
        *,
        sampler: ClipSampler,
        seed: int,
        decoder: Decoder = "auto",
        frames: FrameFormat = "rgb",
        short_side_px: int | None = None,
    ) -> None:
        check_decoder(decoder)  # here, and not only in a decoding process
        check_frame_format("frames", frames)
        self.records = records
        self.clip_decoder = ClipDecoder(
            sampler=sampler, seed=seed, decoder=decoder, frames=frames, short_side_px=short_side_px
        )

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: SampleIndex) -> DecodedVideo:
        record = self.records[index.video]
        return self.clip_decoder.load(index, record, record.path)
