"""SlowFast, X3D, CSN and R(2+1)D compute what PyTorchVideo's own networks compute, and have the published sizes."""

import re

import pytest
import pytorchvideo.models.hub as hub
import torch
from pytorchvideo.models.slowfast import create_slowfast
from torch import nn

from tests.each_case import each_case
from tests.models.randomized_norms import randomize
from videoctx.inference.classifier import load
from videoctx.inference.conversion import convert_checkpoint
from videoctx.layers import GlobalContext, NonLocal
from videoctx.models import CSN, X3D, R2Plus1D, SlowFast, create_model, insert_context
from videoctx.models.network_config import build_network, network_config
from videoctx.models.test_head import set_test_head

# PyTorchVideo's docs/source/model_zoo.md
PUBLISHED_MILLIONS = {
    "slowfast_4x16_r50": 34.48,
    "slowfast_r50": 34.57,
    "slowfast_r101": 62.83,
    "slowfast_16x8_r101": 53.77,
    "csn_r101": 22.21,
    "r2plus1d_r50": 28.11,
    "x3d_xs": 3.79,
    "x3d_s": 3.79,
    "x3d_m": 3.79,
    "x3d_l": 6.15,
}
NARROW = {"stem_dim_outs": (8, 1)}

# Name of ours → arguments of ours that make it narrow, PyTorchVideo's network, (T, side) of a clip in training.
PEERS = {
    "slowfast_r50": ({"width": 8}, lambda **a: hub.slowfast_r50(**NARROW, **a), (32, 224)),
    "slowfast_r101": ({"width": 8}, lambda **a: hub.slowfast_r101(**NARROW, **a), (32, 224)),
    "slowfast_16x8_r101": ({"width": 8}, lambda **a: hub.slowfast_16x8_r101_50_50(**NARROW, **a), (64, 224)),
    "slowfast_4x16_r50": (
        {"width": 8},
        lambda **a: create_slowfast(
            **NARROW,
            slowfast_fusion_conv_kernel_size=(5, 1, 1),
            slowfast_fusion_conv_stride=(8, 1, 1),
            head_pool_kernel_sizes=((4, 7, 7), (32, 7, 7)),
            **a,
        ),
        (32, 224),
    ),
    "x3d_xs": ({}, hub.x3d_xs, (4, 160)),
    "x3d_s": ({}, hub.x3d_s, (13, 160)),
    "x3d_m": ({}, hub.x3d_m, (16, 224)),
    "x3d_l": ({}, hub.x3d_l, (16, 312)),
    "csn_r101": ({"width": 8}, lambda **a: hub.csn_r101(stem_dim_out=8, **a), (32, 224)),
    "r2plus1d_r50": ({"width": 8}, lambda **a: hub.r2plus1d_r50(stem_dim_out=8, **a), (16, 224)),
}
FILES = {  # as PyTorchVideo names them
    "slowfast_r50": "SLOWFAST_8x8_R50.pyth",
    "slowfast_r101": "SLOWFAST_8x8_R101.pyth",
    "slowfast_16x8_r101": "SLOWFAST_16x8_R101_50_50.pyth",
    "slowfast_4x16_r50": "SLOWFAST_4x16_R50.pyth",
    "x3d_xs": "X3D_XS.pyth",
    "x3d_s": "X3D_S.pyth",
    "x3d_m": "X3D_M.pyth",
    "x3d_l": "X3D_L.pyth",
    "csn_r101": "CSN_32x2_R101.pyth",
    "r2plus1d_r50": "R2PLUS1D_16x4_R50.pyth",
}
CLIPS = {
    "slowfast_r50": (32, 2, 256),
    "slowfast_r101": (32, 2, 256),
    "slowfast_16x8_r101": (64, 2, 256),
    "slowfast_4x16_r50": (32, 2, 256),
    "x3d_xs": (4, 12, 182),
    "x3d_s": (13, 6, 182),
    "x3d_m": (16, 5, 256),
    "x3d_l": (16, 5, 356),
    "csn_r101": (32, 2, 256),
    "r2plus1d_r50": (16, 4, 256),
}


