"""PyTorchVideo's `LabeledVideoDataset` as its users run it, with either of its decoders, on the clips of our loader.

`get_clip` decodes all frames of a clip, `UniformTemporalSubsample` keeps `clip_len` of them, and a `DataLoader`
collates them. Nothing is cropped or normalized, and no sound is decoded. It runs in its own process, because its
decord decoder sets decord's bridge for the whole process.
"""

import multiprocessing
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor
from torch.utils.data import DataLoader, SequentialSampler

from videoctx.bench.peer_process import end
from videoctx.interrupts import without_interrupts

PeerDecoder = Literal["pyav", "decord"]


class Window(NamedTuple):
    """A segment of a video."""

    path: str
    start_seconds: float
    end_seconds: float

    @classmethod
    def of_frames(cls, path: str, first: int, stop: int, fps: float) -> "Window":
        """Return the segment of frames first to stop - 1, with ends half a frame away from them, safe from rounding."""
        return cls(path, max(first - 0.5, 0) / fps, (stop - 0.5) / fps)


class PyTorchVideoPeer:
    """A process with a `DataLoader` for each decoder, whose workers stay until `close`.

    Args:
        windows: the clips, in order. Worker i takes those whose index is i modulo `num_workers`.
    """

    def __init__(self, windows: Sequence[Window], *, clip_len: int, batch_size: int, num_workers: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, child_end = context.Pipe()
        settings = (list(windows), clip_len, batch_size, num_workers)
        self._process = context.Process(target=_serve, args=(child_end, *settings))
        with without_interrupts():
            self._process.start()
        child_end.close()

    def epoch(self, decoder: PeerDecoder) -> float:
        """Read every window once, and return the seconds."""
        seconds, _ = self._ask(decoder, keep=False)
        return seconds

    def frames(self, decoder: PeerDecoder) -> dict[Window, Tensor]:
        """Return the clips of all windows: (3, clip_len, H, W) float32, 0 to 255."""
        _, frames = self._ask(decoder, keep=True)
        return frames

    def close(self) -> None:
        self._connection.close()
        end(self._process)

    def _ask(self, decoder: PeerDecoder, *, keep: bool) -> tuple[float, dict[Window, Tensor]]:
        self._connection.send((decoder, keep))
        try:
            return self._connection.recv()
        except EOFError:
            raise RuntimeError("the process of PyTorchVideo has ended; its error is above") from None


# In its process ---------------------------------------------------------------------------------------------------


class _GivenWindow:
    """A clip sampler: one clip per video, the window that is given with the video."""

    def __call__(self, last_clip_time: float, video_duration: float, annotation: dict) -> tuple:  # noqa: ARG002
        return annotation["start_seconds"], annotation["end_seconds"], 0, 0, True

    def reset(self) -> None:
        """Do nothing: the sampler has no state."""


class _UniformTemporalSubsample:
    """PyTorchVideo's transform, whose module cannot be imported with today's torchvision."""

    def __init__(self, num_samples: int) -> None:
        self.num_samples = num_samples

    def __call__(self, sample: dict) -> dict:
        num_frames = sample["video"].shape[1]
        indices = torch.linspace(0, num_frames - 1, self.num_samples).clamp(0, num_frames - 1).long()
        return {**sample, "video": torch.index_select(sample["video"], 1, indices)}  # (3, num_samples, H, W)


def _serve(connection: Connection, windows: list[Window], clip_len: int, batch_size: int, num_workers: int) -> None:
    from pytorchvideo.data import LabeledVideoDataset

    def make_loader(decoder: PeerDecoder) -> DataLoader:
        dataset = LabeledVideoDataset(
            [(window.path, {"index": index, **window._asdict()}) for index, window in enumerate(windows)],
            _GivenWindow(),
            SequentialSampler,
            transform=_UniformTemporalSubsample(clip_len),
            decode_audio=False,
            decoder=decoder,
        )
        return DataLoader(dataset, batch_size=batch_size, num_workers=num_workers, persistent_workers=True)

    loaders = {decoder: make_loader(decoder) for decoder in get_args(PeerDecoder)}
    while True:
        try:
            decoder, keep = connection.recv()
        except EOFError:  # the other end was closed
            return
        start = time.perf_counter()
        num_clips = 0
        frames: dict[Window, Tensor] = {}
        for batch in loaders[decoder]:
            num_clips += len(batch["index"])
            if keep:
                frames |= {windows[index]: clip for index, clip in zip(batch["index"], batch["video"], strict=True)}
        seconds = time.perf_counter() - start
        if num_clips != len(windows):  # it skips videos that it cannot read
            raise RuntimeError(f"PyTorchVideo read {num_clips} of {len(windows)} clips with {decoder}")
        connection.send((seconds, frames))
