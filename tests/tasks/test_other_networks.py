"""Networks of other projects train as ours do; a function that makes one for a number of classes is enough."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from tests.tiny_set import make_set
from videoctx.cli import main
from videoctx.tasks import VideoClassifier

csn_models = pytest.importorskip("pytorchvideo.models.csn")
r2plus1d_models = pytest.importorskip("pytorchvideo.models.r2plus1d")
slowfast_models = pytest.importorskip("pytorchvideo.models.slowfast")
transformers = pytest.importorskip("pytorchvideo.models.vision_transformers")
x3d_models = pytest.importorskip("pytorchvideo.models.x3d")


class Pathways(nn.Module):
    """SlowFast takes a slow and a fast clip; this makes the slow one of every fourth frame of the other."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        return self.net([clips[:, :, ::4], clips])


def x3d(num_classes: int) -> nn.Module:
    return x3d_models.create_x3d(
        input_clip_length=4, input_crop_size=64, model_num_class=num_classes, head_activation=None
    )


def slowfast(num_classes: int) -> nn.Module:
    return Pathways(
        slowfast_models.create_slowfast(model_num_class=num_classes, head_pool_kernel_sizes=((1, 2, 2), (4, 2, 2)))
    )


def csn(num_classes: int) -> nn.Module:
    return csn_models.create_csn(model_num_class=num_classes, head_pool_kernel_size=(1, 2, 2), head_activation=None)


def r2plus1d(num_classes: int) -> nn.Module:
    return r2plus1d_models.create_r2plus1d(
        model_num_class=num_classes, head_pool_kernel_size=(1, 2, 2), head_activation=None
    )


def mvit(num_classes: int) -> nn.Module:
    return transformers.create_multiscale_vision_transformers(
        spatial_size=64, temporal_size=4, depth=2, head_num_classes=num_classes, head_activation=None
    )


@pytest.mark.parametrize(
    "family",
    [mvit, *(pytest.param(family, marks=pytest.mark.slow) for family in (x3d, slowfast, csn, r2plus1d))],
    ids=lambda family: family.__name__,
)
def test_a_network_of_pytorchvideo_learns(family):
    torch.manual_seed(0)
    model = VideoClassifier(["walk", "run", "jump"], family).eval()  # without dropout, for steps that compare
    clips, labels = torch.randn(2, 3, 4, 64, 64), torch.tensor([0, 2])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    losses = []
    for _ in range(6):
        loss = nn.functional.cross_entropy(model(clips), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert all(after < before for before, after in pairwise(losses)), losses


def test_its_import_path_alone_trains_it(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["videoctx"])
    (tmp_path / "set").mkdir()
    manifest = make_set(tmp_path / "set", num_videos={"train": 2, "val": 1, "test": 1})
    options = {
        "data": "manifest={manifest} batch_size=2 clips.clip_len=4 clips.frame_interval=1 train.crop_size_px=64"
        " train.short_side_px=[64,64] test.crop_size_px=64 test.short_side_px=64 loading.num_workers=0",
        "trainer": "accelerator=cpu max_epochs=1 limit_train_batches=1"
        " enable_progress_bar=false logger.init_args.save_dir={folder}",
        "checkpoint": "dirpath={folder}",
        "last_checkpoint": "dirpath={folder}",
    }
    arguments = [
        f"--{section}.{option}".format(manifest=manifest, folder=tmp_path)
        for section, listed in options.items()
        for option in listed.split()
    ]
    main(["fit", "--model.net=tests.tasks.test_other_networks.mvit", *arguments])
    checkpoint = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 1
    assert any("attn" in name for name in checkpoint["state_dict"])
