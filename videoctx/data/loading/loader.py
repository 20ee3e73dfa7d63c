"""Batches of decoded videos, from processes that can be killed.

A native decoder that hangs cannot be interrupted from Python, and a process of `torch.utils.data.DataLoader` that
is killed ends the run. Here a video has a deadline: when it passes, or when its process dies, the process is replaced,
the video comes back as failed, and it is not tried again.

    sampler -> [fetch: threads, remote files only] -> decode: processes -> batches, in the sampler's order
"""

import signal
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from typing import Protocol

import torch
from pebble import ProcessExpired

from videoctx.data.decoding.containers import VideoDecodeError
from videoctx.data.loading.dataset import DecodedBatch, DecodedVideo, SampleIndex, VideoDataset
from videoctx.data.loading.decoding_processes import REMEDY, DecodingProcesses, Task
from videoctx.data.loading.shared_frames import unpack
from videoctx.data.storage.local_files import LocalFiles
from videoctx.data.storage.locations import is_url

FETCHING_THREADS = 16  # they wait for the network, not for a core
BATCHES_AHEAD = 2  # at least, and enough videos to keep every process busy
VIDEOS_PER_PROCESS_AHEAD = 2
ATTEMPTS = 2  # a process may die for reasons that are not the video's: only the second time it is to blame


class Sampler(Protocol):
    """What a rank reads, in order; None for nothing, where another rank has one video more."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[SampleIndex | None]: ...


class BatchSampler(Protocol):
    """What a rank reads, in order, in batches."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[list[SampleIndex]]: ...


class VideoLoader:
    """Iterates over a sampler's videos in batches.

    Args:
        drop_last: leave out a last batch that is not full.
        batch_sampler: what a rank reads, batch after batch, where they are not all of `batch_size`.
        num_workers: decoding processes; 0: in this process, where there is no deadline. They start with the first
            batch, from a clean server: as with any start method but fork, a script needs `if __name__ == "__main__":`.
        deadline_seconds: for decoding one video; fetching a remote one has deadlines of its own.
        files: fetches what is not on a local disk.
    """

    def __init__(
        self,
        dataset: VideoDataset,
        sampler: Sampler,
        *,
        batch_size: int,
        drop_last: bool = False,
        batch_sampler: BatchSampler | None = None,
        num_workers: int = 0,
        deadline_seconds: float = 30.0,
        files: LocalFiles | None = None,
    ) -> None:
        self.dataset = dataset
        self.sampler = sampler
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.batch_sampler = batch_sampler  # Lightning asks for it too
        self.num_workers = num_workers
        self.deadline_seconds = deadline_seconds
        self.files = files or LocalFiles()
        self.quarantine: dict[int, str] = {}  # why a video is not tried again, by row
        self.seconds_waited = 0.0  # by those who asked for batches, until they had them
        self._processes: DecodingProcesses | None = None
        self._fetchers: ThreadPoolExecutor | None = None

    def __len__(self) -> int:
        if self.batch_sampler is not None:
            return len(self.batch_sampler)
        full, rest = divmod(len(self.sampler), self.batch_size)
        return full + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[DecodedBatch]:
        """Nothing is read before the first batch is asked for: the sampler's epoch may be set until then."""
        batches = self._decoded()
        while True:
            asked = time.perf_counter()
            batch = next(batches, None)
            self.seconds_waited += time.perf_counter() - asked
            if batch is None:
                return
            yield batch

    def _decoded(self) -> Iterator[DecodedBatch]:
        ahead = max(BATCHES_AHEAD, -(-VIDEOS_PER_PROCESS_AHEAD * self.num_workers // self.batch_size))
        started: deque[list[Callable[[], DecodedVideo]]] = deque()
        for draws in self._batches():
            started.append([self._start(draw) for draw in draws if draw is not None])
            if len(started) > (ahead if self.num_workers else 0):
                yield _collate(started.popleft())
        while started:
            yield _collate(started.popleft())

    def close(self) -> None:
        """End the processes; the next epoch starts them anew."""
        processes, fetchers = self._processes, self._fetchers
        self._processes = self._fetchers = None
        if processes is not None:
            processes.close()
        if fetchers is not None:
            fetchers.shutdown(wait=False, cancel_futures=True)

    def _batches(self) -> Iterator[list[SampleIndex | None]]:
        if self.batch_sampler is not None:
            yield from self.batch_sampler
            return
        batch = []
        for draw in self.sampler:
            batch.append(draw)
            if len(batch) == self.batch_size:
                yield batch
                batch = []
        if batch and not self.drop_last:
            yield batch

    def _start(self, draw: SampleIndex) -> Callable[[], DecodedVideo]:
        """Set a video going; the call of what is returned waits for it."""
        path = self.dataset.records[draw.video].path
        if draw.video in self.quarantine:
            return partial(self._failed, draw, self.quarantine[draw.video])
        if self.num_workers == 0:
            return partial(self._fetch, draw, path, self.dataset.load)
        if self._processes is None:
            self._processes = DecodingProcesses(
                self.dataset, num_processes=self.num_workers, deadline_seconds=self.deadline_seconds
            )
        decode = partial(self._decode, self._processes)
        if is_url(path):
            if self._fetchers is None:
                self._fetchers = ThreadPoolExecutor(FETCHING_THREADS, thread_name_prefix="fetch")
            return self._fetchers.submit(self._fetch, draw, path, decode).result
        return partial(decode, draw, path, self._processes.decode(draw, path))

    def _fetch(self, draw: SampleIndex, path: str, decode: Callable[[SampleIndex, str], DecodedVideo]) -> DecodedVideo:
        try:
            with self.files.local_copy(path) as location:
                return decode(draw, location)
        except VideoDecodeError as error:
            return self._failed(draw, error.reason)

    def _decode(
        self, processes: DecodingProcesses, draw: SampleIndex, location: str, task: Task | None = None
    ) -> DecodedVideo:
        """Decode in another process; `task`: where that has been asked for already."""
        for attempt in range(ATTEMPTS):
            task = task or processes.decode(draw, location)
            try:
                return unpack(task.future.result(), task.slot, processes.slots)
            except TimeoutError:
                reason = f"decoding took longer than {self.deadline_seconds:g} s; its process was killed"
                task = None  # else the error's traceback keeps it, and its memory
                break
            except ProcessExpired as error:
                reason = f"the process that decodes it died {ATTEMPTS} times ({_ending(error.exitcode)})"
            except BrokenProcessPool as error:  # the process of another task, or one that had nothing to do
                if attempt == ATTEMPTS - 1:
                    raise ChildProcessError(f"decoding processes died {ATTEMPTS} times at once; {REMEDY}") from error
            task = None
        self.quarantine[draw.video] = reason
        return self._failed(draw, reason)

    def _failed(self, draw: SampleIndex, reason: str) -> DecodedVideo:
        return DecodedVideo.failed(self.dataset.records[draw.video], draw.video, reason)


def _collate(videos: list[Callable[[], DecodedVideo]]) -> DecodedBatch:
    """Side by side, not stacked: they differ in size."""
    batch = DecodedBatch([video() for video in videos])
    return batch.pin_memory() if torch.cuda.is_available() else batch


def _ending(exit_code: int) -> str:
    """What an exit code says: the signal, if it was one."""
    if exit_code >= 0:
        return f"exit status {exit_code}"
    return f"{signal.Signals(-exit_code).name}" + (": perhaps out of memory" if exit_code == -signal.SIGKILL else "")
