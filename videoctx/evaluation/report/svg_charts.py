"""Line charts and reliability diagrams as SVG, to be part of an HTML page.

The charts take the width and the colors of the page: its style defines the classes `axis`, `grid`, `series-0` …
`series-3`, `band`, `bar` and `ideal`. Each chart has a text for screen readers. All text is escaped.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape
from matplotlib.ticker import MaxNLocator

WIDTH, HEIGHT = 480, 300
LEFT, RIGHT, TOP, BOTTOM = 72, 26, 12, 48  # margins, for ticks and titles
NUM_STYLES = 4
LEGEND_ROW = 18


@dataclass(frozen=True, slots=True)
class Series:
    """A line of a chart.

    Args:
        name: for the legend.
        points: (x, y) of each point.
        intervals: the lower and the upper end at each point; empty without intervals.
        is_open: which points have an open marker; empty where all markers are filled.
    """

    name: str
    points: Sequence[tuple[float, float]]
    intervals: Sequence[tuple[float, float]] = ()
    is_open: Sequence[bool] = ()


@dataclass(frozen=True, slots=True)
class _Frame:
    """Maps numbers to positions in the image."""

    x: tuple[float, float]
    y: tuple[float, float]
    height: float

    def across(self, value: float) -> float:
        low, high = self.x
        return round(LEFT + (value - low) / (high - low) * (WIDTH - LEFT - RIGHT), 1)

    def down(self, value: float) -> float:
        low, high = self.y
        return round(HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - BOTTOM - TOP), 1)


def line_chart(
    series: Sequence[Series],
    *,
    label: str,
    x_title: str,
    y_title: str,
    percent: bool = False,
    markers: bool = False,
) -> Markup:
    """Return a chart of lines over common axes, with a legend below.

    Args:
        series: the lines. Their x values are counts, such as steps.
        label: the text for screen readers.
        x_title, y_title: of the axes.
        percent: y is a share in [0, 1], and is labeled in percent.
        markers: draw a marker at every point.
    """
    xs = [x for line in series for x, _ in line.points]
    ys = [y for line in series for _, y in line.points] + [
        end for line in series for ends in line.intervals for end in ends
    ]
    frame = _Frame(_with_room(min(xs), max(xs)), _rounded_out(min(ys), max(ys)), HEIGHT + LEGEND_ROW * len(series))
    parts = _axes(frame, x_title, y_title, percent=percent)
    for index, line in enumerate(series):
        style = f"series-{index % NUM_STYLES}"
        places = [(frame.across(x), frame.down(y)) for x, y in line.points]
        if line.intervals:
            lows = [(x, frame.down(low)) for (x, _), (low, _) in zip(places, line.intervals, strict=True)]
            highs = [(x, frame.down(high)) for (x, _), (_, high) in zip(places, line.intervals, strict=True)]
            parts.append(f'<polygon class="band {style}" points="{_joined([*lows, *reversed(highs)])}"/>')
        parts.append(f'<polyline class="{style}" points="{_joined(places)}"/>')
        if markers or len(places) == 1:
            is_open = line.is_open or [False] * len(places)
            parts += [
                f'<circle class="{style}{" open" * open_marker}" cx="{x}" cy="{y}" r="4"/>'
                for (x, y), open_marker in zip(places, is_open, strict=True)
            ]
        y = HEIGHT + LEGEND_ROW * index + 6
        parts.append(f'<polyline class="{style}" points="{LEFT},{y} {LEFT + 34},{y}"/>')
        parts.append(f'<text x="{LEFT + 42}" y="{y + 5}">{escape(line.name)}</text>')
    return _svg(parts, label, frame.height)


def reliability_chart(bins: Sequence[tuple[float, float, float, float]], *, label: str) -> Markup:
    """Return bars of accuracy, a dot at the mean confidence of each bin, and the line where both are equal.

    Args:
        bins: lower end, upper end, mean confidence and accuracy of each bin that holds a video.
        label: the text for screen readers.
    """
    frame = _Frame((0, 1), (0, 1), HEIGHT)
    parts = _axes(frame, "confidence", "accuracy", percent=True, x_percent=True)
    for low, high, _, accuracy in bins:
        left, top = frame.across(low), frame.down(accuracy)
        width, height = frame.across(high) - left - 1, frame.down(0) - top
        parts.append(f'<rect class="bar" x="{left}" y="{top}" width="{width:.1f}" height="{height:.1f}"/>')
    parts.append(f'<polyline class="ideal" points="{_joined([(frame.across(v), frame.down(v)) for v in (0, 1)])}"/>')
    for _, _, confidence, accuracy in bins:
        parts.append(f'<circle class="series-1" cx="{frame.across(confidence)}" cy="{frame.down(accuracy)}" r="4"/>')
    return _svg(parts, label, frame.height)


def _axes(frame: _Frame, x_title: str, y_title: str, *, percent: bool, x_percent: bool = False) -> list[str]:
    left, right, bottom = LEFT, WIDTH - RIGHT, HEIGHT - BOTTOM
    parts = []
    for value in _ticks(*frame.y):
        y = frame.down(value)
        parts.append(f'<path class="grid" d="M{left} {y}H{right}"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 5}" text-anchor="end">{_number(value, percent)}</text>')
    for value in _ticks(*frame.x, whole=not x_percent):
        x = frame.across(value)
        parts.append(f'<path class="axis" d="M{x} {bottom}v5"/>')
        parts.append(f'<text x="{x}" y="{bottom + 19}" text-anchor="middle">{_number(value, x_percent)}</text>')
    middle = (TOP + bottom) / 2
    parts.append(f'<path class="axis" d="M{left} {TOP}V{bottom}H{right}"/>')
    parts.append(f'<text x="{(left + right) / 2}" y="{bottom + 38}" text-anchor="middle">{escape(x_title)}</text>')
    parts.append(
        f'<text x="14" y="{middle}" text-anchor="middle" transform="rotate(-90 14 {middle})">{escape(y_title)}</text>'
    )
    return parts


def _svg(parts: Sequence[str], label: str, height: float) -> Markup:
    head = f'<svg class="chart" role="img" aria-label="{escape(label)}" viewBox="0 0 {WIDTH} {height:g}">'
    return Markup("\n".join([head, *parts, "</svg>"]))


def _ticks(low: float, high: float, *, whole: bool = False) -> list[float]:
    slack = (high - low) * 1e-6
    return [
        value for value in MaxNLocator(5, integer=whole).tick_values(low, high) if low - slack <= value <= high + slack
    ]


def _with_room(low: float, high: float) -> tuple[float, float]:
    """Return the same ends; with room on both sides where they are equal."""
    return (low, high) if low < high else (low - 0.5, high + 0.5)


def _rounded_out(low: float, high: float) -> tuple[float, float]:
    values = MaxNLocator(5).tick_values(*_with_room(low, high))
    return float(values[0]), float(values[-1])


def _number(value: float, percent: bool) -> str:
    if percent:
        return f"{100 * value:.4g}%"
    return f"{value / 1000:g}k" if abs(value) >= 10_000 else f"{round(value, 10):g}"


def _joined(places: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x},{y}" for x, y in places)
