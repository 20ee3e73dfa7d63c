"""Short runs of a trainer on synthetic clips, for the tests of training."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from lightning.pytorch import LightningDataModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn
from torch.optim import SGD
from torch.utils.data import DataLoader

from tests.small_preprocessing import small_preprocessing
from videoctx.batch import ClipBatch, View
from videoctx.models import ResNet3D
from videoctx.tasks import VideoClassifier

CLASSES = ["clap", "run", "wave"]
PREPROCESSING = small_preprocessing(
    frame_interval=1, short_side_px=32, views=(1, 1), mean=(0.45, 0.45, 0.45), std=(0.225, 0.225, 0.225)
).as_dict()


def batch_of(num_clips: int, *, seed: int, size: int = 32, num_frames: int = 4, multi_label: bool = False) -> ClipBatch:
    """A clip a video, the classes in turn."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(num_clips) % len(CLASSES)
    return ClipBatch(
        clips=torch.randn(num_clips, 3, num_frames, size, size, generator=generator),
        video=torch.arange(num_clips),
        labels=torch.rand(num_clips, len(CLASSES), generator=generator) < 0.4 if multi_label else labels,
        paths=[f"{index}.mp4" for index in range(num_clips)],
        rows=list(range(num_clips)),
        views=[View(0, 0)] * num_clips,
        views_expected=torch.ones(num_clips, dtype=torch.int64),
    )


class SyntheticClips(LightningDataModule):
    """A `TaskData` with the same batches every epoch, and others beside training."""

    train_clip_size = (4, 32, 32)
    stages = ()

    def __init__(
        self,
        batches: list[ClipBatch],
        *,
        validates: bool = True,
        clips_per_device: int = 4,
        class_names: Sequence[str] = CLASSES,
        multi_label: bool = False,
    ) -> None:
        super().__init__()
        self.batches = batches
        self.validates = validates
        self.clips_per_device = clips_per_device
        self.class_names = list(class_names)
        self.multi_label = multi_label
        self.beside = [batch_of(4, seed=100 + index) for index in range(3)]

    def train_dataloader(self) -> DataLoader:
        return DataLoader(self.batches, batch_size=None)

    def val_dataloader(self) -> DataLoader | list:
        return self.test_dataloader() if self.validates else []

    def test_dataloader(self) -> DataLoader:
        return DataLoader([batch_of(6, seed=50, multi_label=self.multi_label)], batch_size=None)

    def predict_dataloader(self) -> DataLoader:
        return self.test_dataloader()

    def clips_beside_training(self, num_batches: int) -> Iterator[ClipBatch]:
        yield from self.beside[:num_batches]

    def preprocessing_dict(self) -> dict[str, Any]:
        return dict(PREPROCESSING)

    def card(self, stage: str) -> dict[str, Any]:
        return {"manifest_sha256": "0" * 64, "split": stage, "num_videos": 6, "protocol": "videoctx", "views": [1, 1]}


def synthetic_clips(num_batches: int = 3, **arguments) -> SyntheticClips:
    multi_label = arguments.get("multi_label", False)
    batches = [batch_of(4, seed=seed, multi_label=multi_label) for seed in range(num_batches)]
    return SyntheticClips(batches, **arguments)


def trainer_with(data: LightningDataModule | None, **attributes) -> SimpleNamespace:
    """What stands for a Trainer where only its data module and some attributes are used."""
    hooks = SimpleNamespace(datamodule=data)
    return SimpleNamespace(_data_connector=SimpleNamespace(_datahook_selector=hooks), **attributes)


def small_resnet(num_classes: int, **arguments) -> nn.Module:
    torch.manual_seed(0)
    net = ResNet3D(num_classes, **({"depth": 18, "width": 4, "dropout": 0.0, "zero_init_residual": False} | arguments))
    nn.init.normal_(net.head.weight, std=0.3)
    return net


def classifier(net=small_resnet, *, lr: float = 0.1, **arguments) -> VideoClassifier:
    return VideoClassifier(CLASSES, net, optimizer=lambda groups: SGD(groups, lr=lr, momentum=0.9), **arguments)


def trainer(folder: Path, *callbacks, **arguments) -> Trainer:
    """Writes `last.ckpt` after every epoch, or as often as `arguments` say."""
    saves = ModelCheckpoint(folder, "last", every_n_train_steps=1, save_top_k=1, enable_version_counter=False)
    given = {
        "accelerator": "cpu",
        "default_root_dir": folder,
        "max_epochs": 1,
        "log_every_n_steps": 1,
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "callbacks": [*callbacks, saves],
    }
    return Trainer(**given | arguments)
