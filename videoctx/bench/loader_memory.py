"""The memory of a loader over many videos."""

import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from videoctx.bench.epochs import InOrder, check
from videoctx.bench.process_tree import resident_bytes
from videoctx.data.annotations import VideoRecord
from videoctx.data.loading.dataset import SampleIndex, VideoDataset
from videoctx.data.loading.loader import VideoLoader
from videoctx.data.sampling.clip_samplers import ClipShape, RandomClips

NUM_WORKERS = 4
FIRST_LOOK, LOOK_EVERY = 200, 100  # videos


def loader_memory(
    records: Sequence[VideoRecord], shape: ClipShape, *, batch_size: int, num_videos: int
) -> dict[str, list[int]]:
    """Bytes in use by all processes, first after `FIRST_LOOK` videos.

    Each video is a file of its own name, so that nothing is known of it from before.
    """
    videos, resident = [], []
    with tempfile.TemporaryDirectory() as folder:
        named = []
        for index in range(num_videos):
            link = Path(folder, f"{index}.mp4")
            link.symlink_to(Path(records[index % len(records)].path).absolute())
            named.append(VideoRecord(str(link), None, "made"))
        dataset = VideoDataset(named, sampler=RandomClips(shape=shape), seed=0)
        draws = [SampleIndex(index) for index in range(num_videos)]
        with closing(VideoLoader(dataset, InOrder(draws), batch_size=batch_size, num_workers=NUM_WORKERS)) as loader:
            done = 0
            for batch in loader:
                done += len(batch.videos)
                check(batch)
                del batch
                if done >= FIRST_LOOK + LOOK_EVERY * len(videos):
                    videos.append(done)
                    resident.append(resident_bytes())
    return {"videos": videos, "bytes": resident}
