"""The whole of training on real files: a small network learns 16 of them by heart."""

import pytest
from lightning.pytorch import seed_everything
from torch.optim import AdamW

from tests.tasks.synthetic_runs import trainer
from tests.tiny_set import CLASSES, encode
from videoctx.data.annotations import write_manifest
from videoctx.data.datamodule import VideoDataModule
from videoctx.data.settings import ClipSettings, LoadingSettings, TestSettings, TrainSettings
from videoctx.layers import GlobalContext
from videoctx.models import ResNet3D
from videoctx.tasks import VideoClassifier, WarmupCosine

NUM_VIDEOS = 16


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """16 videos, each of a class of its own: three kinds of motion over noise of a seed of its own."""
    folder = tmp_path_factory.mktemp("videos")
    names = [f"class{index:02d}" for index in range(NUM_VIDEOS)]
    rows = []
    for index, name in enumerate(names):
        encode(folder / f"{name}.mp4", name=CLASSES[index % 3], seed=index)
        rows += [{"path": f"{name}.mp4", "label": name, "split": split} for split in ("train", "val")]
    write_manifest(folder / "manifest.csv", rows, names)
    return folder / "manifest.csv"


@pytest.mark.slow
def test_a_small_network_overfits_sixteen_videos(tmp_path, manifest):
    seed_everything(0)
    data = VideoDataModule(
        str(manifest),
        batch_size=8,
        clips=ClipSettings(clip_len=4, frame_interval=6),  # the whole video
        train=TrainSettings(crop_size_px=32, short_side_px=(32, 32), flip_probability=0.0),
        test=TestSettings(val_views=(1, 1), crop_size_px=32, short_side_px=32),
        loading=LoadingSettings(num_workers=0),
    )
    model = VideoClassifier(
        data.class_names,
        lambda num_classes: ResNet3D(
            num_classes,
            depth=18,
            width=8,
            dropout=0.0,
            zero_init_residual=False,
            context=GlobalContext,
            context_at={"res4": [1]},
        ),
        optimizer=lambda groups: AdamW(groups, lr=1e-2),
        schedule=WarmupCosine(warmup_epochs=2),
    )
    run = trainer(tmp_path, max_epochs=30, check_val_every_n_epoch=30, callbacks=[], enable_checkpointing=False)
    run.fit(model, datamodule=data)
    assert run.callback_metrics["val/video_top1"].item() == 1
    assert run.callback_metrics["train/loss"].item() < 0.5
