"""A labeled set of real H.264 videos whose class is a relation between distant times, and nothing else.

Four shapes appear one after the other, each for a quarter of the video and in a quarter of the picture of its
own. Two of them are red and two are blue. The class says which have the same color:

| class       | one pair                    | the other pair             |
|-------------|-----------------------------|----------------------------|
| `rows`      | top left, top right         | bottom left, bottom right  |
| `columns`   | top left, bottom left       | top right, bottom right    |
| `diagonals` | top left, bottom right      | top right, bottom left     |

**No single time and no single place tells the class.** A frame shows one shape, and its place, its color and
when it comes have the same distribution in all classes. In every split each place has each color equally often in
every class, exactly. Two places tell no more than whether their pair is the class.

**Average pooling cannot count it out.** A network whose features see one frame (C2D), and that averages them before
a linear classifier, scores a class by a sum over the four shapes. Add to it the sum for the same clip with red and
blue exchanged: the total holds each shape once in red and once in blue, whatever the arrangement was. So at most one
class can be right both before and after the exchange, and the other two in one of both: **two thirds at best**, chance
being one third. The rest takes a product of what is seen at two times.

The splits share neither backgrounds (spatial frequencies), nor outlines (numbers of corners), nor seeds. The colors
they must share. A mirror leaves the class as it is.
"""

import math
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jsonargparse import auto_cli
from rich.progress import track

from data_prep.make_toy_dataset.__main__ import MIN_SIDE_PX, SPLITS, SettingError, encode
from videoctx.data.annotations import write_manifest

NUM_PLACES = 4  # top left, top right, bottom left, bottom right: quarters of the picture
ARRANGEMENTS = {"rows": (0, 0, 1, 1), "columns": (0, 1, 0, 1), "diagonals": (0, 1, 1, 0)}  # or with 0 and 1 exchanged
CLASS_NAMES = tuple(ARRANGEMENTS)
COLOURS = np.array([[0.9, 0.15, 0.15], [0.2, 0.3, 0.95]])  # red, blue
COLOUR_JITTER = 0.1


class Look(NamedTuple):
    """What only one split looks like."""

    corners: tuple[int, ...]  # of its shapes
    waves: tuple[float, float]  # least and most waves of its backgrounds across the picture


LOOKS = {"train": Look((3, 5), (1.5, 2.5)), "val": Look((4,), (2.75, 3.25)), "test": Look((6, 7), (3.5, 4.5))}

# Lengths as parts of the side of a quarter.
RADIUS = 0.36, 0.44
OFF_CENTRE = 0.03  # at the middle of its time
DRIFT = 0.03  # from there to the beginning or end of its time

NUM_WAVES = 6


@dataclass(frozen=True, slots=True)
class Shape:
    """What appears at one place: everything about it but its color. Lengths in parts of the side of a quarter."""

    turn: int  # which of the four times it has
    corners: int
    angle: float  # radians
    radius: float
    center: np.ndarray  # (2,) down and right, from the middle of the quarter, at the middle of its time
    drift: np.ndarray  # (2,) from there to the end of its time
    tint: np.ndarray  # (3,) added to its color


@dataclass(frozen=True, slots=True)
class Scene:
    """All that a clip shows but for the class, which only says which places share a color."""

    background: np.ndarray  # (T, H, W, 3) in 0..1
    shapes: tuple[Shape, ...]  # of the four places


@dataclass(frozen=True, slots=True)
class RelationClip:
    """One video of the set. Its place in the set is its seed, so no two of them share anything by descent."""

    split: str
    label: str
    index: int

    @property
    def path(self) -> str:
        """Where the video is, relative to the manifest."""
        return f"videos/{self.split}/{self.label}/{self.index:04d}.mp4"

    @property
    def colors(self) -> tuple[int, ...]:
        """Index of the color at each of the four places; every other clip of a class has them exchanged."""
        return tuple((pair + self.index) % 2 for pair in ARRANGEMENTS[self.label])

    def generator(self, seed: int) -> np.random.Generator:
        """A random stream of this clip's own, given the seed of the set."""
        place = (SPLITS.index(self.split), CLASS_NAMES.index(self.label), self.index)
        return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=place))


def relation_clips(*, train_per_class: int, val_per_class: int, test_per_class: int) -> Iterator[RelationClip]:
    """Every clip of the set, split by split and class by class."""
    for split, per_class in zip(SPLITS, (train_per_class, val_per_class, test_per_class), strict=True):
        for label in CLASS_NAMES:
            for index in range(per_class):
                yield RelationClip(split, label, index)


def draw_scene(generator: np.random.Generator, look: Look, *, num_frames: int, side: int) -> Scene:
    """A random scene. Nothing here knows a class."""
    turns = generator.permutation(NUM_PLACES)
    return Scene(
        background=_background(generator, look.waves, num_frames, side),
        shapes=tuple(
            Shape(
                turn=int(turn),
                corners=int(generator.choice(look.corners)),
                angle=generator.uniform(0, 2 * np.pi),
                radius=generator.uniform(*RADIUS),
                center=generator.uniform(-OFF_CENTRE, OFF_CENTRE, size=2),
                drift=generator.uniform(-DRIFT, DRIFT, size=2),
                tint=generator.uniform(-COLOUR_JITTER, COLOUR_JITTER, size=3),
            )
            for turn in turns
        ),
    )


