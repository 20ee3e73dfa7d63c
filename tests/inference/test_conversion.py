"""A converted checkpoint works with `load` and the commands without training: it has class names and preprocessing."""

import json
import re

import pytest
import torch

from tests.each_case import each_case
from tests.tiny_set import CLASSES
from videoctx.cli import main
from videoctx.data.annotations import read_classes
from videoctx.inference.classifier import load
from videoctx.inference.conversion import convert_checkpoint
from videoctx.models import ResNet3D
from videoctx.models.checkpoint_formats import FORMATS, OURS
from videoctx.models.dataset_classes import read_class_names
from videoctx.models.published_clip import published_clip
from videoctx.models.published_test import PublishedTest, published_test

TORCHVISION_NAMES = {
    r"stem\.conv\.": "stem.0.",
    r"stem\.norm\.": "stem.1.",
    r"head\.": "fc.",
    r"res(\d)\.": lambda match: f"layer{int(match[1]) - 1}.",
    r"shortcut\.": "downsample.",
    r"conv(\d)\.": r"conv\1.0.",
    r"norm(\d)\.": r"conv\1.1.",
}

TSM_NAMES = {
    r"stem\.conv\.": "base_model.conv1.",
    r"stem\.norm\.": "base_model.bn1.",
    r"head\.": "new_fc.",
    r"res(\d)\.(\d+)\.": lambda match: f"base_model.layer{int(match[1]) - 1}.{match[2]}.",
    r"shortcut\.": "downsample.",
    r"(\d\.)conv1\.": r"\1conv1.net.",
    r"norm(\d)\.": r"bn\1.",
}


@pytest.fixture(scope="module")
def r3d(tmp_path_factory):
    """Write a narrow R3D-18 with torchvision's parameter names for three classes, and a file of class names."""
    folder = tmp_path_factory.mktemp("published")
    strides = {"pool1_t": None, "pool2_t": (1, 1), "stage_stride_t": (1, 2, 2, 2)}
    weights = ResNet3D(3, depth=18, width=8, temporal_kernels="r3d", **strides).state_dict()
    for ours, theirs in TORCHVISION_NAMES.items():
        weights = {re.sub(ours, theirs, name): tensor for name, tensor in weights.items()}
    torch.save(weights, folder / "r3d_18.pth")
    (folder / "names.txt").write_text("\n".join(CLASSES) + "\n")
    return folder


def test_a_converted_checkpoint_classifies(r3d, network, tmp_path, capsys):
    names = ["--class_names", str(r3d / "names.txt")]
    main(["convert", str(r3d / "r3d_18.pth"), "-o", str(tmp_path / "r3d.pt"), *names])
    assert "clips: 16x2, protocol torchvision" in capsys.readouterr().out
    model = load(tmp_path / "r3d.pt")
    assert model.class_names == CLASSES
    assert model.net_config["init_args"]["temporal_kernels"] == "r3d"
    made = model.preprocessing
    assert (made.short_side_px, made.crop_size_px, made.views) == (128, 112, (5, 1))
    assert made.mean == pytest.approx((0.43216, 0.394666, 0.37645))
    arguments = ["--clip_len", "4", "--frame_interval", "2", "--protocol", "mmaction2"]
    main(["convert", str(r3d / "r3d_18.pth"), "-o", str(tmp_path / "short.pt"), *names, *arguments])
    video = str(network.videos / "test0.mp4")
    main(["classify", video, "--ckpt_path", str(tmp_path / "short.pt"), "--views=1x1", f"--json={tmp_path}/out.json"])
    (result,) = json.loads((tmp_path / "out.json").read_text())["videos"]
    prediction = load(tmp_path / "short.pt").predict(video, views="1x1")
    assert [(row["class"], row["probability"]) for row in result["classes"]] == list(prediction)


