"""The dataset: a record, a sampler and a decoder give the clips of one video. An index is a video, not a clip.

Every random choice about a video follows from (seed, epoch, video, repeat): not from the worker, the rank, or what
was drawn before. So a resumed run and a run on other workers see the same clips.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from videoctx.batch import Failure
from videoctx.data.annotations import VideoRecord
from videoctx.data.decoding.containers import VideoDecodeError, probe
from videoctx.data.decoding.video_reader import Decoder, VideoReader, open_video
from videoctx.data.sampling.clip_samplers import ClipSampler, NoClipError, frame_range


class SampleIndex(NamedTuple):
    """What a sampler asks of the dataset."""

    video: int
    epoch: int = 0
    repeat: int = 0  # how often the video has come before in this epoch
    clip_len: int | None = None  # of multigrid training, if the sampler's clips are to be shorter
    crop_size_px: int | None = None  # likewise


@dataclass(slots=True)
class DecodedVideo:
    """The frames of all clips of a video, each once, and how the clips are made of them."""

    path: str
    row: int  # in its split of the manifest, from 0
    label: int | tuple[bool, ...]  # -1: not given; or for each class whether it is shown
    seed: int  # for what is drawn on the device
    frames: Tensor  # (U, H, W, 3) uint8, U distinct frames
    clips: Tensor  # (num_clips, clip_len) int64, positions in `frames`
    starts: list[int]  # num_clips, first frame of each clip in the video
    failure: Failure | None = None  # then there are no frames
    crop_size_px: int | None = None  # of multigrid training, if another is asked for than the transform's

    @classmethod
    def failed(cls, record: VideoRecord, row: int, reason: str) -> "DecodedVideo":
        """A video of which there is nothing but the reason."""
        frames, clips = torch.empty(0, 0, 0, 3, dtype=torch.uint8), torch.empty(0, 0, dtype=torch.int64)
        return cls(record.path, row, record.class_index, 0, frames, clips, [], Failure(record.path, reason))


@dataclass(slots=True)
class DecodedBatch:
    """What a worker sends: videos of whatever sizes."""

    videos: list[DecodedVideo]

    def pin_memory(self) -> "DecodedBatch":
        return self._map(lambda frames: frames.pin_memory())

    def to(self, device: torch.device, *, non_blocking: bool = False) -> "DecodedBatch":
        return self._map(lambda frames: frames.to(device, non_blocking=non_blocking))

    def _map(self, function) -> "DecodedBatch":
        return DecodedBatch([replace(video, frames=function(video.frames)) for video in self.videos])


def decode_clips(reader: VideoReader, indices: np.ndarray) -> tuple[Tensor, Tensor]:
    """Decode each distinct frame of some clips once.

    Args:
        indices: (num_clips, clip_len) frame numbers.

    Returns:
        Frames (U, H, W, 3) uint8, and the position of each clip's frames in them, (num_clips, clip_len) int64.
    """
    distinct, positions = np.unique(indices, return_inverse=True)
    return torch.from_numpy(reader.read(distinct)), torch.from_numpy(positions.reshape(indices.shape))


class VideoDataset(Dataset):
    """`dataset[SampleIndex(video, epoch)]` decodes one video, once, for all of its clips.

    A video that cannot be read comes back with its `failure`; it is never replaced by another.
    """

    def __init__(
        self, records: Sequence[VideoRecord], *, sampler: ClipSampler, seed: int, decoder: Decoder = "auto"
    ) -> None:
        self.records = records
        self.sampler = sampler
        self.seed = seed
        self.decoder = decoder

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, draw: SampleIndex) -> DecodedVideo:
        return self.load(draw, self.records[draw.video].path)

    def load(self, draw: SampleIndex, location: str) -> DecodedVideo:
        """The video of `draw`, read from the file at `location`."""
        record = self.records[draw.video]
        rng = np.random.default_rng((self.seed, draw.epoch, draw.video, draw.repeat))
        device_seed = int(rng.integers(2**63))
        try:
            frames, clips, starts = self._decode(record, location, rng, draw.clip_len)
        except VideoDecodeError as error:
            return DecodedVideo.failed(record, draw.video, error.reason)
        return DecodedVideo(
            record.path,
            draw.video,
            record.class_index,
            device_seed,
            frames,
            clips,
            starts,
            crop_size_px=draw.crop_size_px,
        )

    def _decode(
        self, record: VideoRecord, location: str, rng: np.random.Generator, clip_len: int | None
    ) -> tuple[Tensor, Tensor, list[int]]:
        sampler = self.sampler if clip_len is None else self.sampler.shortened(clip_len, rng)
        with open_video(location, self.decoder, record.probe_result) as reader:
            first, stop = self._frame_range(record, location, reader)
            try:
                wanted = sampler.clips(stop - first, reader.fps, rng)  # (num_clips, clip_len)
            except NoClipError as error:
                raise VideoDecodeError(record.path, str(error)) from error
            frames, clips = decode_clips(reader, first + wanted)
        return frames, clips, (first + wanted[:, 0]).tolist()

    def _frame_range(self, record: VideoRecord, location: str, reader: VideoReader) -> tuple[int, int]:
        """The record's frames: all, or those of its seconds.

        Raises:
            VideoDecodeError: there is none.
        """
        start, end = record.start_seconds, record.end_seconds
        times = None
        if (start, end) != (None, None) and (record.probe_result is None or record.probe_result.variable_frame_rate):
            container = probe(location)
            times = container.frame_seconds if container.variable_frame_rate else None
        first, stop = frame_range(reader.num_frames, reader.fps, start, end, frame_seconds=times)
        if stop <= first:
            seconds = reader.num_frames / reader.fps if reader.fps else 0.0
            stretch = f"from {start or 0:g} s to {seconds if end is None else end:g} s"
            raise VideoDecodeError(record.path, f"no frame {stretch}: the video lasts {seconds:.2f} s")
        return first, stop
