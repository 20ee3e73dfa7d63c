"""Effective receptive fields of tiny networks, computed by hand, and `videoctx receptive_field`."""

import math

import pytest
import torch
from matplotlib.image import imread
from torch import nn

from tests.each_case import each_case
from tests.tiny_set import break_video, make_set
from tests.visualize.test_attention_tool import write_checkpoint
from videoctx.cli import main
from videoctx.cli.receptive_field import distinct_names
from videoctx.layers import GlobalContext
from videoctx.visualize.receptive_field import THRESHOLD, ReceptiveField, central_gradients
from videoctx.visualize.receptive_field_sheet import draw_receptive_fields


def convolution(kernel: list[float], *, channels: int = 3) -> nn.Conv3d:
    """A convolution along the width alone: the kernel for every channel of the input."""
    layer = nn.Conv3d(channels, 1, (1, 1, len(kernel)), padding=(0, 0, len(kernel) // 2), bias=False)
    layer.weight.data = torch.tensor(kernel).expand(1, channels, 1, 1, -1).clone()
    return layer


def row(net: nn.Module, layer: str, *, width: int = 9, fill: float = 1.0) -> list[float]:
    """Return the gradients in the row and frame of the central unit, summed over three equal colors."""
    gradients = central_gradients(net, torch.full((1, 3, 3, 5, width), fill), layer)[0]
    return (gradients[1, 2] / 3).tolist()


def test_the_field_of_a_convolution_is_its_kernel():
    net = nn.Sequential(convolution([1.0, -2.0, 4.0]))
    assert row(net, "0") == [0, 0, 0, 1, 2, 4, 0, 0, 0]
    gradients = central_gradients(net, torch.zeros(1, 3, 3, 5, 9), "0")[0]
    assert gradients.nonzero().tolist() == [[1, 2, 3], [1, 2, 4], [1, 2, 5]]


def test_the_field_of_two_convolutions_is_their_composition():
    net = nn.Sequential(convolution([1.0, 2.0, 1.0]), convolution([1.0, 2.0, 1.0], channels=1))
    assert row(net, "1") == [0, 0, 1, 4, 6, 4, 1, 0, 0]
    assert row(net, "0") == [0, 0, 0, 1, 2, 1, 0, 0, 0]


def test_a_stride_and_an_even_map():
    """Of four positions, the third one is taken. With a stride of 2 it is centered on pixel 4."""
    layer = convolution([1.0, 2.0, 1.0])
    layer.stride = (1, 1, 2)
    assert row(nn.Sequential(layer), "0", width=8) == [0, 0, 0, 1, 2, 1, 0, 0]


def test_a_later_layer_in_place_changes_nothing():
    net = nn.Sequential(convolution([1.0, -2.0, 1.0]), nn.ReLU(inplace=True))
    assert row(net, "0", fill=-1.0) == [0, 0, 0, 1, 2, 1, 0, 0, 0]


def test_every_clip_has_its_own_gradients():
    """A ReLU passes the gradient of one clip alone. The mean over clips is that of magnitudes."""
    net = nn.Sequential(convolution([1.0]), nn.Tanh())
    clips = torch.stack([torch.zeros(3, 1, 1, 3), torch.full((3, 1, 1, 3), 0.2)])
    gradients = central_gradients(net, clips, "1")
    expected = torch.tensor([1.0, 1 - math.tanh(0.6) ** 2]) * 3
    torch.testing.assert_close(gradients[:, 0, 0, 1], expected)


def test_global_context_sees_all_frames_and_pixels():
    block = GlobalContext(3, pooling="average", layer_norm=False, ratio=1.0)
    for parameter in block.parameters():
        nn.init.constant_(parameter, 0.1)
    gradients = central_gradients(nn.Sequential(block), torch.ones(1, 3, 2, 4, 5), "0")[0]
    # y = x + 0.1 · 3 ReLU(0.1 Σ mean(x) + 0.1) + 0.1 of each of three channels: 3 · 3 · 0.1 · 0.1 · 3 / 40 = 0.00675
    torch.testing.assert_close(gradients[0, 0, 0].item(), 0.00675)
    torch.testing.assert_close(gradients[1, 2, 2].item(), 3 + 0.00675)
    assert (gradients > 0).all()


def test_the_region_and_its_size():
    assert round(THRESHOLD, 4) == 0.0455
    field = torch.zeros(4, 6, 6)
    field[1, 2, 2] = 100.0
    field[1, 2, 3] = 4.6
    field[2, 3, 2:4] = 5.0
    field[3, 0, 0] = 4.5  # below 4.55%
    found = ReceptiveField(field)
    assert (found.size_px, found.num_frames) == (2.0, 2)
    assert found.outside == pytest.approx(4.5 / 119.1)


@each_case(
    ("net", "layer", "message"),
    [
        (nn.Sequential(convolution([1.0])), "1", "no layer '1'"),
        (nn.Sequential(nn.Flatten()), "0", r"layer 0 gives \(1, 405\); expected a layer whose output is"),
        (nn.Sequential(convolution([0.0])), "0", "layer 0 does not depend on the clip"),
        (nn.Sequential(convolution([math.nan])), "0", "the gradients of layer 0 are NaN or infinite"),
    ],
)
def test_layers_without_a_field_are_refused(net, layer, message):
    with pytest.raises(ValueError, match=message):
        row(net, layer)


def test_the_image_has_a_column_per_network(tmp_path):
    narrow, wide = torch.full((2, 8, 8), 1e-5), torch.ones(2, 8, 8)
    narrow[1, 4, 4] = 1.0
    draw_receptive_fields({"a$^$": ReceptiveField(narrow), "wide": ReceptiveField(wide)}, tmp_path / "fields.png")
    image = imread(tmp_path / "fields.png")[..., :3]
    dark = (image[:180] < 0.1).all(axis=-1).sum(axis=0)  # the darkest color of the map
    assert dark[: len(dark) // 2].max() > 50
    assert dark[len(dark) // 2 : int(len(dark) * 0.8)].max() < 50


@each_case(
    ("paths", "names"),
    [
        (["runs/plain/seed_0/last.ckpt", "runs/nl/seed_0/last.ckpt"], ["plain", "nl"]),
        (["runs/plain/0/last.ckpt", "runs/nl/1/last.ckpt"], ["plain/0", "nl/1"]),
        (["run/last.ckpt", "run/best.ckpt"], ["last.ckpt", "best.ckpt"]),
        (["runs/a/last.ckpt", "runs/last.ckpt"], ["a/last.ckpt", "last.ckpt"]),
        (["runs/a.ckpt"], ["a"]),
    ],
)
def test_networks_are_named_by_what_differs_in_their_paths(paths, names):
    assert distinct_names(paths) == names


def test_from_checkpoints_to_an_image(tmp_path, capsys):
    manifest = make_set(tmp_path, num_videos={"train": 1, "test": 3})
    plain = write_checkpoint(tmp_path / "plain.ckpt", None)
    nl = write_checkpoint(tmp_path / "nl.ckpt", "NonLocal")
    output = tmp_path / "fields.png"
    arguments = ["receptive_field", str(plain), str(nl), f"--manifest={manifest}", f"--output={output}"]
    main([*arguments, "--layer=res3", "--num_videos=2"])
    printed = capsys.readouterr().out
    assert "the central unit of res3, 2 videos" in printed
    assert [line.split()[1] for line in printed.splitlines() if line.startswith("│")] == ["plain.ckpt", "nl.ckpt"]
    assert imread(output).shape[1] > 350
    break_video(tmp_path / "test1.mp4", "text")
    with pytest.raises(SystemExit) as stopped:
        main([*arguments, "--layer=res3"])
    assert stopped.value.code == 1
    printed = capsys.readouterr()
    assert "2 videos" in printed.out
    assert f"left out: {tmp_path / 'test1.mp4'}" in printed.err
    with pytest.raises(SystemExit):
        main(["receptive_field", str(nl), *arguments[1:]])
    assert f"{nl} is given twice; expected every checkpoint once" in capsys.readouterr().err
