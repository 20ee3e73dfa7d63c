"""Batches of decoded videos, from processes that can be killed.

A native decoder that hangs cannot be interrupted from Python, and killing a process of `torch.utils.data.DataLoader`
ends the run. Here every video has a deadline. If it passes, or if the decoding process dies, the process is replaced,
the video is returned as failed, and it is not tried again.

    sampler -> [fetch: threads, remote files only] -> decode: processes -> batches, in the sampler's order
"""

import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from itertools import islice
from typing import Any, Protocol

import torch
from pebble import ProcessExpired

from videoctx.data.annotations.video_record import VideoRecord
from videoctx.data.decoding.containers import VideoDecodeError
from videoctx.data.loading.ahead import Ahead, ReadyBatch
from videoctx.data.loading.dataset import DecodedBatch, DecodedVideo, SampleIndex, VideoDataset
from videoctx.data.loading.decoding_processes import REMEDY, DecodingProcesses, Task
from videoctx.data.loading.gpu_decoding import GpuDecoding
from videoctx.data.loading.shared_frames import unpack
from videoctx.data.storage.local_files import LocalFiles
from videoctx.data.storage.locations import is_url

FETCHING_THREADS = 16  # these threads wait for the network and need no core
BATCHES_AHEAD = 2  # at least; more if needed to keep every process busy
VIDEOS_PER_PROCESS_AHEAD = 2
ATTEMPTS = 2  # a process may die for other reasons than the video, so that the video fails only at the second time


class Sampler(Protocol):
    """The indices that a rank reads, in order. None stands for no video, if another rank has one video more."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[SampleIndex | None]: ...


class BatchSampler(Protocol):
    """The batches of indices that a rank reads, in order."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[list[SampleIndex]]: ...


