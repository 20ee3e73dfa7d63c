"""When: the classes of every moment of a video, as `videoctx classify --timeline` finds them."""

from typing import Any, Generic, TypeVar

import numpy as np

from videoctx.app.jobs import Job
from videoctx.app.networks import ServedNetwork
from videoctx.app.small_images import data_url, shrunk_to
from videoctx.data.decoding.containers import VideoDecodeError
from videoctx.data.sampling.clip_samplers import NoClipError
from videoctx.inference.leading_classes import leading_classes
from videoctx.inference.timed_frames import open_timed_frames
from videoctx.inference.timeline import Moment, Timeline

NUM_CLASSES = 8  # that are shown
MAX_MOMENTS = 8000  # a page cannot show more
MAX_THUMBNAILS = 24
THUMBNAIL_PX = 72

Item = TypeVar("Item")


def find_moments(
    network: ServedNetwork, file: str, job: Job, *, stride_seconds: float, fps: float | None = None
) -> dict[str, Any]:
    """Return the probabilities of the leading classes over time, with thumbnails.

    Args:
        stride_seconds: between the starts of two clips.
        fps: frames per second of images, which state none.

    Raises:
        VideoDecodeError: the video cannot be read to its end, or has no clip.
        NotFiniteError: the network gives NaN or infinity for a clip.
    """
    trained = network.trained.for_evaluation()
    moments, thumbnails = _Thinned[Moment](MAX_MOMENTS), _Thumbnails()
    try:
        with open_timed_frames(file, fps) as video:
            duration = video.duration_seconds
            timeline = Timeline(trained, fps=video.fps, stride_seconds=stride_seconds)
            for image, seconds in video.frames:
                job.check()
                job.progress = min(1.0, seconds / duration) if duration > 0 else None
                thumbnails.add(image, seconds)
                for moment in timeline.add(image, seconds):
                    moments.add(moment)
            for moment in timeline.finish():
                moments.add(moment)
    except NoClipError as error:
        raise VideoDecodeError(file, str(error)) from error
    values = np.stack([moment.probabilities for moment in moments.kept])  # (moments, K)
    shown, num_more = leading_classes(values, NUM_CLASSES)
    return {
        "multi_label": trained.multi_label,
        "starts": [round(moment.start_seconds, 3) for moment in moments.kept],
        "ends": [round(moment.end_seconds, 3) for moment in moments.kept],
        "classes": [
            {"class": trained.class_names[index], "probabilities": values[:, index].tolist()} for index in shown
        ],
        "num_others": len(trained.class_names) - len(shown),
        "num_more": num_more,
        "thumbnails": thumbnails.images,
        "num_moments": moments.num_added,
        "duration": max(duration, moments.kept[-1].end_seconds),
    }


class _Thinned(Generic[Item]):
    """At most so many of a row of items: every one, every second, every fourth, …"""

    def __init__(self, most: int) -> None:
        self.most, self.every, self.num_added = most, 1, 0
        self.kept: list[Item] = []

    def add(self, item: Item) -> None:
        if self.num_added % self.every == 0:
            self.kept.append(item)
        self.num_added += 1
        if len(self.kept) > self.most:
            self.kept, self.every = self.kept[::2], 2 * self.every


class _Thumbnails:
    """Small frames at even distances, of a video whose length need not be known."""

    def __init__(self) -> None:
        self.images: list[dict[str, Any]] = []
        self.distance_seconds = 0.25

    def add(self, image: np.ndarray, seconds: float) -> None:
        if seconds < len(self.images) * self.distance_seconds:
            return
        self.images.append({"seconds": round(seconds, 3), "image": data_url(shrunk_to(image, THUMBNAIL_PX))})
        if len(self.images) > MAX_THUMBNAILS:
            self.images, self.distance_seconds = self.images[::2], 2 * self.distance_seconds
