"""Synthetic videos to measure on, like those of Kinetics at 340 × 256; they are encoded once and kept.

A camera moves, turns and zooms over a texture with the frequency spectrum of a photograph, and textured objects move
over it. With its usual presets x264 encodes them at 300 to 600 kbit/s, as it does real clips of this size.
"""

import math
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import av
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from videoctx.atomic_write import atomic_write
from videoctx.interrupts import without_interrupts

WIDTH, HEIGHT = 340, 256
FPS = 30
NUM_OBJECTS = 4


def synthetic_videos(
    folder: Path,
    *,
    gop: int,
    num_videos: int,
    num_frames: int = 10 * FPS,
    num_workers: int = 1,
    on_video: Callable[[], None] = lambda: None,
) -> list[Path]:
    """Return `num_videos` H.264 files with a key frame every `gop` frames. Files that exist are not encoded again.

    The frames are the same for every `gop`. The distance of a clip's first frame from its key frame differs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{num_frames}_frames_gop{gop}_{index}.mp4" for index in range(num_videos)]
    missing = [index for index, path in enumerate(paths) if not path.is_file()]
    for _ in range(num_videos - len(missing)):
        on_video()
    if missing:
        with ProcessPoolExecutor(num_workers, mp_context=get_context("spawn")) as pool:
            encode = partial(_encode, gop=gop, num_frames=num_frames)
            with without_interrupts():
                tasks = [pool.submit(encode, paths[index], seed=index) for index in missing]
            for done in as_completed(tasks):
                done.result()
                on_video()
    return paths


def _encode(path: Path, *, seed: int, gop: int, num_frames: int) -> None:
    torch.set_num_threads(1)  # one process per core
    with atomic_write(path) as part, av.open(str(part), "w", format="mp4") as container:
        options = {"g": str(gop), "keyint_min": str(gop), "sc_threshold": "0", "crf": "23"}
        options["x264-params"] = "threads=1:log-level=none"
        stream = container.add_stream("libx264", rate=FPS, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        scene = Scene(seed)
        for index in range(num_frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(scene.frame(index / FPS), format="rgb24")))
        container.mux(stream.encode())


class Scene:
    """A moving camera and moving objects."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.background = _texture(rng, contrast=35)
        self.camera = _Path(rng, reach=0.45, turn=0.15, zoom=(0.35, 0.45))
        self.objects = [
            (_texture(rng, contrast=45) * _ellipse(rng), _Path(rng, reach=0.7, turn=0.8, zoom=(3.0, 6.0)))
            for _ in range(NUM_OBJECTS)
        ]

    def frame(self, seconds: float) -> np.ndarray:
        """Return a frame, (256, 340, 3) uint8 RGB."""
        frame = self.camera.view(self.background, seconds)[:, :3]
        for layer, path in self.objects:
            seen = path.view(layer, seconds)  # (1, 4, H, W), colors times opacity
            frame = frame * (1 - seen[:, 3:]) + seen[:, :3]
        return frame[0].permute(1, 2, 0).round().clamp(0, 255).byte().numpy()


class _Path:
    """The movement of the camera over a layer: smooth, and not periodic."""

    def __init__(self, rng: np.random.Generator, *, reach: float, turn: float, zoom: tuple[float, float]) -> None:
        self.reach, self.turn = reach, turn
        self.zoom = rng.uniform(*zoom)
        self.periods_seconds = rng.uniform(4, 11, 4)
        self.phases = rng.uniform(0, 2 * math.pi, 4)

    def view(self, layer: Tensor, seconds: float) -> Tensor:
        """Return the view of a layer: (4, h, w) → (1, 4, 256, 340), transparent beyond the layer's edge."""
        x, y, angle, zoom = np.sin(2 * math.pi * seconds / self.periods_seconds + self.phases)
        x, y, angle, zoom = self.reach * x, self.reach * y, self.turn * angle, self.zoom * (1 + 0.1 * zoom)
        cos, sin = zoom * math.cos(angle), zoom * math.sin(angle)
        if zoom > 1:  # a small object: its position is in units of its own size
            x, y = zoom * x, zoom * y
        theta = torch.tensor([[[cos, -sin, x], [sin, cos, y]]], dtype=torch.float32)
        grid = affine_grid(theta, [1, 4, HEIGHT, WIDTH], align_corners=False)
        return grid_sample(layer[None], grid, align_corners=False)


def _texture(rng: np.random.Generator, *, contrast: float) -> Tensor:
    """Return (4, 2 H, 2 W): colors around a mean with the spectrum of a photograph, and opacity 1."""
    height, width = 2 * HEIGHT, 2 * WIDTH
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = np.inf
    noise = np.fft.rfft2(rng.normal(size=(3, height, width))) / frequency**1.4
    gray_and_color = np.fft.irfft2(noise, s=(height, width))
    gray_and_color /= gray_and_color.std((1, 2), keepdims=True)
    gray, red, blue = gray_and_color
    colors = np.stack([gray + 0.4 * red, gray - 0.2 * red - 0.2 * blue, gray + 0.4 * blue]) * contrast
    colors += rng.uniform(80, 170, (3, 1, 1))
    return torch.from_numpy(np.concatenate([colors, np.ones((1, height, width))])).float()


def _ellipse(rng: np.random.Generator) -> Tensor:
    """Return the opacity of an ellipse, (2 H, 2 W), whose edge is a few pixels wide."""
    y, x = np.meshgrid(np.linspace(-1, 1, 2 * HEIGHT), np.linspace(-1, 1, 2 * WIDTH), indexing="ij")
    radius = np.hypot(x / rng.uniform(0.5, 0.95), y / rng.uniform(0.5, 0.95))
    return torch.from_numpy(np.clip((1 - radius) * 40, 0, 1)).float()
