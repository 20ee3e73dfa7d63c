"""The charts of a training: loss, metrics, learning rate, speed and waiting over the steps."""

from collections.abc import Mapping
from typing import NamedTuple

from markupsafe import Markup

from videoctx.evaluation.report.svg_charts import Series, line_chart
from videoctx.evaluation.report.training_curves import METRICS, WAIT, Curve, grouped


class TrainingChart(NamedTuple):
    """A chart with its title."""

    title: str
    chart: Markup


def training_charts(curves: Mapping[str, Curve]) -> list[TrainingChart]:
    """Return one chart for each group of curves that share their axes."""
    charts = []
    for title, group in grouped(curves).items():
        ranges = "; ".join(f"{name} from {curve[0][1]:.4g} to {curve[-1][1]:.4g}" for name, curve in group.items())
        chart = line_chart(
            [Series(name, curve) for name, curve in group.items()],
            label=f"{title} over training steps: {ranges}",
            x_title="step",
            y_title=title.lower(),
            percent=title in (METRICS, WAIT),
            markers=title == METRICS,
        )
        charts.append(TrainingChart(title, chart))
    return charts
