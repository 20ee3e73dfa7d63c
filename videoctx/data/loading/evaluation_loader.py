"""The loader of the videos that a network is evaluated on."""

from collections.abc import Sequence

from videoctx.data.annotations import VideoRecord
from videoctx.data.loading.dataset import VideoDataset
from videoctx.data.loading.loader import VideoLoader
from videoctx.data.preprocessing import Preprocessing
from videoctx.data.sampling.video_samplers import EvaluationSampler
from videoctx.data.settings import LoadingSettings
from videoctx.data.storage.local_files import LocalFiles


def evaluation_loader(
    records: Sequence[VideoRecord],
    preprocessing: Preprocessing,
    *,
    batch_size: int,
    loading: LoadingSettings,
    files: LocalFiles,
    seed: int,
    num_ranks: int,
    rank: int,
) -> VideoLoader:
    """Return a loader that decodes every video once, on one of the ranks.

    Args:
        records: Videos of the split, on all ranks.
        preprocessing: Number and placement of the clips.
        batch_size: Number of videos per step and device.
        loading: Decoding processes.
        files: Fetches remote files.
        seed: Seed that the dataset is given. Views do not depend on it.
        num_ranks: Number of ranks.
        rank: Rank that reads with this loader.
    """
    dataset = VideoDataset(
        records,
        sampler=preprocessing.sampler(),
        seed=seed,
        decoder=loading.decoder,
        frames=loading.evaluation_frames,
    )
    return VideoLoader(
        dataset,
        EvaluationSampler(len(records), num_ranks=num_ranks, rank=rank),
        batch_size=batch_size,
        num_workers=loading.num_workers,
        deadline_seconds=loading.deadline_seconds,
        files=files,
    )
