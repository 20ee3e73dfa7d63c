"""Measures what the loader costs the thread that trains.

The batch is collated, brought to the device and transformed by another thread (`videoctx.data.loading.ahead`), and the
training thread takes it. Only the CPU time of the training thread counts: waiting for the other thread is none. Freeing
the clips of the last batch, which a device's allocator does in no time, does not count.
"""

import statistics
import time

from videoctx.bench.epochs import check
from videoctx.data.loading.dataset import DecodedBatch
from videoctx.data.loading.loader import VideoLoader


def thread_seconds_per_batch(loader: VideoLoader) -> float:
    """Return the median CPU seconds of this thread per batch, of a loader that prepares batches ahead."""
    seconds = []
    batches = iter(loader)
    while True:
        start = time.thread_time()
        batch = next(batches, None)
        content = None if batch is None else batch.take()
        seconds.append(time.thread_time() - start)
        if batch is None:
            break
        if isinstance(content, DecodedBatch):
            check(content)
        del batch, content
    return statistics.median(seconds[:-1])  # the last one is the end
