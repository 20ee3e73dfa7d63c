"""Measures the 10 × 3 views of a test video: decoded once for all of them, and opened and decoded for each."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing

from videoctx.bench.bare_decoding import BareDecoding
from videoctx.bench.epochs import InOrder, clip_of, epoch_seconds, read_all
from videoctx.bench.process_tree import cpu_seconds, cpu_seconds_since
from videoctx.data.annotations import VideoRecord
from videoctx.data.loading.dataset import SampleIndex, VideoDataset
from videoctx.data.loading.loader import VideoLoader
from videoctx.data.sampling.clip_samplers import ClipShape, UniformClips

NUM_CLIPS, NUM_CROPS = 10, 3
PASSES = 4  # of the loader per round, which would be short otherwise; starting an epoch would weigh too much


def view_rounds(
    records: Sequence[VideoRecord], shape: ClipShape, *, num_workers: int, count: int
) -> Iterator[dict[str, float]]:
    """Yield the CPU seconds per video for 10 × 3 views, decoded once and once per view, for each round."""
    dataset = VideoDataset(records, sampler=UniformClips(shape=shape, num_clips=NUM_CLIPS), seed=0)
    samples = [SampleIndex(index) for _ in range(PASSES) for index in range(len(records))]
    with ExitStack() as stack:
        bare = stack.enter_context(closing(BareDecoding(num_workers)))
        loader = stack.enter_context(
            closing(VideoLoader(dataset, InOrder(samples), batch_size=1, num_workers=num_workers))
        )
        videos = read_all(loader)[: len(records)]
        clips = [clip_of(video, shape, which) for video in videos for which in range(NUM_CLIPS)]
        bare.clips(clips)  # warm up the processes
        for _ in range(count):
            before = cpu_seconds()
            epoch_seconds(loader)
            ours = cpu_seconds_since(before)
            between = cpu_seconds()
            bare.per_view(clips, num_crops=NUM_CROPS)
            yield {"ours": ours / len(samples), "per_view": cpu_seconds_since(between) / len(records)}
