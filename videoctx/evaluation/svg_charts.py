"""Charts as SVG for a page: they take the page's colors, shrink with it, and bring their own words for who cannot see.

Colors come from the page's style: classes `axis`, `grid`, `series-0` … `series-3`, `band`, `bar`, `ideal`. Whatever is
text in here is escaped.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from matplotlib.ticker import MaxNLocator

WIDTH, HEIGHT = 480, 300
LEFT, RIGHT, TOP, BOTTOM = 62, 12, 12, 48  # margins, for ticks and titles
NUM_STYLES = 4
LEGEND_ROW = 18


@dataclass(frozen=True, slots=True)
class Series:
    """A line: points (x, y), perhaps the ends of an interval for each, and which points are drawn hollow."""

    name: str
    points: Sequence[tuple[float, float]]
    intervals: Sequence[tuple[float, float]] = ()
    hollow: Sequence[bool] = ()


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where numbers lie in the picture."""

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
) -> str:
    """Lines over common axes, with a legend below.

    Args:
        series: their x are counts, such as of steps.
        label: what there is to see, in words.
        percent: y is a share, and is labeled as one.
        markers: a dot on every point.
    """
    xs = [x for line in series for x, _ in line.points]
    ys = [y for line in series for _, y in line.points] + [
        end for line in series for ends in line.intervals for end in ends
    ]
    frame = _Frame(_widened(min(xs), max(xs)), _rounded(min(ys), max(ys)), HEIGHT + LEGEND_ROW * len(series))
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
            hollow = line.hollow or [False] * len(places)
            parts += [
                f'<circle class="{style}{" hollow" * is_hollow}" cx="{x}" cy="{y}" r="4"/>'
                for (x, y), is_hollow in zip(places, hollow, strict=True)
            ]
        y = HEIGHT + LEGEND_ROW * index + 6
        parts.append(f'<polyline class="{style}" points="{LEFT},{y} {LEFT + 34},{y}"/>')
        parts.append(f'<text x="{LEFT + 42}" y="{y + 5}">{escape(line.name)}</text>')
    return _svg(parts, label, frame.height)


def reliability_chart(bins: Sequence[tuple[float, float, float, float]], *, label: str) -> str:
    """Bars of accuracy over bins of confidence, a dot at each bin's mean confidence, and the line where both agree.

    Args:
        bins: lower end, upper end, mean confidence, accuracy of each that holds a video.
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


def _svg(parts: Sequence[str], label: str, height: float) -> str:
    head = f'<svg class="chart" role="img" aria-label="{escape(label)}" viewBox="0 0 {WIDTH} {height:g}">'
    return "\n".join([head, *parts, "</svg>"])


def _ticks(low: float, high: float, *, whole: bool = False) -> list[float]:
    slack = (high - low) * 1e-6
    return [
        value for value in MaxNLocator(5, integer=whole).tick_values(low, high) if low - slack <= value <= high + slack
    ]


def _widened(low: float, high: float) -> tuple[float, float]:
    """The same ends; around a single value, room on both sides."""
    return (low, high) if low < high else (low - 0.5, high + 0.5)


def _rounded(low: float, high: float) -> tuple[float, float]:
    values = MaxNLocator(5).tick_values(*_widened(low, high))
    return float(values[0]), float(values[-1])


def _number(value: float, percent: bool) -> str:
    if percent:
        return f"{100 * value:.4g}%"
    return f"{value / 1000:g}k" if abs(value) >= 10_000 else f"{round(value, 10):g}"


def _joined(places: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x},{y}" for x, y in places)
