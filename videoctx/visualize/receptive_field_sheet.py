"""An image of effective receptive fields, side by side."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from videoctx.atomic_write import atomic_write
from videoctx.visualize.receptive_field import THRESHOLD, ReceptiveField

LEAST = 1e-4  # the end of the color scale, relative to the greatest gradient
COLUMN_INCHES = 2.2


def draw_receptive_fields(fields: Mapping[str, ReceptiveField], path: Path) -> None:
    """Draw a PNG with a column per network: its greatest gradients over the frames, and those of each frame.

    The line in the map is the edge of the field. The colors are logarithmic.

    Args:
        fields: by the name of the network, from left to right.
        path: the file to write.
    """
    figure = Figure(figsize=(0.9 + COLUMN_INCHES * len(fields), 3.4), layout="constrained")
    rows = figure.subplots(2, len(fields), squeeze=False, height_ratios=(3, 1), sharey="row")
    image = None
    for (above, below), (name, field) in zip(rows.T, fields.items(), strict=True):
        relative = (field.map / field.map.max()).numpy()  # (T, H, W)
        over_frames = relative.max(axis=0)
        image = above.imshow(over_frames.clip(LEAST), norm=LogNorm(LEAST, 1), cmap="magma", interpolation="nearest")
        if (over_frames <= THRESHOLD).any():
            above.contour(over_frames > THRESHOLD, levels=[0.5], colors="cyan", linewidths=0.6)
        above.set(xticks=[], yticks=[])
        frames = f"{field.num_frames} of {len(relative)} frames"
        above.set_title(f"{name}\n{field.size_px:.0f} px, {frames}", fontsize=9, parse_math=False)
        by_frame = relative.max(axis=(1, 2))
        below.bar(np.arange(len(by_frame)) + 1, by_frame.clip(LEAST) - LEAST, bottom=LEAST, color="C1")
        below.axhline(THRESHOLD, color="gray", linestyle="--", linewidth=0.8)
        below.set(yscale="log", ylim=(LEAST, 1.5), xlabel="frame")
        below.xaxis.set_major_locator(MaxNLocator(integer=True))
    if image is not None:
        figure.colorbar(image, ax=rows[0].tolist(), label="gradient / greatest")
    with atomic_write(path) as part:
        figure.savefig(part, dpi=80, format="png")
