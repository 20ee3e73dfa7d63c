"""When: the classes of every moment of a video, as `videoctx classify --timeline` finds them.

The page draws its chart itself, because it is clicked, is as wide as the window, and is dark where the page is.
"""

from array import array
from math import inf
from typing import Any

import numpy as np

from videoctx.app.jobs import Job
from videoctx.app.networks import ServedNetwork
from videoctx.app.small_images import data_url, shrunk_to
from videoctx.data.decoding.containers import VideoDecodeError
from videoctx.data.loading.segment import WHOLE, Segment
from videoctx.data.sampling.clip_samplers import NoClipError
from videoctx.inference.leading_classes import leading_classes
from videoctx.inference.timed_frames import open_timed_frames
from videoctx.inference.timeline import Moment, Timeline

NUM_CLASSES = 8  # that are shown
MAX_MOMENTS = 8000  # a page cannot show more
MAX_THUMBNAILS = 24
THUMBNAIL_PX = 72


def find_moments(
    network: ServedNetwork,
    file: str,
    job: Job,
    *,
    stride_seconds: float,
    fps: float | None = None,
    segment: Segment = WHOLE,
) -> dict[str, Any]:
    """Return the probabilities of the leading classes over time, with thumbnails.

    Args:
        stride_seconds: between the starts of two clips.
        fps: frames per second of images, which state none.
        segment: the part of the video that is looked through. Its times are those in the video.

    Raises:
        VideoDecodeError: the video cannot be read to its end, or has no clip.
        NotFiniteError: the network gives NaN or infinity for a clip.
    """
    trained = network.trained.for_evaluation()
    moments, thumbnails, first = _Moments(MAX_MOMENTS), _Thumbnails(), None
    try:
        with open_timed_frames(file, fps, segment=segment) as video:
            end = min(video.duration_seconds, segment.end_seconds or inf)
            timeline = Timeline(trained, fps=video.fps, stride_seconds=stride_seconds)
            for image, seconds in video.frames:
                job.check()
                first = seconds if first is None else first
                job.progress = min(1.0, (seconds - first) / (end - first)) if end > first else None
                thumbnails.add(image, seconds, first)
                for moment in timeline.add(image, seconds - first):
                    moments.add(moment)
            for moment in timeline.finish():
                moments.add(moment)
    except NoClipError as error:
        raise VideoDecodeError(file, str(error)) from error
    assert first is not None, "there are moments"
    values = moments.probabilities  # (moments, K)
    shown, num_more = leading_classes(values, NUM_CLASSES)
    return {
        "multi_label": trained.multi_label,
        "starts": [round(first + seconds, 3) for seconds in moments.starts],
        "ends": [round(first + seconds, 3) for seconds in moments.ends],
        "classes": [
            {"class": trained.class_names[index], "probabilities": values[:, index].tolist()} for index in shown
        ],
        "num_others": len(trained.class_names) - len(shown),
        "num_more": num_more,
        "thumbnails": thumbnails.images,
        "num_moments": moments.num_added,
        "start": first,
        "end": max(end, first + moments.ends[-1]),
    }


class _Moments:
    """At most so many moments: every one, every second, every fourth, …

    They are numbers in growing arrays. As objects, they would lie between the freed tensors of the clips and keep the C
    library from using that memory again: a video of two hours took 9 GB.
    """

    def __init__(self, most: int) -> None:
        self.most, self.every, self.num_added = most, 1, 0
        self.starts, self.ends, self._values = array("d"), array("d"), array("f")

    @property
    def probabilities(self) -> np.ndarray:
        """(moments, K) float32."""
        return np.array(self._values, dtype=np.float32).reshape(len(self.starts), -1)

    def add(self, moment: Moment) -> None:
        if self.num_added % self.every == 0:
            self.starts.append(moment.start_seconds)
            self.ends.append(moment.end_seconds)
            self._values.extend(moment.probabilities.tolist())
        self.num_added += 1
        if len(self.starts) > self.most:
            self.every *= 2
            self._values = array("f", self.probabilities[::2].ravel().tolist())
            self.starts, self.ends = self.starts[::2], self.ends[::2]


class _Thumbnails:
    """Small frames at even distances, of a video whose length need not be known."""

    def __init__(self) -> None:
        self.images: list[dict[str, Any]] = []
        self.distance_seconds = 0.25

    def add(self, image: np.ndarray, seconds: float, first_seconds: float) -> None:
        if seconds - first_seconds < len(self.images) * self.distance_seconds:
            return
        self.images.append({"seconds": round(seconds, 3), "image": data_url(shrunk_to(image, THUMBNAIL_PX))})
        if len(self.images) > MAX_THUMBNAILS:
            self.images, self.distance_seconds = self.images[::2], 2 * self.distance_seconds