def test_weights_that_were_trained_on_segments(r3d, tmp_path):
    """The views are as many as the formula has; the same again keeps what is stored, and dense clips give it up."""
    arguments = {"class_names": CLASSES, "clip_len": 8, "protocol": "tsm"}
    report = convert_checkpoint(r3d / "r3d_18.pth", tmp_path / "tsm.pt", sampling="segments", **arguments)
    assert "clips: 8-segment, protocol tsm" in str(report)
    made = load(tmp_path / "tsm.pt").preprocessing
    assert (made.sampling, made.grid, made.views, made.target_fps) == ("segments", "tsm", (2, 3), None)
    again = convert_checkpoint(tmp_path / "tsm.pt", tmp_path / "again.pt", sampling="segments")
    assert again.preprocessing == made
    dense = convert_checkpoint(tmp_path / "tsm.pt", tmp_path / "dense.pt", sampling="dense")
    assert (dense.preprocessing.sampling, dense.preprocessing.views) == ("dense", (10, 3))


def test_load_without_class_names_names_the_missing_option(r3d, tmp_path):
    report = convert_checkpoint(r3d / "r3d_18.pth", tmp_path / "r3d.pt")
    assert "classes: 3, without names (--class_names gives them)" in str(report)
    with pytest.raises(ValueError, match=r"r3d.pt: has no class names; `videoctx convert --class_names` adds them"):
        load(tmp_path / "r3d.pt")
    convert_checkpoint(tmp_path / "r3d.pt", tmp_path / "named.pt", class_names=CLASSES)
    first, second = load(tmp_path / "named.pt"), torch.load(tmp_path / "r3d.pt", weights_only=True)
    assert first.class_names == CLASSES
    assert first.preprocessing.as_dict() == second["preprocessing"]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"class_names": "kinetics400"}, r"kinetics400 has 400 class names, but .*r3d_18.pth has 3 classes"),
        ({"class_names": ["a"]}, r"class_names has 1 class names, but .*r3d_18.pth has 3 classes"),
        ({"class_names": "kinetics"}, r"class_names is 'kinetics', which cannot be read .*or one of kinetics400, "),
        ({"protocol": "slowfast"}, r"protocol is 'slowfast'; expected one of videoctx, "),
        ({"clip_len": 0}, r"clip_len is 0; expected 1 or more"),
        ({"sampling": "sparse"}, r"sampling is 'sparse'; expected one of dense, segments, uniform"),
        (
            {"sampling": "segments"},
            r"protocol torchvision has no sampling segments; expected protocol videoctx or pys",
        ),
    ],
)
def test_unsuitable_arguments_are_refused(r3d, tmp_path, arguments, error):
    with pytest.raises(ValueError, match=error):
        convert_checkpoint(r3d / "r3d_18.pth", tmp_path / "out.pt", **arguments)
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_of_fit_keeps_names_preprocessing_and_labels(network, tmp_path):
    convert_checkpoint(network.checkpoint, tmp_path / "out.pt")
    before, after = load(network.checkpoint), load(tmp_path / "out.pt")
    assert (after.class_names, after.preprocessing) == (before.class_names, before.preprocessing)
    assert after.net_config == before.net_config
    convert_checkpoint(network.checkpoint, tmp_path / "out.pt", num_classes=7, class_names=list("abcdefg"))
    assert load(tmp_path / "out.pt").class_names == list("abcdefg")


def test_a_users_own_network_is_passed_to_load(tmp_path):
    class OwnNet(ResNet3D):
        pass

    def make_net(num_classes):
        return OwnNet(num_classes, depth=18, width=8)

    torch.save(make_net(3).state_dict(), tmp_path / "own.pth")
    convert_checkpoint(tmp_path / "own.pth", tmp_path / "out.pt", net=make_net, class_names=CLASSES)
    with pytest.raises(ValueError, match=r"out.pt: has no config of its network"):
        load(tmp_path / "out.pt")
    assert isinstance(load(tmp_path / "out.pt", net=make_net).net, OwnNet)


