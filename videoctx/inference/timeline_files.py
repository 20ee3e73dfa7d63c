"""The files of a timeline: a table, a chart, and the video with the best class as its caption."""

import csv
from array import array
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from videoctx.atomic_write import atomic_write_together
from videoctx.data.decoding.containers import VideoDecodeError
from videoctx.data.sampling.clip_samplers import NoClipError
from videoctx.evaluation.ranking import best_classes
from videoctx.inference.captioned_video import CaptionedVideo, shrunk
from videoctx.inference.classifier import Classifier, NotFiniteError
from videoctx.inference.leading_classes import leading_classes
from videoctx.inference.timed_frames import average_fps, timed_frames
from videoctx.inference.timeline import Moment, Timeline

NUM_LINES = 8  # of the chart
MAX_MOMENTS = 2000  # of the chart, which cannot show more


class TimelineFiles(NamedTuple):
    """The files of a timeline, and the number of frames and moments in it."""

    table: Path
    chart: Path
    video: Path
    num_frames: int
    num_moments: int


def write_timeline(
    trained: Classifier,
    file: str,
    stem: Path,
    *,
    fps: float | None = None,
    stride_seconds: float,
    num_best: int,
    title: str,
) -> TimelineFiles:
    """Write STEM.csv, STEM.png and STEM.mp4: all of them, or none.

    The caption of a frame is the best class of the last clip that has ended by then, as in a live classification. The
    frames before the end of the first clip have its caption. `fps` is the frame rate of images, which state none.

    Raises:
        VideoDecodeError: The video cannot be read to its end, or has no clip.
        NotFiniteError: The network gives NaN or infinity for a clip.
    """
    names = trained.class_names
    paths = [stem.with_name(f"{stem.name}{suffix}") for suffix in (".csv", ".png", ".mp4")]
    curves = _Curves(len(names))
    try:
        with ExitStack() as stack:
            table_part, chart_part, video_part = stack.enter_context(atomic_write_together(*paths))
            rate = average_fps(file, fps)
            timeline = Timeline(trained, fps=rate, stride_seconds=stride_seconds)
            table = csv.writer(
                stack.enter_context(table_part.open("w", newline="", encoding="utf-8")), lineterminator="\n"
            )
            num_best = min(num_best, len(names))
            ranks = [f"{name}_{rank}" for rank in range(1, num_best + 1) for name in ("class", "probability")]
            table.writerow(["start_seconds", "end_seconds", *ranks])
            video = stack.enter_context(CaptionedVideo(video_part, fps=rate))
            caption: str | None = None
            waiting: list[tuple[np.ndarray, float]] = []  # for the first caption: no more frames than a clip spans

            def note(moment: Moment) -> str:
                curves.add(moment)
                order = best_classes(moment.probabilities, num_best)
                cells = [cell for index in order for cell in (names[index], f"{moment.probabilities[index]:.4f}")]
                table.writerow([f"{moment.start_seconds:.3f}", f"{moment.end_seconds:.3f}", *cells])
                return f"{names[order[0]]} {moment.probabilities[order[0]]:.0%}"

            for image, seconds in timed_frames(file, rate):
                for moment in timeline.add(image, seconds):
                    caption = note(moment)
                waiting.append((shrunk(image), seconds))
                while caption is not None and waiting:
                    video.write(*waiting.pop(0), caption)
            for moment in timeline.finish():
                caption = note(moment)
            for image, seconds in waiting:
                video.write(image, seconds, caption or "")
            curves.draw(chart_part, names, title=title)
    except NoClipError as error:
        raise VideoDecodeError(file, str(error)) from error
    except NotFiniteError as error:
        raise NotFiniteError(f"{file}: {error}") from error
    table_path, chart_path, video_path = paths
    return TimelineFiles(table_path, chart_path, video_path, timeline.num_frames, curves.num_moments)


class _Curves:
    """The probabilities of all classes over time. Of many moments, only every second, fourth, … is kept."""

    def __init__(self, num_classes: int) -> None:
        self.num_moments = 0
        self._num_classes = num_classes
        self._keep_every = 1
        self._seconds = array("d")  # the middle of each kept moment
        self._values = array("f")  # its K probabilities

    def add(self, moment: Moment) -> None:
        if self.num_moments % self._keep_every == 0:
            self._seconds.append((moment.start_seconds + moment.end_seconds) / 2)
            self._values.extend(moment.probabilities.tolist())
        self.num_moments += 1
        if len(self._seconds) >= MAX_MOMENTS:
            self._keep_every *= 2
            values = np.array(self._values, dtype=np.float32).reshape(-1, self._num_classes)
            self._seconds, self._values = self._seconds[::2], array("f", values[::2].ravel().tolist())

    def draw(self, path: Path, names: Sequence[str], *, title: str) -> None:
        """Draw the classes that are the best at some moment, those with the highest peaks first."""
        values = np.array(self._values, dtype=np.float32).reshape(-1, self._num_classes)  # (moments, K)
        shown, num_more = leading_classes(values, NUM_LINES)
        figure = Figure(figsize=(10, 4), layout="constrained")
        axes = figure.add_subplot()
        marker = "." if len(values) < 100 else ""
        for index in shown:
            axes.plot(self._seconds, values[:, index], marker=marker, linewidth=1.2, label=names[index])
        axes.set(xlabel="seconds (middle of the clip)", ylabel="probability", ylim=(0, 1.02), title=title)
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        axes.grid(alpha=0.3)
        if num_more:
            axes.plot([], [], " ", label=f"{num_more} more")
        figure.legend(loc="outside right upper", fontsize=8)
        figure.savefig(path, format="png", dpi=110)
