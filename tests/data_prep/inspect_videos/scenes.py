"""Videos of moving waves, and manifests of them."""

import csv
from pathlib import Path

import av
import numpy as np

NUM_FRAMES = 48
QUIET = {"x264-params": "threads=1:log-level=none"}


def scene(seed: int) -> np.ndarray:
    """(48, 96, 128) of 40 to 215: waves of a few lengths and headings, all of them moving."""
    rng = np.random.default_rng(seed)
    down, right, time_ = np.mgrid[:96, :128, :NUM_FRAMES] / [[[[96]]], [[[128]]], [[[NUM_FRAMES]]]]
    image = np.zeros(down.shape)
    for _ in range(8):
        down_waves, right_waves, steps = rng.uniform(-4, 4, 3)
        image += np.cos(2 * np.pi * (down_waves * down + right_waves * right + steps / 4 * time_ + rng.random()))
    return (128 + 87 * image / np.abs(image).max()).transpose(2, 0, 1)


def encode(path: Path, images: np.ndarray, *, codec="libx264", size=(128, 96), options=QUIET) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        (stream.width, stream.height), stream.pix_fmt = size, "yuv420p"
        for image in images.round().astype(np.uint8):
            frame = av.VideoFrame.from_ndarray(image, format="gray").reformat(*size, format="yuv420p")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write(manifest: Path, rows, *, header="path,label,split,start_seconds,end_seconds") -> Path:
    with manifest.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header.split(","), *rows])
    (manifest.parent / "classes.txt").write_text("clap\nwave\n")
    return manifest


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
