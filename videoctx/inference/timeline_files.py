"""The files of a timeline: a table, a chart, and the video with the best class as its caption."""

import csv
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np

from videoctx.atomic_write import atomic_write_together
from videoctx.data.decoding.containers import VideoDecodeError
from videoctx.data.sampling.clip_samplers import NoClipError
from videoctx.evaluation.ranking import best_classes
from videoctx.inference.captioned_video import CaptionedVideo, shrunk
from videoctx.inference.classifier import Classifier, NotFiniteError
from videoctx.inference.timed_frames import average_fps, timed_frames
from videoctx.inference.timeline import Moment, Timeline
from videoctx.inference.timeline_chart import TimelineChart


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
    chart = TimelineChart(names, multi_label=trained.multi_label)
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
                chart.add(moment)
                order = best_classes(moment.probabilities, num_best)
                cells = [cell for index in order for cell in (names[index], f"{moment.probabilities[index]:.4f}")]
                table.writerow([f"{moment.start_seconds:.3f}", f"{moment.end_seconds:.3f}", *cells])
                return f"{names[order[0]]} {moment.probabilities[order[0]]:.0%}"

            for image, seconds in timed_frames(file, rate):
                for moment in timeline.add(image, seconds):
                    caption = note(moment)
                small = shrunk(image)
                chart.add_frame(small, seconds)
                waiting.append((small, seconds))
                while caption is not None and waiting:
                    video.write(*waiting.pop(0), caption)
            for moment in timeline.finish():
                caption = note(moment)
            for image, seconds in waiting:
                video.write(image, seconds, caption or "")
            chart.draw(chart_part, title=title)
    except NoClipError as error:
        raise VideoDecodeError(file, str(error)) from error
    except NotFiniteError as error:
        raise NotFiniteError(f"{file}: {error}") from error
    table_path, chart_path, video_path = paths
    return TimelineFiles(table_path, chart_path, video_path, timeline.num_frames, chart.num_moments)
