"""The chart of a timeline: the leading classes stacked over time, and thumbnails of the video below the axis."""

import textwrap
from array import array
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MultipleLocator, PercentFormatter
from PIL import Image

from videoctx.inference.leading_classes import leading_classes
from videoctx.inference.timeline import Moment
from videoctx.terminal import printable

MOST_CLASSES = 20  # as many as there are colors
MAX_MOMENTS = 2000  # the chart cannot show more
MAX_THUMBNAILS = 64  # kept, of which at most `MOST_SHOWN` are drawn
MOST_SHOWN = 12
THUMBNAIL_PX = 96  # height
WIDTH, HEIGHT = 11.0, 4.8  # inches
LEFT, RIGHT, STRIP = 0.075, 0.73, 0.15  # shares of the figure
LEGEND_LETTERS = 30
STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)  # seconds
MOST_TICKS = 9


class TimelineChart:
    """The probabilities of all classes over time, and frames. Of many, only every second, fourth, … is kept.

    Args:
        class_names: K names.
        multi_label: The probabilities do not sum to one: they are drawn as lines and not stacked.
    """

    def __init__(self, class_names: Sequence[str], *, multi_label: bool) -> None:
        self.num_moments = 0
        self._names = [printable(name) for name in class_names]
        self._multi_label = multi_label
        self._keep_every = 1
        self._ends = (0.0, 0.0)  # of the first and of the last moment
        self._seconds = array("d")  # the middle of each kept moment
        self._values = array("f")  # its K probabilities
        self._num_frames = 0
        self._keep_frame = 1
        self._thumbnails: list[tuple[float, np.ndarray]] = []

    def add(self, moment: Moment) -> None:
        """Add the next moment."""
        if self.num_moments % self._keep_every == 0:
            self._seconds.append((moment.start_seconds + moment.end_seconds) / 2)
            self._values.extend(moment.probabilities.tolist())
        self._ends = (moment.start_seconds if self.num_moments == 0 else self._ends[0], moment.end_seconds)
        self.num_moments += 1
        if len(self._seconds) >= MAX_MOMENTS:
            self._keep_every *= 2
            self._seconds, self._values = self._seconds[::2], array("f", self._probabilities()[::2].ravel().tolist())

    def add_frame(self, image: np.ndarray, seconds: float) -> None:
        """Add the next frame, (H, W, 3) uint8."""
        if self._num_frames % self._keep_frame == 0:
            height, width, _ = image.shape
            size = max(1, round(width * THUMBNAIL_PX / height)), THUMBNAIL_PX
            self._thumbnails.append((seconds, np.asarray(Image.fromarray(image).resize(size))))
        self._num_frames += 1
        if len(self._thumbnails) > MAX_THUMBNAILS:
            self._thumbnails, self._keep_frame = self._thumbnails[::2], 2 * self._keep_frame

    @rc_context({"text.parse_math": False})  # a name may have dollar signs
    def draw(self, path: Path, *, title: str) -> None:
        """Write the chart as a PNG."""
        figure = Figure(figsize=(WIDTH, HEIGHT))
        axes = figure.add_axes((LEFT, 0.17 + STRIP, RIGHT - LEFT, 0.73 - STRIP))
        start, end = self._ends
        end = end if end > start else start + 1.0
        self._draw_classes(axes, start, end)
        axes.set(xlim=(start, end), ylim=(0, 1), ylabel="probability")
        axes.set_title(textwrap.shorten(printable(title), 100))
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        step = next((step for step in STEPS if (end - start) / step <= MOST_TICKS), 86400 * (end - start) // 864000 + 1)
        axes.xaxis.set_major_locator(MultipleLocator(step))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: clock(seconds, end=end, step=step)))
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(handles, labels, loc="upper left", bbox_to_anchor=(RIGHT + 0.025, 0.92), fontsize=8)
        strip = figure.add_axes((LEFT, 0.06, RIGHT - LEFT, STRIP))
        strip.set_axis_off()
        self._draw_thumbnails(strip, start, end)
        figure.savefig(path, format="png", dpi=110)

    def _probabilities(self) -> np.ndarray:
        return np.array(self._values, dtype=np.float32).reshape(-1, len(self._names))  # (moments, K)

    def _draw_classes(self, axes: Axes, start: float, end: float) -> None:
        """Draw the classes that are the best at some moment, those with the highest peaks first, and the others."""
        values = self._probabilities()
        shown, num_more = leading_classes(values, MOST_CLASSES)
        x = np.array([start, *self._seconds, end])
        of_class = np.concatenate([values[:1], values, values[-1:]])[:, shown].T  # (classes, moments + 2)
        labels = [" " + textwrap.shorten(self._names[index], LEGEND_LETTERS, placeholder="…") for index in shown]
        colors = colormaps["tab20" if len(shown) > 10 else "tab10"].colors[: len(shown)]  # type: ignore[attr-defined]
        if self._multi_label:
            for line, label, color in zip(of_class, labels, colors, strict=True):
                axes.plot(x, line, label=label, color=color, linewidth=1.2)
            return
        if len(shown) == len(self._names):
            axes.stackplot(x, of_class, labels=labels, colors=colors, edgecolor="white", lw=0.3)
            return
        other = (1 - of_class.sum(axis=0)).clip(0, 1)
        also = f" (also {num_more} that lead at times)" if num_more else ""
        axes.stackplot(
            x,
            [*of_class, other],
            labels=[*labels, f" other{also}"],
            colors=[*colors, "0.88"],
            edgecolor="white",
            lw=0.3,
        )

    def _draw_thumbnails(self, axes: Axes, start: float, end: float) -> None:
        axes.set(xlim=(start, end), ylim=(0, 1))
        if not self._thumbnails:
            return
        height, width, _ = self._thumbnails[0][1].shape
        # The share of the axis that a thumbnail of full height takes; a wider one than the axis is made smaller.
        share = width / height * STRIP * HEIGHT / ((RIGHT - LEFT) * WIDTH)
        scale = min(1.0, 1 / share)
        count = max(1, min(MOST_SHOWN, int(1 / (share * scale * 1.04))))
        times = np.array([seconds for seconds, _ in self._thumbnails])
        for index in range(count):
            middle = start + (index + 0.5) * (end - start) / count
            image = self._thumbnails[int(np.abs(times - middle).argmin())][1]
            half = share * scale * (end - start) / 2
            axes.imshow(image, extent=(middle - half, middle + half, 1 - scale, 1), aspect="auto")
        axes.set(xlim=(start, end), ylim=(0, 1))


def clock(seconds: float, *, end: float, step: float = 1.0) -> str:
    """Return a time as h:mm:ss, of a video shorter than an hour as m:ss, with a digit more where ticks are closer.

    >>> clock(75, end=80), clock(75, end=7200), clock(1.5, end=3, step=0.5)
    ('1:15', '0:01:15', '0:01.5')
    """
    tenths = round(seconds * 10)
    whole, tenth = divmod(tenths, 10) if step < 1 else (round(seconds), 0)
    minutes, rest = divmod(whole, 60)
    text = f"{rest:02d}" + (f".{tenth}" if step < 1 else "")
    return f"{minutes // 60}:{minutes % 60:02d}:{text}" if end >= 3600 else f"{minutes}:{text}"
