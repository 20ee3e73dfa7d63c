"""A handful of videos that a network of two channels can tell apart, and the arguments of a run on them in seconds."""

from pathlib import Path

import av
import numpy as np

from videoctx.data.annotations import write_manifest

CLASSES = ["blue_up", "green_down", "red_still"]
STEPS = {"blue_up": -2, "green_down": 2, "red_still": 0}  # rows a frame
CHANNELS = {"blue_up": 2, "green_down": 1, "red_still": 0}


def encode(path: Path, *, name: str = "red_still", num_frames: int = 20, seed: int = 0, side_px: int = 64) -> None:
    """H.264: a bright band of the class's colour that moves as the class says, on noise."""
    noise = np.random.default_rng(seed).integers(0, 80, (side_px, side_px, 3), dtype=np.uint8)
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width = stream.height = side_px
        stream.pix_fmt = "yuv420p"
        for index in range(num_frames):
            picture = noise.copy()
            rows = (np.arange(16) + seed + STEPS[name] * index) % side_px
            picture[rows, :, CHANNELS[name]] = 240
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def make_set(folder: Path, *, num_videos: dict[str, int]) -> Path:
    """As many videos of each split as asked, the classes in turn; the manifest's path."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for split, count in num_videos.items():
        for index in range(count):
            name = CLASSES[index % len(CLASSES)]
            path = f"{split}{index}.mp4"
            encode(folder / path, name=name, seed=len(rows))
            rows.append({"path": path, "label": name, "split": split})
    write_manifest(folder / "manifest.csv", rows, CLASSES)
    return folder / "manifest.csv"
