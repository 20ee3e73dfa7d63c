"""What the server works with: networks, videos, examples, a tested run, and the queues of jobs."""

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from videoctx.app.abandonable import run_until_cancelled
from videoctx.app.examples import Example
from videoctx.app.jobs import Job, JobQueue
from videoctx.app.maps import MapFinder
from videoctx.app.networks import ServedNetwork
from videoctx.app.predictions import predict
from videoctx.app.request_fields import network_of, number_of, text_of
from videoctx.app.small_images import jpeg_of, shrunk_to
from videoctx.app.tested_run import TestedRun
from videoctx.app.timelines import find_moments
from videoctx.app.videos import Video, VideoStore, segment_name, shown_name
from videoctx.data.decoding.containers import probe
from videoctx.data.decoding.video_reader import open_video
from videoctx.data.storage.locations import holds_images

PREVIEW_PX = 360  # the short side of a frame that stands for a video which the browser does not play
FRAME_RATES = (0.1, 1000.0)
STRIDES = (0.1, 3600.0)  # seconds


class Workplace:
    """All that the requests of pages share.

    Args:
        networks: at least one.
        examples: of the manifest.
        run: a tested run, whose videos are shown.
        private_urls: accept URLs that lead to this computer or its private network.
    """

    def __init__(
        self,
        networks: Sequence[ServedNetwork],
        *,
        examples: Sequence[Example] = (),
        run: TestedRun | None = None,
        private_urls: bool = False,
        store: VideoStore | None = None,
    ) -> None:
        self.networks, self.examples, self.run = networks, examples, run
        self.private_urls = private_urls
        self.store = store or VideoStore()
        self.maps = MapFinder()
        self.network_jobs = JobQueue()  # one at a time: they share the processor
        self.fetch_jobs = JobQueue(num_threads=4)
        self._decoding = threading.Lock()

    def close(self) -> None:
        """End all jobs, and delete all that was uploaded."""
        for queue in (self.network_jobs, self.fetch_jobs):
            queue.close()
        self.store.close()

    def describe(self) -> dict[str, Any]:
        """Return what the page needs when it opens."""
        return {
            "networks": [network.describe() for network in self.networks],
            "examples": [{"name": example.name, "label": example.label} for example in self.examples],
            "run": self.run and self.run.summary(),
            "max_upload_bytes": self.store.max_upload_bytes,
        }

    def add_source(self, body: Mapping[str, Any], page: str) -> Video:
        """Add a video that is no upload: `url`, or the number of an `example` or of a video of the `run`.

        Raises:
            ValueError: there is no such example, or the URL is not accepted.
        """
        if (number := number_of(body, "example", least=0, most=max(0, len(self.examples) - 1), whole=True)) is not None:
            if not self.examples:
                raise ValueError("there are no examples; expected --manifest")
            example = self.examples[int(number)]
            return self.store.add_source(example.path, example.name, page, fps=example.fps, segment=example.segment)
        if (number := number_of(body, "run", least=0, most=1e12, whole=True)) is not None:
            if self.run is None:
                raise ValueError("there is no tested run; expected --run")
            path, fps, segment = self.run.source(int(number))
            return self.store.add_source(path, segment_name(path, segment), page, fps=fps, segment=segment)
        url = text_of(body, "url").strip()
        check_url(url)
        name = shown_name(urlsplit(url).path) or url
        return self.store.add_source(url, name, page, public_only=not self.private_urls)

    def close_page(self, page: str) -> None:
        """Cancel the jobs of a page, and delete its videos."""
        for queue in (self.network_jobs, self.fetch_jobs):
            queue.close_page(page)
        self.store.close_page(page)

    def add_job(self, body: Mapping[str, Any], page: str) -> Job:
        """Append a job of a page: `fetch`, `predict`, `timeline` or `map`, for a `video` and, but for the first, a
        `network`.

        Raises:
            ValueError: the request is incomplete.
            VideoError: there is no such video.
            QueueFullError: too many jobs wait.
        """
        kind, video = text_of(body, "kind"), self.store.find(text_of(body, "video"))
        if kind == "fetch":
            return self.fetch_jobs.add(lambda job: run_until_cancelled(job, lambda: self._fetched(video, job)), page)
        if video.path is None:
            raise ValueError("the video has not been fetched; expected a request of kind fetch before")
        network = network_of(body, self.networks)
        fps = number_of(body, "fps", least=FRAME_RATES[0], most=FRAME_RATES[1]) or video.fps
        stride = number_of(body, "stride_seconds", least=STRIDES[0], most=STRIDES[1]) or 1.0
        work: dict[str, Callable[[str, Job], Any]] = {
            "predict": lambda file, job: predict(network, file, job, fps=fps, segment=video.segment),
            "timeline": lambda file, job: find_moments(
                network, file, job, stride_seconds=stride, fps=fps, segment=video.segment
            ),
            "map": lambda file, job: self.maps.find(network, video.id, file, body, job, fps=fps, segment=video.segment),
        }
        if kind not in work:
            raise ValueError(f"kind is {kind!r}; expected fetch, predict, timeline or map")
        return self.network_jobs.add(lambda job: self._with_file(video, lambda file: work[kind](file, job)), page)

    def find_job(self, id: str) -> tuple[Job, JobQueue] | None:
        """Return a job and its queue."""
        for queue in (self.network_jobs, self.fetch_jobs):
            if (job := queue.find(id)) is not None:
                return job, queue
        return None

    def frame_at(self, id: str, seconds: float, *, fps: float | None = None) -> tuple[bytes, float]:
        """Return the frame that is shown at a time, as a JPEG file, and the length of the video in seconds.

        Raises:
            VideoDecodeError: the video cannot be read.
        """
        with self.store.local_file(id) as file, self._decoding, open_video(file, fps=fps) as reader:
            rate = reader.fps or 1.0
            duration = reader.num_frames / rate if holds_images(file) else probe(file).duration_seconds
            times = reader.frame_seconds
            if times is None:
                times = np.arange(reader.num_frames) / rate
            index = max(0, int(np.searchsorted(times, seconds + 1e-6, side="right")) - 1)
            (image,) = reader.read(np.array([min(index, reader.num_frames - 1)]))
        return jpeg_of(shrunk_to(image, PREVIEW_PX)), duration

    def tested_videos(self, query: Mapping[str, str]) -> dict[str, Any]:
        """Return some videos of the run.

        Raises:
            ValueError: there is no run, or no such class.
        """
        if self.run is None:
            raise ValueError("there is no tested run; expected --run")
        names = self.run.result.view_scores.class_names
        name, start = query.get("class", ""), query.get("start", "0")
        if name and name not in names:
            raise ValueError(f"class is {name!r}; expected a class of the run")
        if not start.isdecimal() or len(start) > 12:
            raise ValueError(f"start is {start!r}; expected a number from 0")
        return self.run.videos(names.index(name) if name else None, start=int(start))

    def _fetched(self, video: Video, job: Job) -> dict[str, int]:
        with self.store.local_file(video.id, check=job.check) as file:
            return {"num_bytes": Path(file).stat().st_size}

    def _with_file(self, video: Video, work: Callable[[str], Any]) -> Any:
        with self.store.local_file(video.id) as file:
            try:
                return work(file)
            except ValueError as error:  # a message may name the file of the server
                raise ValueError(str(error).replace(file, video.name)) from error


def check_url(url: str) -> None:
    """Accept web addresses alone, none of a local file or another storage.

    Raises:
        ValueError: the URL is another.
    """
    try:
        parts = urlsplit(url)
        is_web = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        is_web = False
    if not is_web:
        raise ValueError(f"{url[:100]!r} is no address of a video on the web; expected https://HOST/VIDEO")
