"""Bar charts of the properties of the files."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from data_prep.command_line.most_frequent import most_frequent
from data_prep.summarize.row_values import number

MOST_VALUES = 12  # per chart
DURATION_EDGES = (0, 1, 2, 3, 5, 10, 20, 30, 60, 120, 300, 600, 3600)  # seconds
SHORT_SIDE_EDGES = (0, 120, 180, 240, 360, 480, 720, 1080, 2160)  # pixels

Bars = list[tuple[str, int]]  # value, how often it occurs


def charts(usable: Sequence[Mapping[str, str]], durations: Sequence[float]) -> list[tuple[str, Bars]]:
    """Return the name and the bars of each chart.

    Args:
        usable: one row per file that can be used.
        durations: seconds per row.
    """
    result = [("Duration of a row, seconds", _binned(durations, DURATION_EDGES))] if durations else []
    sizes = [
        (width, height)
        for row in usable
        if (width := number(row.get("width", ""))) and (height := number(row.get("height", "")))
    ]
    if sizes:
        resolutions = [f"{width:g}×{height:g}" for width, height in sizes]
        result += [
            ("Shorter side of a file's frames, pixels", _binned([min(size) for size in sizes], SHORT_SIDE_EDGES)),
            ("Resolution of a file, pixels", most_frequent(resolutions, MOST_VALUES)),
        ]
    rates = [f"{rate:.4g}" for row in usable if (rate := number(row.get("fps", "")))]
    if rates:
        result.append(("Frame rate of a file, frames per second", most_frequent(rates, MOST_VALUES)))
    for name, column in (("Codec", "codec"), ("Container", "container"), ("Exact decoders", "decoders")):
        values = [row[column] for row in usable if row.get(column)]
        if values:
            result.append((f"{name} of a file", most_frequent(values, MOST_VALUES)))
    return result


def _binned(values: Sequence[float], edges: Sequence[float]) -> Bars:
    """Return the bars from the first to the last that is not empty."""
    counts = [0] * len(edges)
    for value in values:
        counts[sum(value >= edge for edge in edges[1:])] += 1
    names = [f"{low} to {high}" for low, high in pairwise(edges)] + [f"{edges[-1]} and more"]
    full = [index for index, count in enumerate(counts) if count]
    return list(zip(names, counts, strict=True))[full[0] : full[-1] + 1]
