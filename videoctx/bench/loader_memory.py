"""Measures the memory of a loader over many videos."""

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
    """Return the bytes in use by all processes, first after `FIRST_LOOK` videos, then every `LOOK_EVERY`.

    Each video has its own file name, so that nothing about it is cached.
    """
    videos: list[int] = []
    resident: list[int] = []
    with tempfile.TemporaryDirectory() as folder:
        records_by_name = []
        for index in range(num_videos):
            link = Path(folder, f"{index}.mp4")
            link.symlink_to(Path(records[index % len(records)].path).absolute())
            records_by_name.append(VideoRecord(str(link), None, "synthetic"))
        dataset = VideoDataset(records_by_name, sampler=RandomClips(shape=shape), seed=0, frames="yuv")
        samples = [SampleIndex(index) for index in range(num_videos)]
        with closing(VideoLoader(dataset, InOrder(samples), batch_size=batch_size, num_workers=NUM_WORKERS)) as loader:
            done = 0
            for batch in loader:
                done += len(batch.videos)
                check(batch)
                del batch
                if done >= FIRST_LOOK + LOOK_EVERY * len(videos):
                    videos.append(done)
                    resident.append(resident_bytes())
    return {"videos": videos, "bytes": resident}
