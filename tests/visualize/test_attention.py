"""Attention maps: they give the context of the block, blocks are found by name, and a planted patch is found."""

from functools import partial

import pytest
import torch
from torch import nn

from tests.each_case import each_case
from videoctx.layers import (
    CBAM,
    DisentangledNonLocal,
    DoubleAttention,
    GlobalContext,
    NonLocal,
    SimplifiedNonLocal,
    SqueezeExcitation,
)
from videoctx.layers.non_local import halve_resolution
from videoctx.models import ResNet3D, insert_context
from videoctx.visualize.attention import Attention, attention_blocks, find_block, grouped, trace_blocks
from videoctx.visualize.grids import Axis

SIZES = (3, 5, 4)
CHANNELS = 6
AFFINITIES = ["gaussian", "embedded_gaussian", "dot_product", "concatenation"]


def rough(block: nn.Module) -> nn.Module:
    """Set random weights of a noticeable size."""
    generator = torch.Generator().manual_seed(0)
    for parameter in block.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
    return block.double().eval()


def watched(block: nn.Module, *, channels: int = CHANNELS, sizes=SIZES):
    net = nn.Sequential(block)
    clip = torch.randn(1, channels, *sizes, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    (only,) = trace_blocks(net, clip).values()
    assert torch.equal(only.input, clip)
    return only, clip


def all_rows(attention: Attention) -> torch.Tensor:
    """(G, N, M)."""
    queries = torch.arange(attention.group_size)
    return torch.stack([attention.rows(group, queries) for group in range(attention.num_groups)])


@each_case("affinity", AFFINITIES)
@each_case(
    ("subsample", "attend_over"),
    [(subsample, over) for over in ("spacetime", "space") for subsample in ("input", "keys", "none")]
    + [("none", "time")],
)
def test_weights_of_a_non_local_block_give_its_context(affinity, subsample, attend_over):
    block = rough(NonLocal(CHANNELS, affinity=affinity, subsample=subsample, attend_over=attend_over))
    seen, x = watched(block)
    g = block.context.g(halve_resolution(x) if subsample == "input" else x)
    g = grouped(halve_resolution(g) if subsample == "keys" else g, attend_over)  # (G, M, d)
    rows = all_rows(seen.attention)
    assert rows.shape == (seen.attention.num_groups, seen.attention.group_size, seen.attention.num_keys)
    torch.testing.assert_close(rows @ g, grouped(block.context(x), attend_over))
    torch.testing.assert_close(seen.output, block(x) - x)
    assert seen.attention.is_distribution == (affinity in AFFINITIES[:2])
    if seen.attention.is_distribution:
        torch.testing.assert_close(rows.sum(dim=2), torch.ones(rows.shape[:2], dtype=torch.float64))


@each_case("subsample", ["input", "none"])
def test_weights_of_a_disentangled_block_give_its_context(subsample):
    block = rough(DisentangledNonLocal(CHANNELS, subsample=subsample, temperature=2.0))
    seen, x = watched(block)
    g = grouped(block.context.g(halve_resolution(x) if subsample == "input" else x), "spacetime")
    rows = all_rows(seen.attention)
    torch.testing.assert_close(rows @ g, grouped(block.context(x), "spacetime"))
    torch.testing.assert_close(rows.sum(dim=2), torch.full(rows.shape[:2], 2.0, dtype=torch.float64))


def test_weights_of_double_attention_give_its_context():
    block = rough(DoubleAttention(CHANNELS, inner_ratio=0.5))
    seen, x = watched(block)
    rows = all_rows(seen.attention)
    torch.testing.assert_close(
        rows @ grouped(block.context.phi(x), "spacetime"), grouped(block.context(x), "spacetime")
    )
    torch.testing.assert_close(rows.sum(dim=2), torch.ones(rows.shape[:2], dtype=torch.float64))


@each_case("make", [SimplifiedNonLocal, partial(GlobalContext, ratio=0.5)])
def test_map_of_a_global_block_gives_its_context(make):
    block = rough(make(CHANNELS))
    seen, x = watched(block)
    rows = all_rows(seen.attention)
    assert not seen.attention.depends_on_query
    context = block.context(x).reshape(1, 1, -1)
    torch.testing.assert_close(rows @ grouped(x, "spacetime"), context.expand(1, rows.shape[1], -1))
    assert seen.output.shape == (1, CHANNELS, 1, 1, 1)


def test_map_of_cbam_is_its_spatial_gate():
    block = rough(CBAM(CHANNELS, ratio=0.5))
    (name, seen), *others = trace_blocks(nn.Sequential(block), x := torch.randn(1, CHANNELS, *SIZES).double()).items()
    assert (name, others) == ("0.spatial", [])
    gate = seen.attention.map_of((0, 0, 0))
    torch.testing.assert_close(block.channel(x) * gate, block(x))


@each_case(
    ("subsample", "attend_over"), [("none", "time"), ("none", "space"), ("input", "space"), ("keys", "spacetime")]
)
def test_map_of_a_query_equals_a_loop(subsample, attend_over):
    """Compare each query with each key, from θ and φ."""
    block = rough(NonLocal(CHANNELS, subsample=subsample, attend_over=attend_over, inner_ratio=1.0))
    seen, x = watched(block)
    source = halve_resolution(x) if subsample == "input" else x
    theta, phi = block.context.theta(x)[0], block.context.phi(source)[0]
    phi = halve_resolution(phi[None])[0] if subsample == "keys" else phi
    for query in ((0, 0, 0), (2, 4, 1), (1, 3, 3)):
        weights = torch.zeros(phi.shape[1:], dtype=torch.float64)
        for t in range(phi.shape[1]):
            for row in range(phi.shape[2]):
                for column in range(phi.shape[3]):
                    same_frame, same_place = t == query[0], (row, column) == query[1:]
                    if {"space": same_frame, "time": same_place, "spacetime": True}[attend_over]:
                        logit = (theta[:, *query] * phi[:, t, row, column]).sum() / CHANNELS**0.5
                        weights[t, row, column] = logit.exp()
        torch.testing.assert_close(seen.attention.map_of(query).double(), weights / weights.sum(), rtol=1e-5, atol=1e-7)


def test_strongest_query_has_the_greatest_output():
    block = rough(NonLocal(CHANNELS))
    seen, x = watched(block)
    added = (block(x) - x).norm(dim=1)[0]
    assert added[seen.strongest_query()] == added.max()


# Names ------------------------------------------------------------------------------------------------------------


def net_with(context, **arguments) -> nn.Module:
    at = {"res3": [1], "res4": [0, 1]}
    return ResNet3D(3, depth=18, width=4, context=context, context_at=at, **arguments).eval()


@each_case("position", ["after_add", "after_1x1"])
def test_block_is_named_after_its_residual_block(position):
    net = net_with(NonLocal, context_position=position)
    assert list(attention_blocks(net)) == ["res3.1", "res4.0", "res4.1"]
    assert find_block(net) == "res4.1"
    assert find_block(net, "res3.1") == find_block(net, f"res3.1.{position}") == "res3.1"
    with pytest.raises(
        ValueError, match=r"no block 'res5.1' with an attention map; expected one of res3.1, res4.0, res4.1$"
    ):
        find_block(net, "res5.1")


def test_blocks_without_a_map_are_not_listed():
    with pytest.raises(ValueError, match=r"no block with an attention map; expected --method gradcam"):
        find_block(net_with(partial(SqueezeExcitation, ratio=0.5)))


def test_network_of_another_project():
    models = pytest.importorskip("torchvision.models")
    net = insert_context(models.video.r3d_18(num_classes=2), {"layer4": [0]}, GlobalContext).eval()
    assert list(trace_blocks(net, torch.randn(1, 3, 4, 32, 32))) == ["layer4.0.1"]


def test_network_that_moves_frames_into_the_batch_is_refused():
    class Frames(nn.Module):
        def __init__(self):
            super().__init__()
            self.block = NonLocal(3, inner_ratio=1.0)

        def forward(self, clip):
            return self.block(clip[0].transpose(0, 1))  # (T, 3, H, W)

    with pytest.raises(ValueError, match=r"input of block block is \(2, 3, 4, 4\); expected one clip"):
        trace_blocks(Frames().eval(), torch.zeros(1, 3, 2, 4, 4))


def test_tracing_leaves_no_hooks_and_changes_no_output():
    net, clip = net_with(NonLocal), torch.randn(1, 3, 8, 32, 32)
    with torch.no_grad():
        before = net(clip)
        trace_blocks(net, clip)
        assert torch.equal(net(clip), before)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


# A planted patch --------------------------------------------------------------------------------------------------


class Intensity(nn.Module):
    """Mean color of windows, twice, then a Non-local block that attends to what is bright: f = exp(xᵢ·xⱼ)."""

    def __init__(self, kernel, stride, padding, subsample, attend_over="spacetime") -> None:
        super().__init__()
        self.conv = nn.Conv3d(3, 2, kernel, stride, padding, bias=False)
        nn.init.constant_(self.conv.weight, 40.0 / self.conv.weight[0].numel())
        self.block = NonLocal(
            2, affinity="gaussian", softmax_scale=False, subsample=subsample, attend_over=attend_over, inner_ratio=0.5
        )

    def forward(self, clip):
        return self.block(self.conv(clip))


@each_case("subsample", ["none", "input", "keys"])
@each_case(
    ("sizes", "kernel", "stride", "padding"),
    [
        ((8, 64, 64), (1, 3, 3), (1, 2, 2), (0, 1, 1)),
        ((8, 57, 83), (3, 7, 7), (2, 4, 4), (1, 3, 3)),
        ((9, 61, 47), (2, 2, 2), (2, 2, 2), (0, 0, 0)),
        ((1, 40, 90), (1, 5, 3), (1, 3, 5), (0, 0, 1)),
    ],
)
def test_bright_patch_has_the_greatest_weight(subsample, sizes, kernel, stride, padding):
    net = Intensity(kernel, stride, padding, subsample).eval()
    for patch in ((0, 8, 8), (max(sizes[0] - 2, 0), sizes[1] - 20, sizes[2] - 13), (sizes[0] // 2, sizes[1] // 2, 20)):
        clip = torch.zeros(1, 3, *sizes)
        first, top, left = patch
        clip[0, :, first, top : top + 6, left : left + 6] = 1.0
        attention = trace_blocks(net, clip)["block"].attention
        query = attention.queries.nearest((first, top + 2.5, left + 2.5))
        values = attention.map_of(query).double().numpy()
        places = [torch.arange(size).numpy() for size in sizes]
        upsampled = torch.from_numpy(attention.keys.upsample(values, places))
        upsampled = upsampled - upsampled.median()
        axes = [axis.step for axis in attention.keys.axes]
        for axis, (middle, step) in enumerate(zip((first, top + 2.5, left + 2.5), axes, strict=True)):
            profile = upsampled.clamp(min=0).sum(dim=[other for other in range(3) if other != axis])
            centroid = (profile * torch.arange(len(profile))).sum() / profile.sum()
            assert abs(centroid - middle) <= 0.6 * step, (patch, axis, float(centroid))


@each_case("attend_over", ["space", "time"])
def test_map_is_zero_outside_the_group(attend_over):
    net = Intensity((1, 1, 1), (1, 1, 1), 0, "none", attend_over).eval()
    clip = torch.zeros(1, 3, 4, 6, 6)
    clip[0, :, 2, 3, 4] = clip[0, :, 1, 1, 1] = 1.0
    map = trace_blocks(net, clip)["block"].attention.map_of((2, 3, 4))
    assert map[2, 3, 4] > 0.9
    assert map[1, 1, 1] == 0
    assert map.sum() == pytest.approx(1, abs=1e-5)


def test_keys_of_halved_resolution_are_between_the_queries():
    net = Intensity((1, 3, 3), (1, 2, 2), (0, 1, 1), "input").eval()
    attention = trace_blocks(net, torch.zeros(1, 3, 2, 16, 16))["block"].attention
    assert attention.queries.axes[1] == Axis(0, 2)
    assert attention.keys.axes[1] == Axis(1, 4)


@each_case("value", [torch.nan, torch.inf])
def test_a_block_that_is_not_finite_has_no_map(value):
    net = nn.Sequential(GlobalContext(3, ratio=1.0)).eval()
    net[0].transform[-1].bias.data[0] = value
    with pytest.raises(ValueError, match="block 0 gets or gives NaN or infinity"):
        trace_blocks(net, torch.ones(1, 3, 2, 4, 4))
