"""A contact sheet of a clip: its frames in a row, and below each frame the same frame under its map."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from videoctx.terminal import printable
from videoctx.visualize.overlay import Overlay

MAX_COLUMNS = 8
COLUMN_INCHES = 1.75
TITLE_LETTERS_PER_COLUMN = 26
DPI = 110
QUERY_COLOR = "tab:red"


@rc_context({"text.parse_math": False})  # a name may have dollar signs
def write_contact_sheet(path: Path, overlay: Overlay, *, title: str, labels: Sequence[str]) -> None:
    """Write a PNG of at most eight frames, spread evenly over the clip.

    The frame of the query is among them, and marked in red.

    Args:
        path: the file to write.
        overlay: T frames with their maps.
        title: of the sheet.
        labels: T labels, one per frame.
    """
    chosen = chosen_frames(len(overlay.frames), overlay.query[0] if overlay.query else None)
    _, height, width, _ = overlay.frames.shape
    row_inches = COLUMN_INCHES * height / width
    wrapped = textwrap.fill(printable(title), width=TITLE_LETTERS_PER_COLUMN * (len(chosen) + 1))
    top_inches = 0.2 * (wrapped.count("\n") + 1) + 0.35
    inches = (COLUMN_INCHES * len(chosen) + 1.0, 2 * row_inches + top_inches + 0.1)
    figure = Figure(figsize=inches, dpi=DPI)
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(
        2,
        len(chosen) + 1,
        width_ratios=[*[1.0] * len(chosen), 0.06],
        left=0.1 / inches[0],
        right=1 - 0.6 / inches[0],
        bottom=0.1 / inches[1],
        top=1 - top_inches / inches[1],
        wspace=0.04,
        hspace=0.04,
    )
    images = overlay.images()
    for column, frame in enumerate(chosen):
        is_query = overlay.query is not None and frame == overlay.query[0]
        for row, image in enumerate((overlay.frames[frame], images[frame])):
            axes = figure.add_subplot(grid[row, column])
            axes.imshow(image, interpolation="nearest")
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set(color=QUERY_COLOR if is_query else "black", linewidth=1.5 if is_query else 0.5)
        figure.axes[-2].set_title(labels[frame], fontsize=7, pad=3, color=QUERY_COLOR if is_query else "black")
    scale = ScalarMappable(Normalize(*overlay.limits), overlay.colors)
    bar = figure.colorbar(scale, cax=figure.add_subplot(grid[:, -1]))
    bar.set_label(overlay.unit, fontsize=7)
    bar.ax.tick_params(labelsize=6)
    bar.ax.ticklabel_format(axis="y", scilimits=(-2, 4))
    bar.ax.yaxis.get_offset_text().set_fontsize(6)
    figure.suptitle(wrapped, fontsize=8, x=0.1 / inches[0], y=1 - 0.05 / inches[1], ha="left", va="top")
    figure.savefig(path, format="png")


def chosen_frames(num_frames: int, query_frame: int | None = None) -> list[int]:
    """Return at most `MAX_COLUMNS` frames, spread evenly.

    The frame of a query replaces the nearest of them.

    Example:
        >>> chosen_frames(16, query_frame=5)
        [0, 2, 5, 6, 9, 11, 13, 15]
    """
    chosen = np.linspace(0, num_frames - 1, min(num_frames, MAX_COLUMNS)).round().astype(int)
    if query_frame is not None:
        chosen[np.abs(chosen - query_frame).argmin()] = query_frame
    return chosen.tolist()