@torch.no_grad()
def peer_logits(peer: nn.Module, clips: torch.Tensor, alpha: int | None) -> torch.Tensor:
    """The output of PyTorchVideo's network, whose slow pathway gets the frames of its tutorial's `PackPathway`."""
    if alpha is None:
        return peer(clips)
    frames = torch.linspace(0, clips.shape[2] - 1, clips.shape[2] // alpha).long()
    return peer([clips.index_select(2, frames), clips])


def compare(name: str, folder, *, side: int | None = None, whole_map: bool = False) -> None:
    """Compare the output of PyTorchVideo's network with that of its converted state dict.

    Args:
        side: of the crops; by default that of the network's training.
        whole_map: let the peer's head average the whole map, as it can only for the crops of training.
    """
    torch.manual_seed(0)
    arguments, make, (num_frames, train_side) = PEERS[name]
    peer = randomize(make(model_num_class=5))
    if whole_map:
        for parent in peer.modules():
            for child, layer in parent.named_children():
                if isinstance(layer, nn.AvgPool3d):
                    setattr(parent, child, nn.AdaptiveAvgPool3d(1))
    torch.save({"model_state": peer.state_dict()}, folder / FILES[name])
    convert_checkpoint(folder / FILES[name], folder / "net.pt", class_names=list("abcde"))
    trained = load(folder / "net.pt")
    with torch.device("meta"):
        described = create_model(name, 5, **arguments)
    assert network_config(trained.net) == network_config(described)
    made = trained.preprocessing
    assert (made.clip_len, made.frame_interval, made.crop_size_px) == CLIPS[name]
    assert (made.short_side_px, made.protocol) == (made.crop_size_px, "pytorchvideo")
    clips = torch.rand(1, 3, num_frames, side or train_side, side or train_side)
    clips[..., clips.shape[-1] // 2 :] *= 0.3  # so that windows differ
    expected = peer_logits(peer, clips, getattr(trained.net, "alpha", None))
    with torch.no_grad():
        logits = trained.net(clips)
    if peer.blocks[-1].activation is not None:  # its hub applies a softmax in the network
        logits = logits.softmax(dim=1)
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)
    assert logits.std() > 0.01


@each_case("name", ["slowfast_r50", "slowfast_4x16_r50", "x3d_xs", "r2plus1d_r50", "csn_r101"])
def test_equals_pytorchvideos_own_network(name, tmp_path):
    compare(name, tmp_path, side=64, whole_map=True)


@pytest.mark.slow
@each_case("name", sorted(PEERS))
def test_every_network_equals_pytorchvideos_own_on_crops_of_training_and_of_test(name, tmp_path):
    compare(name, tmp_path)
    compare(name, tmp_path, side=CLIPS[name][2])  # several windows


@each_case("name", sorted(PUBLISHED_MILLIONS))
def test_number_of_parameters_is_the_published_one(name):
    with torch.device("meta"):
        net = create_model(name, 400)
    assert f"{sum(p.numel() for p in net.parameters()) / 1e6:.2f}" == f"{PUBLISHED_MILLIONS[name]:.2f}"


FAMILIES = {  # small networks with blocks in two stages
    SlowFast: {"width": 8, "alpha": 2},
    X3D: {"width_factor": 0.5},
    CSN: {"depth": 50, "width": 8},
    R2Plus1D: {"width": 8},
}


@torch.no_grad()
@each_case("family", FAMILIES)
@each_case("position", ["after_add", "after_1x1"])
def test_context_blocks_at_stages_start_as_the_identity_and_are_rebuilt(family, position):
    arguments = FAMILIES[family] | {"context_position": position}
    torch.manual_seed(0)
    plain = family(3, **FAMILIES[family])
    net = family(3, **arguments, context=NonLocal, context_at={"res3": [1], "res4": [0, 2]})
    blocks = [name for name, module in net.named_modules() if isinstance(module, NonLocal)]
    slow = ".slow" if family is SlowFast else ""
    assert blocks == [f"res3{slow}.1.{position}", f"res4{slow}.0.{position}", f"res4{slow}.2.{position}"]
    missing, unexpected = net.load_state_dict(plain.state_dict(), strict=False)
    assert not unexpected
    assert all(f".{position}." in name for name in missing)
    clips = torch.randn(1, 3, 4, 64, 64)
    torch.testing.assert_close(net.eval()(clips), plain.eval()(clips))
    again = build_network(network_config(net), 3)
    again.load_state_dict(net.state_dict())
    assert torch.equal(again.eval()(clips), net(clips))


@each_case("family", FAMILIES)
def test_inserted_blocks_are_part_of_the_config(family):
    with torch.device("meta"):
        net = family(3, **FAMILIES[family])
        stage = "res4.slow" if family is SlowFast else "res4"
        insert_context(net, {stage: [1]}, GlobalContext)
        again = build_network(network_config(net), 3)
    assert list(again.state_dict()) == list(net.state_dict())


def test_the_fast_pathway_takes_blocks_by_its_name():
    with torch.device("meta"):
        net = SlowFast(3, width=64, context=GlobalContext, context_at={"res3": [0], "res3.fast": [1]})
    assert isinstance(net.res3.slow[0].after_add, GlobalContext)
    assert isinstance(net.res3.fast[1].after_add, GlobalContext)


@each_case(
    "make, message",
    [
        (
            lambda: SlowFast(3, width=8, context=NonLocal, context_at={"res6": [0]}),
            "'res6'; expected one of res2, res3, res4, res5, or of the fast pathway res2.fast",
        ),
        (
            lambda: SlowFast(3, width=8, context=NonLocal, context_at={"res3": [1], "res3.slow": [2]}),
            "context_at names one stage twice: res3, res3.slow",
        ),
        (lambda: SlowFast(3, width=8, context=NonLocal, context_at={"res3": [4]}), "block 4 of res3.slow, which has 4"),
        (lambda: X3D(3, context=NonLocal, context_at={"res1": [0]}), "'res1'; expected one of res2, res3, res4, res5"),
        (lambda: X3D(3, context=NonLocal, context_at={"res2": [3]}), "block 3 of res2, which has 3: expected 0 to 2"),
        (lambda: CSN(3, depth=50, context=NonLocal), "context and context_at belong together"),
        (lambda: CSN(3, depth=34), "depth is 34; expected one of 50, 101, 152"),
        (lambda: R2Plus1D(3, width=0), "width is 0; expected 1 or more"),
        (lambda: R2Plus1D(3, dropout=2.0), "dropout is 2.0; expected 0 to 1"),
        (lambda: R2Plus1D(3, activation_checkpointing=["res9"]), "expected stages of res2, res3, res4, res5"),
        (lambda: X3D(3, depth_factor=0.0), "depth_factor is 0.0; expected more than 0"),
        (lambda: X3D(3, window_size=0), "window_size is 0; expected 1 or more"),
        (lambda: SlowFast(3, width=12), "width is 12; expected a multiple of beta, 8"),
        (lambda: SlowFast(3, fusion_kernel_t=4), "fusion_kernel_t is 4; expected an odd number"),
        (lambda: SlowFast(3, slow_frames="first"), "slow_frames is 'first'; expected one of spread, strided"),
        (lambda: SlowFast(3, alpha=0), "alpha is 0; expected 1 or more"),
        (lambda: SlowFast(3, res4_temporal_blocks=-1), "res4_temporal_blocks is -1; expected 0 or more"),
        (
            lambda: SlowFast(3, width=8)(torch.zeros(1, 3, 6, 32, 32)),
            "a clip has 6 frames; expected a multiple of alpha",
        ),
    ],
)
def test_what_a_family_lacks_is_one_clear_line(make, message):
    with torch.device("meta"), pytest.raises(ValueError, match=re.escape(message)) as raised:
        make()
    assert "\n" not in str(raised.value)


@torch.no_grad()
def test_every_argument_changes_something():
    clips = torch.randn(1, 3, 8, 64, 64)

    def logits(net):
        return randomize(net)(clips)

    def differ(first, second):
        return not torch.allclose(logits(first), logits(second), atol=1e-6)

    small = {"width": 8, "alpha": 2}
    for changed in ({"alpha": 4}, {"slow_frames": "strided"}, {"fusion_norm": False}, {"res4_temporal_blocks": 1}):
        torch.manual_seed(0)
        plain = SlowFast(3, **small)
        torch.manual_seed(0)
        assert differ(plain, SlowFast(3, **small | changed)), changed
    torch.manual_seed(0)
    plain = X3D(3, width_factor=0.5)
    torch.manual_seed(0)
    assert differ(plain, X3D(3, width_factor=0.5, res2_shortcut_norm=True))
    for kind, first, second in (
        (SlowFast, {"width": 8}, {"width": 16}),
        (SlowFast, {"width": 16}, {"width": 16, "beta": 4}),
        (SlowFast, {"width": 8}, {"width": 8, "fusion_kernel_t": 5}),
        (SlowFast, {"width": 8}, {"width": 8, "depth": 101}),
        (X3D, {}, {"depth_factor": 5.0}),
        (X3D, {}, {"width_factor": 1.0}),
        (CSN, {"depth": 50}, {"depth": 101}),
        (CSN, {"depth": 50}, {"depth": 50, "width": 32}),
        (R2Plus1D, {}, {"depth": 101}),
        (R2Plus1D, {}, {"width": 32}),
    ):
        with torch.device("meta"):
            shapes = [{name: p.shape for name, p in kind(3, **one).state_dict().items()} for one in (first, second)]
        assert shapes[0] != shapes[1], (kind, second)


@each_case("family", FAMILIES)
def test_activation_checkpointing_gives_the_same_gradients(family):
    gradients = []
    for stages in ([], ["res2", "res4"]):
        torch.manual_seed(0)
        net = family(3, **FAMILIES[family], dropout=0.0, activation_checkpointing=stages)
        net(torch.randn(2, 3, 4, 32, 32, generator=torch.Generator().manual_seed(1))).logsumexp(dim=1).sum().backward()
        gradients.append({name: p.grad for name, p in net.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient)


@torch.no_grad()
def test_windows_of_x3d_are_those_of_its_training_crops():
    net = randomize(X3D(3, width_factor=0.5, window_size=2))
    clips = torch.rand(1, 3, 4, 96, 96)  # a map of 3 × 3
    set_test_head(net, "windows_probabilities", multi_label=False)
    found = net(clips).softmax(dim=1)
    x = net.feature_map(clips)
    windows = [x[..., top : top + 2, left : left + 2].mean(dim=(2, 3, 4)) for top in (0, 1) for left in (0, 1)]
    expected = sum(net.head(net.fc1(window)).softmax(dim=1) for window in windows) / 4
    torch.testing.assert_close(found, expected)
