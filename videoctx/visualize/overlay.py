"""Maps in color over the frames of a video.

The color shows the value, on one scale for the whole clip. The greater the value, the more opaque the color. A map that
is the same everywhere has the color in the middle of the scale, and no frame is more opaque than another. The parts
of a frame outside the network's crop are darkened.
"""

from dataclasses import dataclass, replace

import matplotlib
import numpy as np

OPACITY = 0.75  # of the greatest value
DARKENED = 0.4  # brightness outside the crop
ARM_SHARE = 1 / 24  # half the length of the query's cross, as a share of the frame's short side


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlay:
    """A map over T frames.

    Args:
        frames: (T, H, W, 3) uint8.
        values: (T, H, W), NaN outside the network's crop.
        unit: of the values, for the color bar.
        query: the position to mark: which of the T frames, and the pixel x, y. None: no mark.
        is_uniform: whether the map weighs all places alike (`videoctx.visualize.uniform_map`).
        ends: of the color scale. None: those of the values.
    """

    frames: np.ndarray
    values: np.ndarray
    unit: str
    query: tuple[int, float, float] | None = None
    is_uniform: bool = False
    ends: tuple[float, float] | None = None

    @property
    def limits(self) -> tuple[float, float]:
        """The ends of the color scale, which starts at zero. With negative values it is symmetric around zero.

        A uniform map is in the middle of the scale: it has no greatest value.
        """
        if self.ends is not None:
            return self.ends
        least, greatest = float(np.nanmin(self.values)), float(np.nanmax(self.values))
        reach = max(-least, greatest) * (2 if self.is_uniform else 1) or 1.0
        return (-reach, reach) if least < 0 else (0.0, reach)

    @property
    def colors(self) -> matplotlib.colors.Colormap:
        """The color map."""
        return matplotlib.colormaps["inferno" if self.limits[0] == 0 else "coolwarm"]

    def shrunk(self, frames: np.ndarray) -> "Overlay":
        """Return the same map over smaller frames (T, h, w, 3), on the same color scale."""
        _, height, width = self.values.shape
        _, small_height, small_width, _ = frames.shape
        y_scale, x_scale = height / small_height, width / small_width
        rows = ((np.arange(small_height) + 0.5) * y_scale).astype(int)
        columns = ((np.arange(small_width) + 0.5) * x_scale).astype(int)
        query = self.query
        if query is not None:
            frame, x, y = query
            query = frame, (x + 0.5) / x_scale - 0.5, (y + 0.5) / y_scale - 0.5
        values = self.values[:, rows[:, None], columns]  # (T, h, w)
        return replace(self, frames=frames, values=values, query=query, ends=self.limits)

    def images(self) -> np.ndarray:
        """Return every frame under its map, with a cross at the query, (T, H, W, 3) uint8."""
        images = np.stack([self._image(*pair) for pair in zip(self.frames, self.values, strict=True)])
        if self.query:
            frame, x, y = self.query
            draw_cross(images[frame], x, y)
        return images

    def _image(self, frame: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Return one frame under its map. The float colors of a whole clip would not fit into memory."""
        least, greatest = self.limits
        outside = np.isnan(values)
        values = np.where(outside, 0, values)
        opacity = OPACITY * (np.abs(values) / greatest)[..., None]
        color = 255 * self.colors((values - least) / (greatest - least))[..., :3]
        image = (1 - opacity) * frame + opacity * color
        return np.where(outside[..., None], DARKENED * frame, image).round().astype(np.uint8)


def draw_cross(image: np.ndarray, x: float, y: float) -> None:
    """Draw a white cross with a black edge and an open center into an image (H, W, 3), in place."""
    height, width, _ = image.shape
    arm = max(3, round(min(height, width) * ARM_SHARE))
    thick = max(0, arm // 6)
    rows, columns = np.arange(height)[:, None] - round(y), np.arange(width)[None] - round(x)
    for margin, shade in ((1, 0), (0, 255)):
        along_row = (np.abs(rows) <= thick + margin) & (np.abs(columns) <= arm + margin) & (np.abs(columns) > thick + 1)
        along_column = (np.abs(columns) <= thick + margin) & (np.abs(rows) <= arm + margin) & (np.abs(rows) > thick + 1)
        image[along_row | along_column] = shade
