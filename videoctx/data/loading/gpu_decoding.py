"""A part of the videos is decoded on the GPU, beside the decoding processes.

**This has not run on a GPU yet** (`videoctx.data.decoding.nvdec_reader`). It is off by default.

A few threads of this process start the work of the GPU's video engine (NVDEC). Few, because FFmpeg opens codecs under a
lock of the process. A video is always decoded in the same place, as colors may differ by rounding. What the GPU does
not decode, a decoding process does, and a line reports why.
"""

import importlib.metadata
import logging
import queue
import re
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from videoctx.data.loading.dataset import DecodedVideo, SampleIndex, VideoDataset
from videoctx.data.storage.locations import is_url

if TYPE_CHECKING:
    from videoctx.data.decoding.nvdec_reader import NvdecDecoders
    from videoctx.data.settings import GpuDecodingSettings

logger = logging.getLogger(__name__)

OPTION = "data.loading.gpu_decoding"
OLDEST_TORCHCODEC = (0, 17)  # earlier versions drop or miscolor frames
GOLDEN_RATIO = 0.6180339887498949
FAILURES_IN_A_ROW = 16  # that end the decoding on the GPU


def check_gpu_decoding(device: torch.device) -> None:
    """Check that videos can be decoded on a device.

    Raises:
        ValueError: There is no GPU, or no torchcodec that decodes on it.
    """
    if problem := _why_not(device):
        raise ValueError(f"{OPTION} {problem}; expected null, which decodes all videos on the CPU")


def _why_not(device: torch.device) -> str | None:
    wanted = f"torchcodec {'.'.join(map(str, OLDEST_TORCHCODEC))} or newer"
    if device.type != "cuda" or not torch.cuda.is_available():
        return f"needs a CUDA device, and this run is on {device.type}"
    try:
        version = importlib.metadata.version("torchcodec")
    except importlib.metadata.PackageNotFoundError:
        return f"needs {wanted} (pip install torchcodec), which is not installed"
    if tuple(map(int, re.findall(r"\d+", version)[:2])) < OLDEST_TORCHCODEC:
        return f"needs {wanted}, and {version} is installed (pip install --upgrade torchcodec)"
    try:
        import videoctx.data.decoding.nvdec_reader  # noqa: F401
    except (ImportError, OSError, RuntimeError) as error:  # libraries of FFmpeg are missing
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return f"needs {wanted}, which does not load here ({lines[0] if lines else type(error).__name__})"
    return None


class _Task(NamedTuple):
    future: "Future[DecodedVideo]"
    sample: SampleIndex
    location: str


class GpuDecoding:
    """Threads that decode videos on a GPU, from the first task to `close`.

    Args:
        dataset: Knows what is decoded of a video.
        device: The GPU.
        settings: How many videos, threads and decoders.
        deadline_seconds: Time limit for a video. A thread that exceeds it cannot be ended; no video is given to the GPU
            afterwards.
    """

    def __init__(
        self,
        dataset: VideoDataset,
        device: torch.device,
        settings: "GpuDecodingSettings",
        *,
        deadline_seconds: float,
    ) -> None:
        self.dataset = dataset
        self.device = device
        self.settings = settings
        self.deadline_seconds = deadline_seconds
        self.num_decoded = 0
        self._ended_because: str | None = None
        self._refused: dict[int, str] = {}  # why a video is not decoded here, by row
        self._failures_in_a_row = 0
        self._tasks: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []

    def takes(self, video: int) -> bool:
        """Return whether a video is decoded on the GPU: `share` of the videos are, evenly over the rows."""
        if self._ended_because is not None or video in self._refused or is_url(self.dataset.records[video].path):
            return False
        return video * GOLDEN_RATIO % 1 < self.settings.share

    def start(
        self, index: SampleIndex, location: str, on_cpu: Callable[[], Callable[[], DecodedVideo]]
    ) -> Callable[[], DecodedVideo]:
        """Start decoding a video. Calling the returned function waits for it.

        Args:
            on_cpu: starts to decode the video on the CPU, if the GPU does not.
        """
        if not self._threads:
            self._begin()
        task = _Task(Future(), index, location)
        self._tasks.put(task)
        return lambda: self._result(task) or on_cpu()()

    def close(self) -> None:
        """End the threads after what they decode now. The next task starts others."""
        threads, self._threads = self._threads, []
        tasks, self._tasks = self._tasks, queue.SimpleQueue()
        while not tasks.empty():
            if task := tasks.get():
                task.future.cancel()
        for _ in threads:
            tasks.put(None)

    def _begin(self) -> None:
        from videoctx.data.decoding.nvdec_reader import keep_hardware_decoders

        if self.device.type == "cuda":
            keep_hardware_decoders(self.settings.num_decoders)
        for number in range(self.settings.num_threads):  # daemons, as one that hangs must not keep the process alive
            thread = threading.Thread(target=self._work, args=(self._tasks,), name=f"NVDEC {number}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def _work(self, tasks: "queue.SimpleQueue[_Task | None]") -> None:
        from videoctx.data.decoding.nvdec_reader import NvdecDecoders

        decoders = NvdecDecoders(self.device, most=max(self.settings.num_decoders // self.settings.num_threads, 1))
        stream = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None
        while task := tasks.get():
            if not task.future.set_running_or_notify_cancel():
                continue
            try:
                task.future.set_result(self._decoded(task, decoders, stream))
            except BaseException as error:  # raised, or reported, in the thread that waits
                task.future.set_exception(error)

    def _decoded(self, task: _Task, decoders: "NvdecDecoders", stream: "torch.cuda.Stream | None") -> DecodedVideo:
        on_stream: AbstractContextManager[Any] = torch.cuda.stream(stream) if stream else nullcontext()
        with on_stream:
            record = self.dataset.records[task.sample.video]
            video = self.dataset.clip_decoder.load(task.sample, record, task.location, open_reader=decoders.open)
        if stream:
            stream.synchronize()  # other streams then read the frames without waiting
        return video

    def _result(self, task: _Task) -> DecodedVideo | None:
        """Return a decoded video, or None if the CPU has to decode it."""
        from videoctx.data.decoding.nvdec_reader import NotOnGpuError

        if self._ended_because is not None and task.future.cancel():
            return None
        try:
            video = task.future.result(self.deadline_seconds)
        except CancelledError:
            raise
        except NotOnGpuError as error:
            self._refuse(task.sample.video, str(error), for_all=error.concerns_all_files)
            return None
        except TimeoutError:
            self._end(f"no frames within {self.deadline_seconds:g} s")
            return None
        if video.failure is not None:  # whether the file is readable is for the CPU to decide
            self._refuse(task.sample.video, video.failure.reason, for_all=False)
            return None
        self._failures_in_a_row = 0
        self.num_decoded += 1
        return video

    def _refuse(self, video: int, reason: str, *, for_all: bool) -> None:
        self._failures_in_a_row += 1
        if for_all or self._failures_in_a_row == FAILURES_IN_A_ROW:
            self._end(reason)
        elif reason not in self._refused.values() and self._ended_because is None:
            path = self.dataset.records[video].path
            logger.warning("%s: decoded on the CPU, as are others like it: %s", path, reason)
        self._refused[video] = reason

    def _end(self, reason: str) -> None:
        if self._ended_because is None:
            self._ended_because = reason
            logger.warning("%s: no more videos are decoded on the GPU, but on the CPU: %s", OPTION, reason)
