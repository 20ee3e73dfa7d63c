"""Two bright shapes that move over a dark textured background that shakes, in eight combinations of directions."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from data_prep.synthetic.clips import SyntheticClip

LEFT, RIGHT, UP, DOWN = (0, -1), (0, 1), (-1, 0), (1, 0)  # headings, (down, right)
HEADINGS = {  # class: heading of the left shape, heading of the right shape
    "both_left": (LEFT, LEFT),
    "both_right": (RIGHT, RIGHT),
    "both_up": (UP, UP),
    "both_down": (DOWN, DOWN),
    "apart": (LEFT, RIGHT),
    "together": (RIGHT, LEFT),
    "clockwise": (UP, DOWN),
    "anticlockwise": (DOWN, UP),
}
CLASS_NAMES = tuple(HEADINGS)

# Lengths as parts of the side of the central square.
WINDOW_TOP, WINDOW_HEIGHT = 2 / 16, 12 / 16
WINDOW_LEFTS, WINDOW_WIDTH = (2 / 16, 9 / 16), 5 / 16
RADIUS = 0.08, 0.11
SPEED = 0.015, 0.03  # per frame: five frames move less than half a window; beyond it a shape would seem to turn back
SHAKE_PX = 2


@dataclass(frozen=True, slots=True)
class Shape:
    """A moving shape, except for its heading. Lengths are in pixels; positions are (down, right)."""

    corner: tuple[int, int]  # of its window, in the frame
    window: tuple[int, int]  # height and width of the torus it moves on
    center: np.ndarray  # (2,) in the window, at the pivot frame
    speed: float  # pixels per frame
    radius: float
    roundness: float  # p in |down|^p + |right|^p = radius^p: 1 is a diamond, 2 a disc, 8 nearly a square
    color: np.ndarray  # (3,) in 0..1


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything that a clip shows, except for its class, which determines the headings."""

    texture: np.ndarray  # (H, W, 3) in 0..1, periodic in both directions
    shake: np.ndarray  # (T, 2) pixels by which each frame's background is displaced
    pivot: int  # the frame in which the shapes are at their `center`
    shapes: tuple[Shape, Shape]  # left, right


@dataclass(frozen=True, slots=True)
class ToyClip(SyntheticClip):
    """A video of the dataset."""

    class_names: ClassVar[tuple[str, ...]] = CLASS_NAMES


def random_scene(generator: np.random.Generator, *, num_frames: int, width: int, height: int) -> Scene:
    """Return a random scene, which does not depend on a class."""
    mean = generator.uniform(0.1, 0.4, size=3)
    contrast = generator.uniform(0.05, 0.1, size=3)
    return Scene(
        texture=np.clip(mean + contrast * _cloud(generator, width, height)[..., None], 0, 1),
        shake=generator.integers(-SHAKE_PX, SHAKE_PX, size=(num_frames, 2), endpoint=True),
        pivot=int(generator.integers(num_frames)),
        shapes=(
            _random_shape(generator, WINDOW_LEFTS[0], width, height),
            _random_shape(generator, WINDOW_LEFTS[1], width, height),
        ),
    )


def render(scene: Scene, label: str) -> np.ndarray:
    """Return the frames of the scene if its shapes move as in class `label`: uint8 (T, H, W, 3)."""
    height, width, _ = scene.texture.shape
    rows = (np.arange(height) + scene.shake[:, :1]) % height  # (T, H)
    columns = (np.arange(width) + scene.shake[:, 1:]) % width  # (T, W)
    frames = scene.texture[rows[:, :, None], columns[:, None, :]]  # (T, H, W, 3)

    frames_since_pivot = np.arange(len(frames)) - scene.pivot  # (T,)
    for shape, heading in zip(scene.shapes, HEADINGS[label], strict=True):
        _paint(frames, shape, shape.center + np.outer(frames_since_pivot * shape.speed, heading))
    return np.rint(255 * frames).astype(np.uint8)


def _cloud(generator: np.random.Generator, width: int, height: int) -> np.ndarray:
    """Return periodic 1/f noise (H, W) of mean 0 and standard deviation 1."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    frequency[0, 0] = np.inf
    spectrum = np.fft.rfft2(generator.standard_normal((height, width))) / frequency
    cloud = np.fft.irfft2(spectrum, s=(height, width))
    return cloud / cloud.std()


def _random_shape(generator: np.random.Generator, window_left: float, width: int, height: int) -> Shape:
    side = min(width, height)
    window = round(WINDOW_HEIGHT * side), round(WINDOW_WIDTH * side)
    top = (height - side) / 2 + WINDOW_TOP * side
    left = (width - side) / 2 + window_left * side
    return Shape(
        corner=(round(top), round(left)),
        window=window,
        center=generator.uniform(size=2) * window,
        speed=generator.uniform(*SPEED) * side,
        radius=generator.uniform(*RADIUS) * side,
        roundness=2 ** generator.uniform(0, 3),
        color=generator.uniform(0.6, 1, size=3),
    )


def _paint(frames: np.ndarray, shape: Shape, centers: np.ndarray) -> None:
    """Paint the shape into float frames (T, H, W, 3), in place, at its centers (T, 2) modulo its window."""
    (top, left), (height, width) = shape.corner, shape.window
    down, right = (
        np.abs((np.arange(extent) - center[:, None] + extent / 2) % extent - extent / 2)
        for extent, center in zip(shape.window, centers.T, strict=True)
    )  # (T, height), (T, width): distance from the center, the short way around
    power = shape.roundness
    distance = (down[:, :, None] ** power + right[:, None, :] ** power) ** (1 / power)  # (T, height, width)
    cover = np.clip(shape.radius - distance + 0.5, 0, 1)[..., None]  # partial at the edge, over one pixel
    window = frames[:, top : top + height, left : left + width]
    window += cover * (shape.color - window)
