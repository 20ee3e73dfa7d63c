"""The classifier of windows equals PyTorchVideo's own head and loops, in every command that classifies."""

import logging
import math
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import pytorchvideo.models.hub
import torch
from torch import nn
from torch.utils.data import DataLoader

from tests.each_case import each_case
from tests.reference.foreign_networks import PYSLOWFAST, SLOW, ForeignNetwork
from tests.small_preprocessing import small_preprocessing
from tests.tasks.synthetic_runs import SyntheticClips, batch_of, small_resnet, trainer
from videoctx.data.loading.one_video import FrameTimes
from videoctx.data.preprocessing import Preprocessing
from videoctx.data.sampling.multigrid import Multigrid
from videoctx.data.sampling.protocols import PROTOCOLS, HeadPooling
from videoctx.data.settings import ClipSettings, TestSettings, TrainSettings
from videoctx.evaluation.scores import read_scores
from videoctx.inference.classifier import Classifier, load
from videoctx.inference.conversion import convert_checkpoint
from videoctx.inference.deployable import DeployableNetwork
from videoctx.inference.explanation import explain_by_grad_cam
from videoctx.models import ResNet3D
from videoctx.models.inference import for_inference
from videoctx.models.test_head import TEST_HEADS, Windows, describe_test_head, mean_of_logits, set_test_head
from videoctx.tasks import VideoClassifier
from videoctx.visualize.clip_on_video import ClipOnVideo


def loops(net: ResNet3D, x: torch.Tensor, pooling: str, *, multi_label: bool = False) -> torch.Tensor:
    """Return the probabilities (B, K) of a feature map (B, C, T, H, W), window by window."""
    height, width = x.shape[-2:]
    starts = [range(max(side - 7, 0) + 1) for side in (height, width)]
    windows = [x[:, :, :, top : top + 7, left : left + 7] for top in starts[0] for left in starts[1]]
    if pooling == "whole_map":
        windows = [x]
    logits = [window.mean(dim=(2, 3, 4)) @ net.head.weight.T + net.head.bias for window in windows]

    def probabilities(scores):
        return scores.sigmoid() if multi_label else scores.softmax(dim=1)

    if pooling in ("windows_probabilities", "train_crop_windows"):
        return sum(map(probabilities, logits)) / len(windows)
    return probabilities(sum(logits) / len(windows))


def feature_map(net: ResNet3D, clips: torch.Tensor) -> torch.Tensor:
    found = []
    handle = net.res5.register_forward_hook(lambda _, __, output: found.append(output))
    net(clips)
    handle.remove()
    return found[0]


