"""Training clips that are not those of the current epoch, for measuring statistics of a network during training."""

from collections.abc import Callable, Iterator
from itertools import islice

import torch

from videoctx.batch import ClipBatch
from videoctx.data.loading.dataset import DecodedBatch
from videoctx.data.loading.loader import VideoLoader
from videoctx.data.sampling.video_samplers import TrainSampler

BESIDE_TRAINING = 2**32  # epochs from here on are not those of training, so their clips are others


def clips_beside_training(
    loader: VideoLoader,
    transform: Callable[[DecodedBatch], ClipBatch],
    *,
    num_batches: int,
    epoch: int,
    device: torch.device,
) -> Iterator[ClipBatch]:
    """Yield batches of training clips on the device, without using up those of the epoch.

    With multigrid training the clips have the full shape.

    Args:
        loader: Loader of training clips. It is changed until the last batch is read, and then set to `epoch` again.
        transform: Makes network input of a decoded batch, on its device.
        num_batches: Number of batches at most.
        epoch: Current epoch of training.
        device: Device of the clips.
    """
    sampler = loader.sampler
    assert isinstance(sampler, TrainSampler), "the loader of training clips has a training sampler"
    batch_sampler, loader.batch_sampler = loader.batch_sampler, None
    sampler.set_epoch(epoch + BESIDE_TRAINING)
    try:
        for batch in islice(loader.decoded(), num_batches):
            yield transform(batch.to(device, non_blocking=True))
    finally:
        loader.batch_sampler = batch_sampler
        sampler.set_epoch(epoch)
