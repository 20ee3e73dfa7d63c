"""A small labeled set of real H.264 videos, to try the whole pipeline on before one's own dataset is ready.

Two bright shapes move over a dark textured background that shakes, one in the left part of the picture and
one in the right part. The eight classes say where the two go:

| class        | left shape | right shape | | class           | left shape | right shape |
|--------------|------------|-------------|-|-----------------|------------|-------------|
| `both_left`  | ←          | ←           | | `apart`         | ←          | →           |
| `both_right` | →          | →           | | `together`      | →          | ←           |
| `both_up`    | ↑          | ↑           | | `clockwise`     | ↑          | ↓           |
| `both_down`  | ↓          | ↓           | | `anticlockwise` | ↓          | ↑           |

**No single frame tells the class.** Each shape moves on a torus, its window: what leaves at one edge comes
back at the opposite one. A scene (shapes, places, colors, texture, shake) is drawn before the class is
known, as it is at a random pivot frame; the class only runs it backward and forward from there. So every
frame has the same distribution in all classes, and clips of one scene and different classes share their pivot
frame to the last pixel until they are encoded.

**No single place tells it either.** The heading of one shape leaves two classes, so whoever sees one side is
right half of the time at best. And nothing but its place tells the left shape from the right one, so a bag of
local motions cannot tell `apart` from `together`, nor one turn from the other: three quarters at best. The
rest takes the relation between distant places.

Left is not right here: a mirror turns `both_left` into `both_right`, so **train without horizontal flips**.
Both windows lie within the middle three quarters of the central square, so a crop of seven eighths of the
side of a square frame (70 of the default 80 pixels, 64 of 72) keeps them whole wherever it lies.
"""

import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import av
import numpy as np
from jsonargparse import auto_cli
from rich.progress import track

from videoctx.data.annotations import write_manifest

SPLITS = ("train", "val", "test")
LEFT, RIGHT, UP, DOWN = (0, -1), (0, 1), (-1, 0), (1, 0)  # headings, (down, right)
HEADINGS = {  # class: heading of the left shape, heading of the right one
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
SPEED = 0.015, 0.03  # a frame: five frames stay under half a window, beyond which a shape seems to turn back
SHAKE_PX = 2
MIN_SIDE_PX = 32  # in a smaller picture the shapes are a few pixels wide


class SettingError(ValueError):
    """An argument that cannot be used; the message gives its value and what is accepted."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A moving shape: everything about it but its heading. Lengths in pixels; places are (down, right)."""

    corner: tuple[int, int]  # of its window, in the frame
    window: tuple[int, int]  # height and width of the torus it moves on
    center: np.ndarray  # (2,) in the window, at the pivot frame
    speed: float  # pixels a frame
    radius: float
    roundness: float  # p in |down|^p + |right|^p = radius^p: 1 is a diamond, 2 a disc, 8 nearly a square
    color: np.ndarray  # (3,) in 0..1


@dataclass(frozen=True, slots=True)
class Scene:
    """All that a clip shows but for the class, which only says where the shapes go from the pivot frame."""

    texture: np.ndarray  # (H, W, 3) in 0..1, periodic in both directions
    shake: np.ndarray  # (T, 2) pixels by which each frame's background is displaced
    pivot: int  # the frame at which the shapes are at their `center`
    shapes: tuple[Shape, Shape]  # left, right


@dataclass(frozen=True, slots=True)
class ToyClip:
    """One video of the set. Its place in the set is its seed, so no two of them share anything by descent."""

    split: str
    label: str
    index: int

    @property
    def path(self) -> str:
        """Where the video is, relative to the manifest."""
        return f"videos/{self.split}/{self.label}/{self.index:04d}.mp4"

    def generator(self, seed: int) -> np.random.Generator:
        """A random stream of this clip's own, given the seed of the set."""
        place = (SPLITS.index(self.split), CLASS_NAMES.index(self.label), self.index)
        return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=place))


def toy_clips(*, train_per_class: int, val_per_class: int, test_per_class: int) -> Iterator[ToyClip]:
    """Every clip of the set, split by split and class by class."""
    for split, per_class in zip(SPLITS, (train_per_class, val_per_class, test_per_class), strict=True):
        for label in CLASS_NAMES:
            for index in range(per_class):
                yield ToyClip(split, label, index)


def draw_scene(generator: np.random.Generator, *, num_frames: int, width: int, height: int) -> Scene:
    """A random scene. Nothing here knows a class."""
    mean = generator.uniform(0.1, 0.4, size=3)
    contrast = generator.uniform(0.05, 0.1, size=3)
    return Scene(
        texture=np.clip(mean + contrast * _cloud(generator, width, height)[..., None], 0, 1),
        shake=generator.integers(-SHAKE_PX, SHAKE_PX, size=(num_frames, 2), endpoint=True),
        pivot=int(generator.integers(num_frames)),
        shapes=tuple(_draw_shape(generator, window_left, width, height) for window_left in WINDOW_LEFTS),
    )