def clips_of(size: int, *, batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, 3, 4, size, size, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def net():
    return small_resnet(3, width=2).eval()


def test_every_head_pooling_is_known(net):
    assert set(TEST_HEADS) == set(get_args(HeadPooling)) == {rules.head_pooling for rules in PROTOCOLS.values()}
    with pytest.raises(ValueError, match="head_pooling is 'pyslowfast'; expected one of whole_map, windows_"):
        set_test_head(net, "pyslowfast", multi_label=False)


def test_head_pooling_is_an_option_of_its_own(net):
    for changes, words in (
        ({}, "whole map"),
        ({"head_pooling": "windows_logits"}, "7x7 windows, mean of logits"),
        ({"protocol": "pyslowfast"}, "7x7 windows, mean of probabilities"),
        ({"protocol": "pyslowfast", "head_pooling": "whole_map"}, "whole map"),
    ):
        Classifier(net, ["a", "b", "c"], None, small_preprocessing(**changes), multi_label=False)
        assert describe_test_head(net) == words, changes


@torch.no_grad()
@each_case(
    ("pooling", "crop", "size"),
    [
        ("train_crop_windows", 224, 7),
        ("train_crop_windows", 160, 5),
        ("train_crop_windows", 112, 3),
        ("train_crop_windows", 20, 1),
        ("train_crop_windows", None, None),
        ("windows_probabilities", 160, 7),
        ("windows_logits", 160, 7),
    ],
)
def test_windows_of_pyslowfast_follow_the_training_crop(net, pooling, crop, size):
    """PySlowFast: TRAIN_CROP_SIZE // 32, or AdaptiveAvgPool3d with MULTIGRID.SHORT_CYCLE. The others: always 7."""
    features = 2 * torch.randn(2, net.head.in_features, 3, 9, 8, generator=torch.Generator().manual_seed(2))
    set_test_head(net, pooling, multi_label=False, train_crop_size_px=crop)
    pool = nn.AdaptiveAvgPool3d(1) if size is None else nn.AvgPool3d((3, size, size), stride=1)
    logits = net.head(pool(features).permute(0, 2, 3, 4, 1))  # as in ResNetBasicHead
    if pooling == "windows_logits":
        expected = logits.mean(dim=(1, 2, 3)).softmax(dim=1)
    else:
        expected = logits.softmax(dim=4).mean(dim=(1, 2, 3))
    torch.testing.assert_close(net.classify(features).softmax(dim=1), expected)


def test_the_training_crop_is_kept_for_the_test(tmp_path):
    cycle = Multigrid(long_factors=((1.0, 1.0),))
    clips = {"clips": ClipSettings(), "test": TestSettings(protocol="pyslowfast")}
    for train, crop in ((TrainSettings(crop_size_px=160), 160), (TrainSettings(multigrid=cycle), None)):
        assert Preprocessing.from_settings(**clips, train=train).train_crop_size_px == crop
    made = replace(small_preprocessing(protocol="pyslowfast"), train_crop_size_px=64)
    trained = Classifier(small_resnet(2), ["a", "b"], None, made, multi_label=False)
    assert describe_test_head(trained.net) == "2x2 windows, mean of probabilities"
    for text, crop in (("", 224), ("DATA:\n  TRAIN_CROP_SIZE: 128", 128), ("MULTIGRID:\n  SHORT_CYCLE: true", None)):
        stored = {"model_state": ForeignNetwork(PYSLOWFAST, SLOW).weights(), "cfg": text}
        torch.save(stored, tmp_path / "theirs.pyth")
        report = convert_checkpoint(tmp_path / "theirs.pyth", tmp_path / "ours.pt", class_names=list("abcde"))
        assert report.preprocessing.train_crop_size_px == crop


class SmallCrops(SyntheticClips):
    """A test under the protocol of PySlowFast, whose settings of the training are other ones than the checkpoint's."""

    def preprocessing_dict(self):
        return super().preprocessing_dict() | {"head_pooling": "train_crop_windows", "train_crop_size_px": 96}


def test_a_test_has_the_windows_of_the_checkpoint(net, tmp_path):
    data = SmallCrops([batch_of(2, seed=0)], validates=False)
    task = VideoClassifier(data.class_names, net)
    task.preprocessing = data.preprocessing_dict() | {"train_crop_size_px": 64}
    run = trainer(tmp_path, max_epochs=1)
    run.strategy.connect(task)
    run.save_checkpoint(tmp_path / "a.ckpt")
    other = VideoClassifier(data.class_names, small_resnet(3, width=2))
    trainer(tmp_path, default_root_dir=tmp_path).test(other, data, ckpt_path=tmp_path / "a.ckpt", verbose=False)
    assert describe_test_head(other.net) == "2x2 windows, mean of probabilities"


@torch.no_grad()
@each_case("name", ["i3d_r50", "slow_r50"])
def test_equals_pytorchvideos_own_head_at_256_pixels(name, tmp_path):
    """The peer's network as the hub makes it, with a sixteenth of the channels. Its head takes 7 × 7 windows."""
    torch.manual_seed(0)
    theirs = getattr(pytorchvideo.models.hub, name)(stem_dim_out=4, model_num_class=6).eval()
    for layer in theirs.modules():
        if isinstance(layer, nn.BatchNorm3d):
            nn.init.uniform_(layer.weight, 0.3, 0.9)
    nn.init.normal_(theirs.blocks[-1].proj.weight, std=5.0)
    assert isinstance(theirs.blocks[-1].pool, nn.AvgPool3d)
    torch.save({"model_state": theirs.state_dict()}, tmp_path / "net.pyth")
    convert_checkpoint(tmp_path / "net.pyth", tmp_path / "net.pt", class_names=list("abcdef"))
    ours = load(tmp_path / "net.pt").net
    clips = torch.rand(1, 3, 8, 256, 256, generator=torch.Generator().manual_seed(0))
    clips[..., 128:] *= 0.3  # so that the windows differ
    expected = theirs(clips).softmax(dim=1)
    torch.testing.assert_close(ours(clips).softmax(dim=1), expected, rtol=0, atol=1e-5)
    set_test_head(ours, None, multi_label=False)
    assert (ours(clips).softmax(dim=1) - expected).abs().max() > 1e-3  # the whole map


@torch.no_grad()
@each_case("pooling", TEST_HEADS)
@each_case("multi_label", [False, True])
@each_case("size", [(2, 2), (7, 7), (8, 8), (10, 2), (4, 9)])
def test_equals_loops(net, pooling, multi_label, size):
    features = 2 * torch.randn(2, net.head.in_features, 3, *size, generator=torch.Generator().manual_seed(2))
    set_test_head(net, pooling, multi_label=multi_label)
    logits = net.classify(features)
    probabilities = logits.sigmoid() if multi_label else logits.softmax(dim=1)
    torch.testing.assert_close(probabilities, loops(net, features, pooling, multi_label=multi_label))
    set_test_head(net, "whole_map", multi_label=multi_label)
    if max(size) <= 7:
        assert torch.equal(logits, net.classify(features))
    elif TEST_HEADS[pooling]:
        assert not torch.allclose(logits, net.classify(features), atol=1e-3)


def test_training_classifies_the_whole_map(net):
    features = torch.randn(1, net.head.in_features, 2, 9, 9)
    set_test_head(net, "whole_map", multi_label=False)
    whole = net.classify(features)
    set_test_head(net, "windows_probabilities", multi_label=False)
    assert torch.equal(net.train().classify(features), whole)
    assert not torch.allclose(net.eval().classify(features), whole)


@torch.no_grad()
@each_case("multi_label", [False, True])
def test_confident_windows_stay_finite(multi_label):
    logits = torch.tensor([[[200.0, -200.0, 0.0], [-200.0, 200.0, 0.0]]])
    combined = Windows(7, "probabilities", multi_label).combined(logits)
    probabilities = combined.sigmoid() if multi_label else combined.softmax(dim=1)
    torch.testing.assert_close(probabilities, torch.tensor([[0.5, 0.5, 0.5 if multi_label else 0.0]]))


@torch.no_grad()
def test_fast_copies(net):
    clips = clips_of(256)
    set_test_head(net, "windows_probabilities", multi_label=False)
    expected = net(clips)
    torch.testing.assert_close(for_inference(net, dtype=torch.float32)(clips), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(for_inference(net, dtype=torch.bfloat16)(clips), expected, rtol=0.1, atol=0.1)
    with mean_of_logits(net):
        assert describe_test_head(net) == "7x7 windows, mean of logits"
    assert describe_test_head(net) == "7x7 windows, mean of probabilities"
    set_test_head(net, None, multi_label=False)
    assert describe_test_head(net) == "whole map"


def test_head_of_another_network_is_reported(caplog):
    other = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    with caplog.at_level(logging.WARNING):
        set_test_head(other, "whole_map", multi_label=False)
        assert not caplog.text
        set_test_head(other, "windows_probabilities", multi_label=False)
    assert "windows of 7 × 7 positions; the head of Sequential is its own" in caplog.text
    assert describe_test_head(other) is None


class LargeClips(SyntheticClips):
    """Test clips of 256 pixels, with a head pooling."""

    def __init__(self, pooling: str, **arguments) -> None:
        super().__init__([], **arguments)
        self.pooling = pooling

    def test_dataloader(self):
        return DataLoader([batch_of(2, seed=1, size=256, multi_label=self.multi_label)], batch_size=None)

    def preprocessing_dict(self):
        return super().preprocessing_dict() | {"head_pooling": self.pooling}


@torch.no_grad()
@each_case(
    ("pooling", "multi_label"),
    [
        ("windows_probabilities", False),
        ("windows_probabilities", True),
        ("windows_logits", False),
        ("whole_map", False),
    ],
)
def test_a_test_classifies_with_its_head_pooling(net, pooling, multi_label, tmp_path):
    data = LargeClips(pooling, multi_label=multi_label)
    task = VideoClassifier(data.class_names, net, multi_label=multi_label)
    run = trainer(tmp_path, default_root_dir=tmp_path)
    run.test(task, data, verbose=False)
    clips = batch_of(2, seed=1, size=256).clips
    expected = loops(net, feature_map(net, clips), pooling, multi_label=multi_label)
    found = torch.tensor(read_scores(tmp_path / "scores.parquet").averages())
    torch.testing.assert_close(found.float(), expected, rtol=2e-3, atol=2e-3)


@torch.no_grad()
def test_features_are_the_mean_of_the_windows(net, closed_gop_mp4):
    made = small_preprocessing(short_side_px=256, crop_size_px=256, views=(2, 1), protocol="pyslowfast")
    trained = Classifier(net, ["a", "b", "c"], None, made, multi_label=False)
    features = trained.features(closed_gop_mp4.path)
    assert features.shape == (2, net.head.in_features)
    with mean_of_logits(trained.for_evaluation().net):
        torch.testing.assert_close(features, trained.features(closed_gop_mp4.path), rtol=1e-5, atol=1e-5)
    assert math.isclose(sum(probability for _, probability in trained.predict(closed_gop_mp4.path)), 1, rel_tol=1e-3)


@torch.no_grad()
@each_case("protocol", ["pyslowfast", "pytorchvideo"])
def test_the_deployable_network_and_explanations_classify_as_the_test(net, protocol):
    made = small_preprocessing(short_side_px=256, crop_size_px=256, views=(1, 1), protocol=protocol)
    trained = Classifier(net, ["a", "b", "c"], None, made, multi_label=False)
    frames = torch.randint(256, (1, 4, 256, 256, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    clip = made.transform().normalize(frames[0].movedim(-1, 1))[None]
    expected = loops(net, feature_map(net, clip), made.head_pooling)
    deployable = DeployableNetwork(trained, frame_size_px=(256, 256)).eval()
    torch.testing.assert_close(deployable(frames), expected, rtol=0, atol=1e-4)
    place = {"path": "a.mp4", "indices": np.arange(4), "resized": (256, 256), "corner": (0, 0)}
    on_video = ClipOnVideo(frames=frames[0].numpy(), times=FrameTimes(4, 30.0), input=clip, **place)
    with torch.enable_grad():
        shown = explain_by_grad_cam(trained, on_video, layer="res5", target_class="b")
    assert f"({expected[0, 1]:.1%})" in shown.title
