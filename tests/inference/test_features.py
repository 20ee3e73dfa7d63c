"""Features of any layer: means of its output, the same from Python and in a file, and refusals in one line."""

import numpy as np
import pytest
import torch
from torch import nn

import videoctx
from tests.each_case import each_case
from tests.tiny_set import break_video
from videoctx.cli import main
from videoctx.data.settings import TestSettings
from videoctx.evaluation.feature_file import read_features
from videoctx.inference.conversion import convert_checkpoint
from videoctx.inference.layer_outputs import clip_vectors
from videoctx.inference.starting_network import starting_network
from videoctx.models import ResNet3D, SlowFast

CLIPS = torch.randn(2, 3, 8, 32, 32, generator=torch.Generator().manual_seed(0))


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.relu = nn.ReLU(inplace=True)
        self.conv = nn.Conv3d(3, 4, 1)
        self.logits = nn.Conv3d(4, 2, 1)

    def forward(self, clips):
        return self.logits(self.relu(self.conv(self.relu(clips.clone())))).mean(dim=(2, 3, 4))


@torch.no_grad()
def vectors_of(net, layer=None):
    with clip_vectors(net.eval(), layer) as vectors:
        net(CLIPS)
    return torch.cat(vectors)


@torch.no_grad()
def test_a_vector_is_the_mean_of_a_layers_output():
    net = ResNet3D(5, depth=18, width=4).eval()
    x = net.pool2(net.res2(net.stem(CLIPS)))
    expected = torch.stack([torch.stack([channel.double().mean().float() for channel in clip]) for clip in net.res3(x)])
    torch.testing.assert_close(vectors_of(net, "res3"), expected)
    logits = vectors_of(net) @ net.head.weight.T + net.head.bias
    torch.testing.assert_close(logits, net(CLIPS))
    torch.testing.assert_close(vectors_of(net, "head"), net(CLIPS))


@torch.no_grad()
def test_pathways_are_put_one_after_another():
    net = SlowFast(3, width=8, alpha=4).eval()
    slow, fast = net.stem(net.slow_clip(CLIPS), CLIPS)
    expected = torch.cat([slow.mean(dim=(2, 3, 4)), fast.mean(dim=(2, 3, 4))], dim=1)
    torch.testing.assert_close(vectors_of(net, "stem"), expected)


@torch.no_grad()
def test_a_classifier_of_any_name_and_kind():
    net = Twice()
    maps = net.conv(CLIPS.clamp(min=0)).clamp(min=0)
    torch.testing.assert_close(vectors_of(net), maps.mean(dim=(2, 3, 4)))
    raw = net.conv(CLIPS.clamp(min=0)).mean(dim=(2, 3, 4))
    torch.testing.assert_close(vectors_of(net, "conv"), raw)  # and not what the next layer makes of it in its place


@each_case(
    ("net", "layer", "line"),
    [
        (Twice(), "relu", "layer relu runs 2 times per clip; expected a layer that runs once"),
        (Twice(), "cnv", "layer is 'cnv', which Twice does not have; expected perhaps conv"),
        (ResNet3D(2, depth=18, width=4), "layer4", "expected one of stem, res2, .*head, or a layer inside"),
        (ResNet3D(2, depth=18, width=4), "res3.7", r"expected perhaps res3\.1, res3\.0"),
        (ResNet3D(2, depth=18, width=4), "", "layer is ''"),
        (ResNet3D(2, depth=18, width=4), "dropout.x", "which ResNet3D does not have"),
    ],
)
def test_a_layer_that_is_not_there(net, layer, line):
    with pytest.raises(ValueError, match=line):
        vectors_of(net, layer)


# The command --------------------------------------------------------------------------------------------------------


@pytest.fixture
def features(place, tmp_path, capsys):
    """Runs the command with the trained network; the file as a table, the exit status, and what was printed."""

    def features(*arguments, suffix="parquet", ckpt=True):
        output = tmp_path / f"features.{suffix}"
        checkpoint = ["--ckpt_path", str(place.last)] if ckpt else []
        status = 0
        capsys.readouterr()
        try:
            main(["features", *map(str, arguments), *checkpoint, "-o", str(output), "--num_workers", "0"])
        except SystemExit as stop:
            status = stop.code
        return read_features(output) if output.exists() else None, status, capsys.readouterr()

    return features


@each_case(("suffix", "layer"), [("parquet", None), ("npz", "res4")])
def test_the_file_has_the_numbers_of_python_to_the_last_digit(place, features, suffix, layer):
    model = videoctx.load(place.last)
    options = ["--layer", layer] if layer else []
    table, status, _ = features(
        place.videos / "manifest.csv", "--level", "clip", "--split", "test", "val", *options, suffix=suffix
    )
    assert status == 0
    columns = table.columns
    assert list(dict.fromkeys(columns["split"])) == ["test", "val"]
    for row in np.unique(columns["row"]):
        rows = columns["row"] == row
        expected = model.features(columns["path"][rows][0], layer=layer)
        assert np.array_equal(table.vectors[rows], expected.numpy())
        assert columns["clip"][rows].tolist() == [0, 0, 0, 1, 1, 1]
        assert columns["crop"][rows].tolist() == [0, 1, 2, 0, 1, 2]
    means, _, _ = features(place.videos / "manifest.csv", "--split", "test", *options, suffix=suffix)
    first = table.vectors[columns["row"] == 0]
    assert np.array_equal(means.vectors[0], first.mean(axis=0))
    assert means.columns["label"].tolist()[:3] == ["blue_up", "green_down", "red_still"]


