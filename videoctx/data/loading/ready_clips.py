"""Batches for use without a Trainer: decoded and transformed on the CPU."""

from collections.abc import Callable, Iterator
from itertools import count

from videoctx.batch import ClipBatch
from videoctx.data.loading.dataset import DecodedBatch
from videoctx.data.loading.loader import VideoLoader
from videoctx.data.sampling.video_samplers import TrainSampler


class ReadyClips:
    """A loader of `ClipBatch`es on the CPU.

    Every pass over a training loader is the next epoch, with another order and other clips.

    Args:
        loader: Loader of decoded videos.
        transform: Makes network input of a decoded batch.
    """

    def __init__(self, loader: VideoLoader, transform: Callable[[DecodedBatch], ClipBatch]) -> None:
        self.loader = loader
        self.transform = transform
        self._epochs = count()

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[ClipBatch]:
        if isinstance(self.loader.sampler, TrainSampler):
            self.loader.sampler.set_epoch(next(self._epochs))
        for batch in self.loader.decoded():
            yield self.transform(batch)

    def close(self) -> None:
        """End the decoding processes. The next pass starts them again."""
        self.loader.close()
