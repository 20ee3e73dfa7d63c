"""Four shapes that appear one after the other, of which two are red and two are blue."""

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from data_prep.synthetic.clips import SyntheticClip

NUM_PLACES = 4  # top left, top right, bottom left, bottom right: quarters of the frame
ARRANGEMENTS = {"rows": (0, 0, 1, 1), "columns": (0, 1, 0, 1), "diagonals": (0, 1, 1, 0)}  # or with 0 and 1 swapped
CLASS_NAMES = tuple(ARRANGEMENTS)
COLORS = np.array([[0.9, 0.15, 0.15], [0.2, 0.3, 0.95]])  # red, blue
COLOR_JITTER = 0.1


class Look(NamedTuple):
    """The appearance of one split, which the other splits do not share."""

    corners: tuple[int, ...]  # of its shapes
    waves: tuple[float, float]  # fewest and most waves of its backgrounds across the frame


LOOKS = {"train": Look((3, 5), (1.5, 2.5)), "val": Look((4,), (2.75, 3.25)), "test": Look((6, 7), (3.5, 4.5))}

# Lengths are fractions of the side of a quarter.
RADIUS = 0.36, 0.44
OFF_CENTER = 0.03  # at the middle of its time
DRIFT = 0.03  # from there to the beginning or end of its time

NUM_WAVES = 6


@dataclass(frozen=True, slots=True)
class Shape:
    """What appears at one place, except for its color. Lengths are fractions of the side of a quarter."""

    turn: int  # in which quarter of the video it appears
    corners: int
    angle: float  # radians
    radius: float
    center: np.ndarray  # (2,) down and right, from the middle of the quarter, at the middle of its time
    drift: np.ndarray  # (2,) from there to the end of its time
    tint: np.ndarray  # (3,) added to its color


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything that a clip shows, except for its class, which determines which places share a color."""

    background: np.ndarray  # (T, H, W, 3) in 0..1
    shapes: tuple[Shape, ...]  # of the four places


@dataclass(frozen=True, slots=True)
class RelationClip(SyntheticClip):
    """A video of the dataset."""

    class_names: ClassVar[tuple[str, ...]] = CLASS_NAMES

    @property
    def colors(self) -> tuple[int, ...]:
        """The index of the color at each of the four places; every second clip of a class has them swapped."""
        return tuple((pair + self.index) % 2 for pair in ARRANGEMENTS[self.label])


def random_scene(generator: np.random.Generator, look: Look, *, num_frames: int, side: int) -> Scene:
    """Return a random scene, which does not depend on a class."""
    turns = generator.permutation(NUM_PLACES)
    return Scene(
        background=_background(generator, look.waves, num_frames, side),
        shapes=tuple(
            Shape(
                turn=int(turn),
                corners=int(generator.choice(look.corners)),
                angle=generator.uniform(0, 2 * np.pi),
                radius=generator.uniform(*RADIUS),
                center=generator.uniform(-OFF_CENTER, OFF_CENTER, size=2),
                drift=generator.uniform(-DRIFT, DRIFT, size=2),
                tint=generator.uniform(-COLOR_JITTER, COLOR_JITTER, size=3),
            )
            for turn in turns
        ),
    )


def render(scene: Scene, colors: tuple[int, ...]) -> np.ndarray:
    """Return the frames of the scene if the shapes at the four places have these colors: uint8 (T, H, W, 3)."""
    frames = scene.background.copy()
    num_frames, side = frames.shape[:2]
    half = side // 2
    for place, (shape, color) in enumerate(zip(scene.shapes, colors, strict=True)):
        top, left = (half * cell for cell in divmod(place, 2))
        times = np.arange(shape.turn * num_frames // NUM_PLACES, (shape.turn + 1) * num_frames // NUM_PLACES)
        for at, progress in zip(times, np.linspace(-1, 1, len(times)), strict=True):
            cover = _cover(shape, shape.center + progress * shape.drift, half)[..., None]
            quarter = frames[at, top : top + half, left : left + half]
            quarter += cover * (np.clip(COLORS[color] + shape.tint, 0, 1) - quarter)
    return np.rint(255 * frames).astype(np.uint8)


def _background(generator: np.random.Generator, waves: tuple[float, float], num_frames: int, side: int) -> np.ndarray:
    """Return dark plane waves that move over the frame: (T, H, W, 3) in 0..1."""
    down, right = np.mgrid[:side, :side] / side
    frames = np.zeros((num_frames, side, side))
    for _ in range(NUM_WAVES):
        heading, phase = generator.uniform(0, 2 * np.pi, size=2)
        along = generator.uniform(*waves) * (down * math.sin(heading) + right * math.cos(heading))  # (H, W)
        cycles = generator.uniform(0, 1) / num_frames * np.arange(num_frames)[:, None, None]  # (T, 1, 1)
        frames += np.sin(2 * np.pi * (along - cycles) + phase)
    mean, contrast = generator.uniform(0.2, 0.35), generator.uniform(0.05, 0.1)
    tint = generator.uniform(0.9, 1.1, size=3)
    return np.clip((mean + contrast * frames / math.sqrt(NUM_WAVES / 2))[..., None] * tint, 0, 1)


def _cover(shape: Shape, center: np.ndarray, quarter: int) -> np.ndarray:
    """Return which part of each pixel of its quarter a regular polygon covers: (quarter, quarter) in 0..1."""
    down, right = (np.mgrid[:quarter, :quarter] + 0.5) / quarter - 0.5 - center[:, None, None]
    angle_per_side = 2 * np.pi / shape.corners
    from_middle = (np.arctan2(down, right) - shape.angle) % angle_per_side - angle_per_side / 2
    distance = np.hypot(down, right) * np.cos(from_middle)  # from the center, across the nearest side
    apothem = shape.radius * math.cos(angle_per_side / 2)
    return np.clip((apothem - distance) * quarter + 0.5, 0, 1)