def render(scene: Scene, label: str) -> np.ndarray:
    """The frames of `scene` when its shapes move as the class `label` says: uint8 (T, H, W, 3)."""
    height, width, _ = scene.texture.shape
    rows = (np.arange(height) + scene.shake[:, :1]) % height  # (T, H)
    columns = (np.arange(width) + scene.shake[:, 1:]) % width  # (T, W)
    frames = scene.texture[rows[:, :, None], columns[:, None, :]]  # (T, H, W, 3)

    frames_since_pivot = np.arange(len(frames)) - scene.pivot  # (T,)
    for shape, heading in zip(scene.shapes, HEADINGS[label], strict=True):
        _paint(frames, shape, shape.center + np.outer(frames_since_pivot * shape.speed, heading))
    return np.rint(255 * frames).astype(np.uint8)


def encode(path: Path, frames: np.ndarray, *, fps: int) -> None:
    """Write uint8 frames (T, H, W, 3) as H.264 in mp4: yuv420p, B-frames, closed GOPs of half a second.

    The file takes its name only once it is whole.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial_path = path.with_suffix(".partial")
    # For the same bytes every time: x264's output depends on the number of threads, and its macroblock tree
    # differs from run to run on pictures this small.
    options = {"crf": "18", "preset": "veryfast", "threads": "1"}
    options["x264-params"] = "mbtree=0:scenecut=0:open-gop=0"
    with av.open(partial_path, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=fps, options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.gop_size = max(fps // 2, 1)
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    os.replace(partial_path, path)


def make_toy_dataset(
    output_dir: Path,
    *,
    train_per_class: int = 40,
    val_per_class: int = 8,
    test_per_class: int = 15,
    num_frames: int = 32,
    width: int = 80,
    height: int = 80,
    fps: int = 30,
    seed: int = 0,
    num_workers: int = 4,
) -> Path:
    """Encode the toy dataset: eight classes of moving shapes that no single frame tells apart.

    The same arguments give the same bytes. The manifest is written last, so a set that has one is whole.

    Args:
        output_dir: Folder for videos/, manifest.csv and classes.txt; made where it is missing.
        train_per_class: Training videos of each of the eight classes.
        val_per_class: Validation videos of each class.
        test_per_class: Test videos of each class.
        num_frames: Frames in a video.
        width: Pixels across, even. decord 0.6 cannot read 48 and 72: it counts four channels there.
        height: Pixels down, even.
        fps: Frames a second.
        seed: Another seed gives other scenes.
        num_workers: Threads that render and encode; numpy and x264 let them run side by side.

    Returns:
        The path of the manifest.

    Raises:
        SettingError: a count, size or seed out of its bounds.
    """
    for name, value, least in (
        ("train_per_class", train_per_class, 1),
        ("val_per_class", val_per_class, 1),
        ("test_per_class", test_per_class, 1),
        ("num_frames", num_frames, 2),
        ("width", width, MIN_SIDE_PX),
        ("height", height, MIN_SIDE_PX),
        ("fps", fps, 1),
        ("seed", seed, 0),
        ("num_workers", num_workers, 1),
    ):
        if value < least:
            raise SettingError(f"{name} is {value}; expected at least {least}")
    for name, value in (("width", width), ("height", height)):
        if value % 2:
            raise SettingError(f"{name} is {value}; expected an even number, as yuv420p halves color")

    output_dir = Path(output_dir)
    manifest = output_dir / "manifest.csv"
    manifest.unlink(missing_ok=True)
    clips = list(toy_clips(train_per_class=train_per_class, val_per_class=val_per_class, test_per_class=test_per_class))
    make = partial(
        _make_clip,
        output_dir=output_dir,
        num_frames=num_frames,
        width=width,
        height=height,
        fps=fps,
        seed=seed,
    )
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
            make_toy_dataset,
            prog="python -m data_prep.make_toy_dataset",
            epilog="example: python -m data_prep.make_toy_dataset datasets/toy --seed 1",
        )
    except (SettingError, OSError) as error:
        print(f"make_toy_dataset: {error}", file=sys.stderr)
        sys.exit(2)


def _make_clip(
    clip: ToyClip, *, output_dir: Path, num_frames: int, width: int, height: int, fps: int, seed: int
) -> None:
    scene = draw_scene(clip.generator(seed), num_frames=num_frames, width=width, height=height)
    encode(output_dir / clip.path, render(scene, clip.label), fps=fps)


def _cloud(generator: np.random.Generator, width: int, height: int) -> np.ndarray:
    """Periodic 1/f noise (H, W) of mean 0 and standard deviation 1."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    frequency[0, 0] = np.inf
    spectrum = np.fft.rfft2(generator.standard_normal((height, width))) / frequency
    cloud = np.fft.irfft2(spectrum, s=(height, width))
    return cloud / cloud.std()


def _draw_shape(generator: np.random.Generator, window_left: float, width: int, height: int) -> Shape:
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
    """SampleIndex the shape into float frames (T, H, W, 3), in place, at its centers (T, 2) modulo its window."""
    (top, left), (height, width) = shape.corner, shape.window
    down, right = (
        np.abs((np.arange(extent) - center[:, None] + extent / 2) % extent - extent / 2)
        for extent, center in zip(shape.window, centers.T, strict=True)
    )  # (T, height), (T, width): how far from the center, the short way round
    power = shape.roundness
    distance = (down[:, :, None] ** power + right[:, None, :] ** power) ** (1 / power)  # (T, height, width)
    cover = np.clip(shape.radius - distance + 0.5, 0, 1)[..., None]  # a part at the edge, over one pixel
    picture = frames[:, top : top + height, left : left + width]
    picture += cover * (shape.color - picture)


if __name__ == "__main__":
    main()