@pytest.mark.parametrize(
    ("name", "num_classes", "known"),
    [
        ("kinetics400", 400, {0: "abseiling", 115: "eating ice cream", 290: "sharpening knives", 399: "zumba"}),
        ("kinetics600", 600, {0: "abseiling", 1: "acting in play", 599: "zumba"}),
        ("kinetics700", 700, {0: "abseiling", 1: "acting in play", 699: "zumba"}),
        ("imagenet", 1000, {0: "tench", 282: "tiger cat", 999: "toilet tissue"}),
    ],
)
def test_class_names_of_published_data_sets(name, num_classes, known):
    names = read_class_names(name)
    assert len(set(names)) == num_classes
    assert {index: names[index] for index in known} == known
    assert name == "imagenet" or names == sorted(names)
    assert read_classes(names) == names  # as the classes of data


@pytest.mark.parametrize(("text", "error"), [("a\n\nb\n", "line 2 is empty"), ("a\nb\na\n", "'a' is in lines 1 and 3")])
def test_a_file_of_class_names_is_checked(tmp_path, text, error):
    (tmp_path / "names.txt").write_text(text)
    with pytest.raises(ValueError, match=error):
        read_class_names(tmp_path / "names.txt")


def test_a_file_of_class_names_is_read_as_that_of_data(tmp_path):
    (tmp_path / "names.txt").write_bytes("\ufeffcafe\u0301\r\n 跑 \r\n\r\n".encode())
    assert read_class_names(tmp_path / "names.txt") == read_classes(tmp_path / "names.txt") == ["caf\xe9", "跑"]


@pytest.mark.parametrize(
    ("config", "name", "expected"),
    [
        ("NUM_FRAMES: 32\n  SAMPLING_RATE: 2", "SLOW_8x8_R50.pyth", (32, 2)),
        ("dict(type='SampleFrames', clip_len=32, frame_interval=2, num_clips=10)", "a.pth", (32, 2)),
        ("", "C2D_NOPOOL_8x8_R50.pkl", (8, 8)),
        ("", "slowonly_r50_8xb16-4x16x1-256e_kinetics400-rgb_20220901.pth", (4, 16)),
        ("", "resnext50_32x4d.pth", (8, 8)),
        ("", "resnet_224x224.pth", (8, 8)),
        ("dict(type='SampleFrames', clip_len=1, frame_interval=1, num_clips=16)", "a.pth", (16, 4, "segments")),
        ("dict(type='DenseSampleFrames', clip_len=1, frame_interval=1, num_clips=8)", "a.pth", (8, 8, "dense", True)),
        ("dict(type='DenseSampleFrames', clip_len=32, frame_interval=2, num_clips=1)", "a.pth", (32, 2, "dense", True)),
        (
            "dict(type='DenseSampleFrames', clip_len=1, frame_interval=1, num_clips=12)",
            "a.pth",
            (12, 5, "dense", True, 64),
        ),
        (
            "dict(type='DenseSampleFrames', clip_len=16, frame_interval=2, sample_range=128)",
            "a.pth",
            (16, 2, "dense", True, 128),
        ),
        (
            "dict(type='DenseSampleFrames', clip_len=1, frame_interval=1, num_clips=8, sample_range=128)",
            "a.pth",
            (8, 16, "dense", True),
        ),
        ("", "tsm_r50_8xb16-1x1x8-50e_sthv2-rgb.pth", (8, 8, "segments")),
        ("", "tsm_r50_8xb16-dense-1x1x8-50e_kinetics400-rgb.pth", (8, 8, "dense", True)),
        ("", "i3d_r50_8xb8-dense-32x2x1-100e_kinetics400-rgb.pth", (32, 2, "dense", True)),
        ("", "TSM_somethingv2_RGB_resnet50_shift8_blockres_avg_segment16_e45.pth", (16, 4, "segments")),
        ("", "TSM_kinetics_RGB_resnet50_shift8_blockres_avg_segment8_e100_dense_nl.pth", (8, 8, "dense", True)),
        ("", "densenet_8x8.pth", (8, 8)),
    ],
)
def test_clip_settings_come_from_the_stored_config_or_the_file_name(config, name, expected):
    usual = ("dense", False, None)  # the sampling, whether it is mmaction2's DenseSampleFrames, and its range
    found = published_clip(OURS, config, name)
    assert found[:5] == (*expected, *usual[len(expected) - 2 :])
    assert found.is_told == (name not in ("resnext50_32x4d.pth", "resnet_224x224.pth"))