def test_videos_folders_and_views(place, features):
    table, _, printed = features(place.videos / "test1.mp4", "--views", "1x1")
    assert table.columns["path"].tolist() == [str(place.videos / "test1.mp4")]
    assert table.columns["split"].tolist() == [None]
    assert "1 means of 1x1 views of 1 videos, 16 numbers each" in printed.out
    table, _, _ = features(place.videos)
    assert len(table.vectors) == 14
    model = videoctx.load(place.last)
    expected = model.features(place.videos / "test1.mp4").mean(dim=0)
    found = table.vectors[table.columns["path"].tolist().index(str(place.videos / "test1.mp4"))]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_broken_videos_are_in_the_file_with_the_reason(copy, features):
    break_video(copy / "test1.mp4", "text")
    table, status, printed = features(copy / "manifest.csv", "--split", "test")
    assert status == 1
    assert "test1.mp4: a text file; expected a video" in printed.err
    failed = table.columns["path"].tolist().index(str(copy / "test1.mp4"))
    assert "a text file" in table.columns["failure"][failed]
    assert np.isnan(table.vectors[failed]).all()
    assert np.isfinite(np.delete(table.vectors, failed, axis=0)).all()


def test_starting_weights_need_neither_training_nor_classes(place, copy, features, tmp_path):
    (copy / "classes.txt").unlink()
    torch.manual_seed(0)
    net = videoctx.create_model("demo_r18", num_classes=7)
    torch.save(net.state_dict(), tmp_path / "weights.pth")
    shapes = ["--data.clips.clip_len=4", "--data.test.crop_size_px=32", "--data.test.short_side_px=32"]
    arguments = ["-c", "demo_r18", "--model.weights", tmp_path / "weights.pth", *shapes, "--data.test.views=[1, 1]"]
    table, status, printed = features(copy / "manifest.csv", "--split", "test", *arguments, ckpt=False)
    assert (status, len(table.vectors)) == (0, 5)
    assert "not loaded: 0 missing" in printed.out
    made = table.metadata["preprocessing"]
    assert (made["clip_len"], made["crop_size_px"], made["views"]) == (4, 32, [1, 1])
    named = tmp_path / "named.yaml"
    named.write_text(f"model: {{weights: {tmp_path / 'weights.pth'}}}")
    in_config, _, _ = features(
        copy / "manifest.csv", "--split", "test", "-c", "demo_r18", "-c", named, *shapes, "--views", "1x1", ckpt=False
    )
    assert np.array_equal(in_config.vectors, table.vectors)
    _, status, _ = features(copy / "manifest.csv", "--split", "test", "-c", place.config, "-c", named)
    assert status == 0, "a config of the training, beside its checkpoint"
    config, _, _ = features(
        copy / "manifest.csv", "--split", "test", "-c", place.config, *arguments[:4], "--views", "1x1", ckpt=False
    )
    assert config.metadata["preprocessing"]["crop_size_px"] == 28


def test_published_weights_have_the_clips_of_their_project(tmp_path):
    """As `videoctx convert` gives them."""
    torch.save(ResNet3D(2, depth=18, width=4).state_dict(), tmp_path / "net_4x16.pth")
    made = starting_network(tmp_path / "net_4x16.pth")[0].preprocessing
    assert made == convert_checkpoint(tmp_path / "net_4x16.pth", tmp_path / "net.pt").preprocessing
    assert (made.clip_len, made.frame_interval) == (4, 16)
    test = TestSettings(views=(1, 1))
    made = starting_network(tmp_path / "net_4x16.pth", test=test)[0].preprocessing
    assert (made.clip_len, made.frame_interval, made.views) == (4, 16, (1, 1))


@each_case(
    ("arguments", "line"),
    [
        (["MANIFEST", "-o", "features.csv"], "features.csv: expected a file that ends in .parquet or .npz"),
        (["MANIFEST", "--split", "tset"], "no row has split 'tset'; its splits are test, train, val"),
        (["test0.mp4", "--split", "test"], "splits (test) are those of a manifest"),
        (["MANIFEST", "test0.mp4"], "is a manifest, which is the only source; got 2"),
        (["MANIFEST", "--layer", "res6"], "layer is 'res6', which ResNet3D does not have; expected perhaps res"),
        (
            ["MANIFEST", "--model.weights", "w.pth"],
            "expected either --ckpt_path, a trained network, or --model.weights",
        ),
        (["MANIFEST", "--data.clips.clip_len=4"], "--data is for --model.weights; a checkpoint stores its clips"),
        (["missing.mp4"], "missing.mp4: no such file or folder"),
        (["missing.csv"], "missing.csv"),
        (["MANIFEST", "--views", "0x1"], "0x1"),
    ],
)
def test_a_mistake_is_one_line(place, features, monkeypatch, arguments, line):
    monkeypatch.chdir(place.videos)
    names = ["manifest.csv" if argument == "MANIFEST" else argument for argument in arguments]
    output = ["-o", "features.csv"] if "features.csv" in names else []
    names = [name for name in names if name not in ("-o", "features.csv")]
    if output:
        with pytest.raises(SystemExit):
            main(["features", *names, "--ckpt_path", str(place.last), *output])
        return
    _, status, printed = features(*names)
    (found,) = printed.err.splitlines()
    assert status == 2
    assert line in found


def test_a_file_without_any_video_is_not_written(copy, features):
    break_video(copy / "test1.mp4", "empty")
    table, status, printed = features(copy / "test1.mp4")
    assert (table, status) == (None, 2)
    assert "none of 1 videos can be read" in printed.err