class VideoLoader:
    """A loader that decodes a sampler's videos in batches.

    Args:
        dataset: Decodes the videos.
        sampler: Indices that this rank reads.
        batch_size: Number of videos per batch.
        drop_last: Leave out a last batch that is not full.
        batch_sampler: Batches of indices that this rank reads, if not all of them have `batch_size` videos.
        num_workers: Number of decoding processes. With 0, videos are decoded in this process and without a deadline.
            The processes are started with the first batch by multiprocessing's fork server, so a script needs `if
            __name__ == "__main__":`.
        deadline_seconds: Time limit for decoding one video. Fetching a remote video has its own time limits.
        files: Fetches remote files.
        ahead: Brings batches to the device, and makes clips of them, one batch ahead. None: the caller does it.
        gpu: Decodes a part of the videos on a GPU. None: all are decoded on the CPU.
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
        ahead: Ahead | None = None,
        gpu: GpuDecoding | None = None,
    ) -> None:
        self.dataset = dataset
        self.sampler = sampler
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.batch_sampler = batch_sampler  # Lightning reads it too
        self.num_workers = num_workers
        self.deadline_seconds = deadline_seconds
        self.files = files or LocalFiles()
        self.ahead = ahead
        self.gpu = gpu
        self.quarantine: dict[int, str] = {}  # why a video is not tried again, by row
        self.seconds_waited = 0.0  # time that callers have waited for batches
        self._processes: DecodingProcesses | None = None
        self._fetchers: ThreadPoolExecutor | None = None

    def __len__(self) -> int:
        if self.batch_sampler is not None:
            return len(self.batch_sampler)
        full, rest = divmod(len(self.sampler), self.batch_size)
        return full + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[Any]:
        """Yield each `DecodedBatch` or, with `ahead`, each `ReadyBatch`.

        The sampler's epoch may be set until the first one is requested.
        """
        decoded = self.decoded()
        batches: Iterator[DecodedBatch | ReadyBatch] = self.ahead.batches(decoded) if self.ahead else decoded
        while True:
            requested = time.perf_counter()
            found = list(islice(batches, 1))
            self.seconds_waited += time.perf_counter() - requested
            if not found:
                return
            yield found.pop()  # so that it need not stay until the next one comes

    def decoded(self) -> Iterator[DecodedBatch]:
        """Yield batches of decoded videos."""
        ahead = max(BATCHES_AHEAD, -(-VIDEOS_PER_PROCESS_AHEAD * self.num_workers // self.batch_size))
        started: deque[list[Callable[[], DecodedVideo]]] = deque()
        for indices in self._batches():
            started.append([self._start(index) for index in indices if index is not None])
            if len(started) > (ahead if self.num_workers else 0):
                yield _collate(started.popleft())
        while started:
            yield _collate(started.popleft())

    def close(self) -> None:
        """End the decoding processes. The next epoch starts them again."""
        processes, fetchers = self._processes, self._fetchers
        self._processes = self._fetchers = None
        if self.ahead is not None:
            self.ahead.stop()
        if self.gpu is not None:
            self.gpu.close()
        if processes is not None:
            processes.close()
        if fetchers is not None:
            fetchers.shutdown(wait=False, cancel_futures=True)

    def _batches(self) -> Iterator[Sequence[SampleIndex | None]]:
        if self.batch_sampler is not None:
            yield from self.batch_sampler
            return
        batch: list[SampleIndex | None] = []
        for index in self.sampler:
            batch.append(index)
            if len(batch) == self.batch_size:
                yield batch
                batch = []
        if batch and not self.drop_last:
            yield batch

    def _start(self, index: SampleIndex) -> Callable[[], DecodedVideo]:
        """Start decoding one video. Calling the returned function waits for it."""
        record = self.dataset.records[index.video]
        if index.video in self.quarantine:
            return partial(DecodedVideo.failed, record, index.video, self.quarantine[index.video])
        if self.gpu is not None and self.gpu.takes(index.video):
            return self.gpu.start(index, record.path, partial(self._start_on_cpu, index, record))
        return self._start_on_cpu(index, record)

    def _start_on_cpu(self, index: SampleIndex, record: VideoRecord) -> Callable[[], DecodedVideo]:
        if self.num_workers == 0:
            return partial(self._fetch, index, record, self.dataset.clip_decoder.load)
        if self._processes is None:
            self._processes = DecodingProcesses(
                self.dataset.clip_decoder, num_processes=self.num_workers, deadline_seconds=self.deadline_seconds
            )
        decode = partial(self._decode, self._processes)
        if is_url(record.path):
            if self._fetchers is None:
                self._fetchers = ThreadPoolExecutor(FETCHING_THREADS, thread_name_prefix="fetch")
            return self._fetchers.submit(self._fetch, index, record, decode).result
        return partial(decode, index, record, record.path, self._processes.decode(index, record, record.path))

    def _fetch(
        self, index: SampleIndex, record: VideoRecord, decode: Callable[[SampleIndex, VideoRecord, str], DecodedVideo]
    ) -> DecodedVideo:
        try:
            with self.files.local_copy(record.path) as location:
                return decode(index, record, location)
        except VideoDecodeError as error:
            return DecodedVideo.failed(record, index.video, error.reason)

    def _decode(
        self,
        processes: DecodingProcesses,
        index: SampleIndex,
        record: VideoRecord,
        location: str,
        task: Task | None = None,
    ) -> DecodedVideo:
        """Decode in another process. `task` is given if this has been requested already."""
        for attempt in range(ATTEMPTS):
            task = task or processes.decode(index, record, location)
            try:
                return unpack(processes.result(task), task.slot, processes.slots)
            except TimeoutError:
                reason = f"decoding took longer than {self.deadline_seconds:g} s; its process was killed"
                task = None  # or else the error's traceback would keep it and its memory
                break
            except ProcessExpired as error:
                reason = f"its decoding process died {ATTEMPTS} times ({_ending(error.exitcode)})"
            except BrokenProcessPool as error:  # the process of another task, or an idle one, died
                if attempt == ATTEMPTS - 1:
                    raise ChildProcessError(f"decoding processes died {ATTEMPTS} times at once; {REMEDY}") from error
            task = None
        self.quarantine[index.video] = reason
        return DecodedVideo.failed(record, index.video, reason)


def _collate(videos: list[Callable[[], DecodedVideo]]) -> DecodedBatch:
    """Collect videos into a batch, without stacking, as they differ in size."""
    batch = DecodedBatch([video() for video in videos])
    return batch.pin_memory() if torch.cuda.is_available() else batch


def _ending(exit_code: int) -> str:
    """Describe an exit code: the signal, if there was one."""
    if exit_code >= 0:
        return f"exit status {exit_code}"
    return f"{signal.Signals(-exit_code).name}" + (": perhaps out of memory" if exit_code == -signal.SIGKILL else "")