MMACTION2_TEST = """
train_pipeline = [dict(type='SampleFrames', clip_len=1, frame_interval=1, num_clips=8)]
test_pipeline = [
    dict(type='SampleFrames', {sampled}, test_mode=True), dict(type='Resize', scale=(-1, 240)), dict(type='{crops}')]
"""


@each_case(
    "sampled, crops, clip, test",
    [
        ("clip_len=32, frame_interval=2, num_clips=10", "ThreeCrop", (32, 2), (240, None, 10, 3)),
        ("clip_len=13, frame_interval=6, num_clips=4, target_fps=30", "CenterCrop", (13, 6), (240, None, 4, 1, 30)),
        ("clip_len=1, frame_interval=1, num_clips=16, twice_sample=True", "TenCrop", (16, 4), (240, None, 2, 10)),
        ("clip_len=1, frame_interval=1, num_clips=25", "TenCrop", (25, 2), (240, None, 1, 10)),
    ],
)
def test_views_come_from_the_stored_test_pipeline(sampled, crops, clip, test):
    config = MMACTION2_TEST.format(sampled=sampled, crops=crops)
    known = next(known for known in FORMATS if known.name == "mmaction2")
    assert published_clip(known, config, "epoch_50.pth")[:2] == clip
    found = published_test(known, config, "epoch_50.pth")
    assert found[: len(test)] == test
    sized = config.replace("scale=(-1, 240)", "scale=(340, 256)").replace("Crop'", "Crop', crop_size=224")
    assert published_test(known, sized, "epoch_50.pth")[:2] == (None, 224)


def test_views_of_a_stored_pyslowfast_config():
    config = "DATA: {TEST_CROP_SIZE: 182}\nTEST: {NUM_ENSEMBLE_VIEWS: 5, NUM_SPATIAL_CROPS: 1}"
    pyslowfast, *_ = [known for known in FORMATS if known.name == "PySlowFast"]
    assert published_test(pyslowfast, config, "checkpoint_epoch_00300.pyth")[:4] == (182, 182, 5, 1)
    assert published_test(pyslowfast, "", "SLOW_8x8_R50.pyth") == PublishedTest()


def test_every_format_has_a_protocol():
    protocols = {known.protocol for known in FORMATS}
    assert protocols == {"videoctx", "pyslowfast", "mmaction2", "pytorchvideo", "torchvision", "tsm"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("TSM_somethingv2_RGB_resnet18_segment8_e45.pth", ("segments", "tsm", 8, (2, 3), "tsm")),
        ("TSM_kinetics_RGB_resnet18_segment8_e100_dense.pth", ("dense", "tsm", 8, (10, 3), "tsm")),
    ],
)
def test_a_network_of_tsm_gets_the_clips_of_its_name(tmp_path, name, expected):
    weights = ResNet3D(3, depth=50, width=8, temporal_kernels="c2d").state_dict()
    for ours, theirs in TSM_NAMES.items():
        weights = {re.sub(ours, theirs, key): value for key, value in weights.items()}
    torch.save({key: value.squeeze(2) if value.ndim == 5 else value for key, value in weights.items()}, tmp_path / name)
    made = convert_checkpoint(tmp_path / name, tmp_path / "net.pt").preprocessing
    assert (made.sampling, made.grid, made.clip_len, made.views, made.protocol) == expected
