"""Maps in color over the frames that they belong to.

The color says the value, on one scale for the whole clip that begins at zero; the stronger it is, the less of the
frame shows through. What the network does not see, beyond its crop, is darkened.
"""

from dataclasses import dataclass

import matplotlib
import numpy as np

OPACITY = 0.75  # of the strongest value
DARKENED = 0.4  # brightness of what the network does not see
ARM_SHARE = 1 / 24  # of the frame's short side: half the length of the query's cross


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlay:
    """
    Args:
        frames: (T, H, W, 3) uint8.
        values: (T, H, W), NaN where the network does not see.
        unit: what the values are, for the color bar.
        query: which of the T frames, and the pixel x, y in it; none where no position was asked for.
    """

    frames: np.ndarray
    values: np.ndarray
    unit: str
    query: tuple[int, float, float] | None = None

    @property
    def limits(self) -> tuple[float, float]:
        """The ends of the color scale: from zero, or to both sides of it where there are negative values."""
        least, greatest = float(np.nanmin(self.values)), float(np.nanmax(self.values))
        reach = max(-least, greatest) or 1.0
        return (-reach, reach) if least < 0 else (0.0, reach)

    @property
    def colors(self) -> matplotlib.colors.Colormap:
        return matplotlib.colormaps["inferno" if self.limits[0] == 0 else "coolwarm"]

    def images(self) -> np.ndarray:
        """(T, H, W, 3) uint8: every frame under its map, the query's with a cross."""
        pictures = np.stack([self._picture(*pair) for pair in zip(self.frames, self.values, strict=True)])
        if self.query:
            frame, x, y = self.query
            draw_cross(pictures[frame], x, y)
        return pictures

    def _picture(self, frame: np.ndarray, values: np.ndarray) -> np.ndarray:
        """One at a time: the colors of a whole clip, as numbers, would not fit into memory."""
        least, greatest = self.limits
        unseen = np.isnan(values)
        values = np.where(unseen, 0, values)
        opacity = OPACITY * (np.abs(values) / greatest)[..., None]
        color = 255 * self.colors((values - least) / (greatest - least))[..., :3]
        picture = (1 - opacity) * frame + opacity * color
        return np.where(unseen[..., None], DARKENED * frame, picture).round().astype(np.uint8)


def draw_cross(picture: np.ndarray, x: float, y: float) -> None:
    """A white cross with a black edge, its center left open, in place."""
    height, width, _ = picture.shape
    arm = max(3, round(min(height, width) * ARM_SHARE))
    thick = max(0, arm // 6)
    rows, columns = np.arange(height)[:, None] - round(y), np.arange(width)[None] - round(x)
    for margin, shade in ((1, 0), (0, 255)):
        along_row = (np.abs(rows) <= thick + margin) & (np.abs(columns) <= arm + margin) & (np.abs(columns) > thick + 1)
        along_column = (np.abs(columns) <= thick + margin) & (np.abs(rows) <= arm + margin) & (np.abs(rows) > thick + 1)
        picture[along_row | along_column] = shade
