"""Measures training clips: the stages of the loader, and the loader against bare decoding and other loaders."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from typing import get_args

import torch

from videoctx.bench.bare_decoding import BareDecoder, BareDecoding, Clip
from videoctx.bench.data_stages import stage_seconds
from videoctx.bench.epochs import InOrder, check, clip_of, epoch_seconds, read_all
from videoctx.bench.peer_process import Epoch, PeerProcess
from videoctx.bench.process_tree import cpu_seconds, cpu_seconds_since
from videoctx.bench.pytorchvideo_peer import PeerDecoder, PyTorchVideoPeer, Window
from videoctx.bench.spdl_peer import spdl_epoch
from videoctx.bench.torchcodec_peer import torchcodec_epoch
from videoctx.bench.training_thread import thread_seconds_per_batch
from videoctx.data.annotations import VideoRecord
from videoctx.data.decoding.containers import probe
from videoctx.data.loading.ahead import Ahead
from videoctx.data.loading.dataset import SampleIndex, VideoDataset
from videoctx.data.loading.loader import VideoLoader
from videoctx.data.sampling.clip_samplers import ClipShape, RandomClips
from videoctx.data.transforms.normalize import IMAGENET_MEAN, IMAGENET_STD, Normalize
from videoctx.data.transforms.train_transform import TrainTransform

PEERS = {
    "pytorchvideo": "pytorchvideo.data",
    "torchcodec": "torchcodec.decoders",
    "spdl": "spdl.io",
}  # what is imported
THREAD_BATCHES, THREAD_BATCH_SIZE = 3, 64  # over which the time of the thread that trains is measured


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingClips:
    """Random clips, as in training."""

    shape: ClipShape
    batch_size: int
    num_workers: int
    num_clips: int
    parts: frozenset[str]  # `bare`, `loaders`
    exact: frozenset[str]  # decoders that read all of the videos exactly
    peers: frozenset[str]  # of `PEERS`
    decoded_short_side_px: int | None = None  # of the loader's frames, where they are larger

    def stages(self, records: Sequence[VideoRecord]) -> dict[str, float]:
        """Return the seconds per clip of each stage, and how long the device waits for one."""
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        transform = _transform()
        dataset, samples = self._dataset(records), self._samples(records)
        seconds = stage_seconds(dataset, samples, transform=transform, batch_size=self.batch_size, device=device)
        with closing(self._loader(dataset, samples)) as loader:
            read_all(loader)  # the processes start
            waited, batches = 0.0, iter(loader)
            while True:
                start = time.perf_counter()
                batch = next(batches, None)
                waited += time.perf_counter() - start
                if batch is None:
                    break
                check(batch)
                transform(batch.to(device))
                if device.type == "cuda":
                    torch.cuda.synchronize()
        return {**seconds, "wait": waited / len(samples)}

    def clip_bytes(self, records: Sequence[VideoRecord]) -> int:
        """Return the bytes of the frames of a clip of the first video."""
        return self._dataset(records)[self._samples(records)[0]].frames.nbytes

    def thread_seconds(self, records: Sequence[VideoRecord]) -> float:
        """Return the CPU seconds that a batch costs the thread that trains (`training_thread`)."""
        samples = self._samples(records)
        num_samples = THREAD_BATCHES * THREAD_BATCH_SIZE
        sampler = InOrder([samples[index % len(samples)] for index in range(num_samples)])
        loader = VideoLoader(
            self._dataset(records),
            sampler,
            batch_size=THREAD_BATCH_SIZE,
            num_workers=self.num_workers,
            ahead=Ahead(torch.device("cpu"), _transform().prepare),
        )
        with closing(loader):
            return thread_seconds_per_batch(loader)

    def rounds(self, records: Sequence[VideoRecord], count: int) -> Iterator[dict[str, dict[str, float]]]:
        """Yield the wall and CPU seconds per clip of each way, for each round."""
        dataset, samples = self._dataset(records), self._samples(records)
        with ExitStack() as stack:
            loader = stack.enter_context(closing(self._loader(dataset, samples)))
            videos = read_all(loader)  # the processes start
            clips = [clip_of(video, self.shape) for video in videos]
            sides: dict[str, Callable[[], float]] = {}
            if "loaders" in self.parts:
                sides["ours"] = lambda: epoch_seconds(loader)
            for decoder in self._bare_decoders():
                bare = stack.enter_context(closing(BareDecoding(self.num_workers)))
                sides[f"bare_{decoder}"] = partial(bare.clips, clips, decoder)
            if "loaders" in self.parts:
                for name, make_epoch in (("torchcodec", torchcodec_epoch), ("spdl", spdl_epoch)):
                    if self._is_read_by(name):
                        sides[name] = stack.enter_context(closing(self._process(make_epoch, clips))).epoch
                if self._is_read_by("pytorchvideo"):
                    windows = [_window(clip, self.shape) for clip in clips]
                    peer = stack.enter_context(closing(self._peer(windows)))
                    of_peer = {f"pytorchvideo_{name}": partial(peer.epoch, name) for name in get_args(PeerDecoder)}
                    sides |= of_peer
            for side in sides.values():
                side()
            for _ in range(count):
                figures = {}
                for name, side in sides.items():
                    cpu = cpu_seconds()
                    seconds = side()
                    figures[name] = {
                        "seconds": seconds / self.num_clips,
                        "cpu_seconds": cpu_seconds_since(cpu) / self.num_clips,
                    }
                yield figures

    def _bare_decoders(self) -> Iterator[BareDecoder]:
        """Yield the decoders of which bare decoding is measured."""
        if "sparse" in self.exact:
            if "bare" in self.parts:
                yield "sparse_rgb"
            yield "sparse_yuv"
        if "decord" in self.exact:
            yield "decord"
        if "bare" in self.parts:
            for name in ("torchcodec", "spdl"):
                if self._is_read_by(name):
                    yield name

    def _is_read_by(self, peer: str) -> bool:
        """Return whether another project's loader is measured. All number frames as decord does, except torchcodec."""
        return peer in self.peers and ("torchcodec" if peer == "torchcodec" else "decord") in self.exact

    def _peer(self, windows: list[Window]) -> PyTorchVideoPeer:
        return PyTorchVideoPeer(
            windows, clip_len=self.shape.clip_len, batch_size=self.batch_size, num_workers=self.num_workers
        )

    def _process(self, make_epoch: Callable[..., Epoch], clips: list[Clip]) -> PeerProcess:
        name = make_epoch.__name__.removesuffix("_epoch")
        make = partial(make_epoch, clips, batch_size=self.batch_size, num_workers=self.num_workers)
        return PeerProcess(name, make, num_clips=len(clips))

    def _dataset(self, records: Sequence[VideoRecord]) -> VideoDataset:
        clips, size = RandomClips(shape=self.shape), self.decoded_short_side_px
        return VideoDataset(records, sampler=clips, seed=0, frames="yuv", short_side_px=size)

    def _samples(self, records: Sequence[VideoRecord]) -> list[SampleIndex]:
        return [SampleIndex(index % len(records), repeat=index // len(records)) for index in range(self.num_clips)]

    def _loader(self, dataset: VideoDataset, samples: Sequence[SampleIndex]) -> VideoLoader:
        return VideoLoader(dataset, InOrder(samples), batch_size=self.batch_size, num_workers=self.num_workers)


def _transform() -> TrainTransform:
    return TrainTransform(
        crop_size_px=224,
        short_side_px=(256, 320),
        flip_probability=0.5,
        normalize=Normalize(IMAGENET_MEAN, IMAGENET_STD),
    )


def _window(clip: Clip, shape: ClipShape) -> Window:
    """Return the seconds as users configure them: those of clip_len · frame_interval frames."""
    first = clip.frames[0]
    return Window.of_frames(clip.path, first, first + shape.clip_len * shape.frame_interval, probe(clip.path).fps)
