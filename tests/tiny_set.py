"""A few videos for training a network of two channels, and the config of a run that takes a second."""

from pathlib import Path

import av
import numpy as np
import torch
import yaml
from lightning.pytorch import Callback, LightningModule, Trainer

from videoctx.data.annotations import write_manifest

CLASSES = ["blue_up", "green_down", "red_still"]
CHANNEL = {"blue_up": 2, "green_down": 1, "red_still": 0}
ROWS_PER_FRAME = {"blue_up": -2, "green_down": 2, "red_still": 0}
NUM_FRAMES = 20


def encode(path: Path, *, name: str, seed: int) -> None:
    """Write a 96 × 80 H.264 video of a band over noise. The class decides the band's color and movement."""
    noise = np.random.default_rng(seed).integers(0, 80, (80, 96, 3), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"x264-params": "threads=1:log-level=none"})
        stream.width, stream.height, stream.pix_fmt = 96, 80, "yuv420p"
        for index in range(NUM_FRAMES):
            image = noise.copy()
            rows = (np.arange(16) + 5 * seed + ROWS_PER_FRAME[name] * index) % 80
            image[rows, :, CHANNEL[name]] = 240
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def make_set(folder: Path, *, num_videos: dict[str, int]) -> Path:
    """Write `train0.mp4`, `train1.mp4`, … of alternating classes, and return the path of their manifest."""
    rows = []
    for split, count in num_videos.items():
        for index in range(count):
            name = CLASSES[index % len(CLASSES)]
            encode(folder / f"{split}{index}.mp4", name=name, seed=len(rows))
            rows.append({"path": f"{split}{index}.mp4", "label": name, "split": split})
    write_manifest(folder / "manifest.csv", rows, CLASSES)
    return folder / "manifest.csv"


def break_video(path: Path, how: str) -> None:
    content = path.read_bytes()
    path.unlink()
    if how != "missing":
        path.write_bytes({"empty": b"", "truncated": content[: len(content) // 2], "text": b"no video\n" * 99}[how])


def write_config(path: Path, *, manifest: Path, runs: Path, context: str | None = None) -> Path:
    """Write the complete config of a run. The run's folder is the logger's `name` in `runs`."""
    net = {"depth": 18, "width": 2, "temporal_kernels": "i3d", "dropout": 0.5}
    if context:
        net |= {"context": {"class_path": context}, "context_at": {"res5": [0, 1]}}
    config = {
        "data": {
            "manifest": str(manifest),
            "batch_size": 3,
            "clips": {"clip_len": 4, "frame_interval": 2},
            "train": {"crop_size_px": 32, "short_side_px": [32, 40]},
            "test": {"views": [2, 3], "crop_size_px": 28, "short_side_px": 32, "batch_size": 2},
            "loading": {"num_workers": 0},
        },
        "model": {
            "net": {"class_path": "videoctx.models.ResNet3D", "init_args": net},
            "optimizer": {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.02, "momentum": 0.9}},
        },
        "trainer": {
            "accelerator": "cpu",
            "devices": 1,
            "max_epochs": 2,
            "log_every_n_steps": 1,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "logger": {
                "class_path": "lightning.pytorch.loggers.CSVLogger",
                "init_args": {"save_dir": str(runs), "name": "run", "version": ""},
            },
        },
    }
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return path


class KeepWeights(Callback):
    """A callback that writes the parameters of every rank after training to `folder`."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        torch.save(dict(pl_module.named_parameters()), self.folder / f"rank{trainer.global_rank}.pt")