def render(scene: Scene, colors: tuple[int, ...]) -> np.ndarray:
    """The frames of `scene` when the shapes at the four places have these colors: uint8 (T, H, W, 3)."""
    frames = scene.background.copy()
    num_frames, side = frames.shape[:2]
    half = side // 2
    for place, (shape, color) in enumerate(zip(scene.shapes, colors, strict=True)):
        top, left = (half * cell for cell in divmod(place, 2))
        times = np.arange(shape.turn * num_frames // NUM_PLACES, (shape.turn + 1) * num_frames // NUM_PLACES)
        for at, progress in zip(times, np.linspace(-1, 1, len(times)), strict=True):
            cover = _cover(shape, shape.center + progress * shape.drift, half)[..., None]
            picture = frames[at, top : top + half, left : left + half]
            picture += cover * (np.clip(COLOURS[color] + shape.tint, 0, 1) - picture)
    return np.rint(255 * frames).astype(np.uint8)


def make_relations_dataset(
    output_dir: Path,
    *,
    train_per_class: int = 200,
    val_per_class: int = 20,
    test_per_class: int = 100,
    num_frames: int = 16,
    side: int = 80,
    fps: int = 30,
    seed: int = 0,
    num_workers: int = 4,
) -> Path:
    """Encode the relations set: which two of four shapes, seen one after the other, have the same color.

    The same arguments give the same bytes. The manifest is written last, so a set that has one is whole.

    Args:
        output_dir: Folder for videos/, manifest.csv and classes.txt; made where it is missing.
        train_per_class: Training videos of each of the three classes, an even number.
        val_per_class: Validation videos of each class, an even number.
        test_per_class: Test videos of each class, an even number.
        num_frames: Frames in a video, a multiple of 4.
        side: Pixels across and down, even. decord 0.6 reads from 80 on.
        fps: Frames a second.
        seed: Another seed gives other scenes.
        num_workers: Threads that render and encode; numpy and x264 let them run side by side.

    Returns:
        The path of the manifest.

    Raises:
        SettingError: a count, size or seed out of its bounds.
    """
    for name, value, least, multiple in (
        ("train_per_class", train_per_class, 2, 2),
        ("val_per_class", val_per_class, 2, 2),
        ("test_per_class", test_per_class, 2, 2),
        ("num_frames", num_frames, NUM_PLACES, NUM_PLACES),
        ("side", side, MIN_SIDE_PX, 2),
        ("fps", fps, 1, 1),
        ("seed", seed, 0, 1),
        ("num_workers", num_workers, 1, 1),
    ):
        if value < least or value % multiple:
            expected = f"at least {least}" + (f" and a multiple of {multiple}" if multiple > 1 else "")
            raise SettingError(f"{name} is {value}; expected {expected}")

    output_dir = Path(output_dir)
    manifest = output_dir / "manifest.csv"
    manifest.unlink(missing_ok=True)
    clips = list(
        relation_clips(train_per_class=train_per_class, val_per_class=val_per_class, test_per_class=test_per_class)
    )
    make = partial(_make_clip, output_dir=output_dir, num_frames=num_frames, side=side, fps=fps, seed=seed)
    with ThreadPoolExecutor(num_workers) as pool:
        for _ in track(pool.map(make, clips), "Encoding", total=len(clips)):
            pass
    rows = [{"path": clip.path, "label": clip.label, "split": clip.split} for clip in clips]
    write_manifest(manifest.with_suffix(".partial"), rows, CLASS_NAMES)
    os.replace(manifest.with_suffix(".partial"), manifest)
    return manifest


def main() -> None:
    try:
        auto_cli(
            make_relations_dataset,
            prog="python -m data_prep.make_relations_dataset",
            epilog="example: python -m data_prep.make_relations_dataset datasets/relations --seed 1",
        )
    except (SettingError, OSError) as error:
        print(f"make_relations_dataset: {error}", file=sys.stderr)
        sys.exit(2)


def _make_clip(clip: RelationClip, *, output_dir: Path, num_frames: int, side: int, fps: int, seed: int) -> None:
    scene = draw_scene(clip.generator(seed), LOOKS[clip.split], num_frames=num_frames, side=side)
    encode(output_dir / clip.path, render(scene, clip.colors), fps=fps)


def _background(generator: np.random.Generator, waves: tuple[float, float], num_frames: int, side: int) -> np.ndarray:
    """Dark plane waves that roll over the picture: (T, H, W, 3) in 0..1."""
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
    """Which part of each pixel of its quarter a regular polygon covers: (quarter, quarter) in 0..1."""
    down, right = (np.mgrid[:quarter, :quarter] + 0.5) / quarter - 0.5 - center[:, None, None]
    slice_of_one_side = 2 * np.pi / shape.corners
    from_its_middle = (np.arctan2(down, right) - shape.angle) % slice_of_one_side - slice_of_one_side / 2
    distance = np.hypot(down, right) * np.cos(from_its_middle)  # from the center, across the nearest side
    apothem = shape.radius * math.cos(slice_of_one_side / 2)
    return np.clip((apothem - distance) * quarter + 0.5, 0, 1)


if __name__ == "__main__":
    main()
