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
from videoctx.inference.timed_frames import open_timed_frames
from videoctx.inference.timeline import Moment, Timeline
from videoctx.inference.timeline_chart import TimelineChart


class BestOfMoment(NamedTuple):
    """The times of the first and the last frame of a clip, and its best classes with their probabilities."""

    start_seconds: float
    end_seconds: float
    classes: list[tuple[str, float]]


class TimelineFiles(NamedTuple):
    """The files of a timeline, the number of frames in it, and its moments."""

    table: Path
    chart: Path
    video: Path
    num_frames: int
    moments: list[BestOfMoment]


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
    moments: list[BestOfMoment] = []
    try:
        with ExitStack() as stack:
            table_part, chart_part, video_part = stack.enter_context(atomic_write_together(*paths))
            opened = stack.enter_context(open_timed_frames(file, fps))
            timeline = Timeline(trained, fps=opened.fps, stride_seconds=stride_seconds)
            table = csv.writer(
                stack.enter_context(table_part.open("w", newline="", encoding="utf-8")), lineterminator="\n"
            )
            num_best = min(num_best, len(names))
            ranks = [f"{name}_{rank}" for rank in range(1, num_best + 1) for name in ("class", "probability")]
            table.writerow(["start_seconds", "end_seconds", *ranks])
            video = stack.enter_context(CaptionedVideo(video_part, fps=opened.fps))
            caption: str | None = None
            waiting: list[tuple[np.ndarray, float]] = []  # for the first caption: no more frames than a clip spans

            def note(moment: Moment) -> str:
                chart.add(moment)
                order = best_classes(moment.probabilities, num_best)
                best = [(names[index], float(moment.probabilities[index])) for index in order]
                moments.append(BestOfMoment(moment.start_seconds, moment.end_seconds, best))
                cells = [cell for name, probability in best for cell in (name, f"{probability:.4f}")]
                table.writerow([f"{moment.start_seconds:.3f}", f"{moment.end_seconds:.3f}", *cells])
                return f"{best[0][0]} {best[0][1]:.0%}"

            for image, seconds in opened.frames:
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
    return TimelineFiles(table_path, chart_path, video_path, timeline.num_frames, moments)
