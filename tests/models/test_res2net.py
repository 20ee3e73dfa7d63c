"""The Res2Net bottleneck against its steps written out, and against Res2Net-50's count."""

import inspect
from functools import partial

import pytest
import torch
from torch import nn

from tests.each_case import each_case
from tests.reference.comparison import TOLERANCE, assert_same_function, random_input, randomized
from tests.reference.res2net_loops import branch
from videoctx.layers.conv import plain_conv3d
from videoctx.models import Res2NetBottleneck3d, ResNet3D
from videoctx.models.residual_blocks import BlockShape

SHAPE = BlockShape(
    inner_channels=8,
    stride=(1, 1, 1),
    kernel_t=1,
    inflate_3x3=False,
    stride_at="3x3",
    groups=1,
    conv=plain_conv3d,
)


def make(in_channels=16, out_channels=16, *, scale=4, base_width=32, **shape):
    return Res2NetBottleneck3d(in_channels, out_channels, SHAPE._replace(**shape), scale=scale, base_width=base_width)


class Branch(nn.Module):
    """Only what the truth is of: the block without its shortcut and its sum."""

    def __init__(self, block):
        super().__init__()
        self.block = block
        block.shortcut = nn.Identity()

    def forward(self, x):
        return self.block.branch(x)


def reference_of(**arguments):
    def reference(x, tensors):
        return branch(x, {name.removeprefix("block."): tensor for name, tensor in tensors.items()}, **arguments)

    return reference


# Against its steps ------------------------------------------------------------------------------------------------


@each_case("groups", [1, 2])
@each_case(("extent", "inflate_3x3"), [(1, False), (3, False), (3, True)])
@each_case("scale", [2, 3, 4])
def test_a_middle_block_is_its_steps(scale, extent, inflate_3x3, groups):
    block = randomized(Branch(make(scale=scale, kernel_t=extent, inflate_3x3=inflate_3x3, groups=groups)))
    reference = reference_of(scale=scale, first=False, stride=(1, 1, 1), groups=groups)
    assert_same_function(block, reference, random_input(2, 16, 3, 4, 5))


@each_case("shape", [(2, 8, 3, 5, 6), (8, 8, 3, 1, 1)])
@each_case("stride", [(1, 1, 1), (1, 2, 2), (2, 2, 2)])
@each_case("inflate_3x3", [True, False])
def test_the_first_block_of_a_stage_is_its_steps(inflate_3x3, stride, shape):
    block = randomized(Branch(make(in_channels=8, stride=stride, kernel_t=3, inflate_3x3=inflate_3x3)))
    reference = reference_of(scale=4, first=True, stride=stride, groups=1)
    assert_same_function(block, reference, random_input(*shape))


def test_a_stride_alone_makes_a_first_block():
    block = randomized(Branch(make(stride=(1, 2, 2))))
    reference = reference_of(scale=4, first=True, stride=(1, 2, 2), groups=1)
    assert_same_function(block, reference, random_input(2, 16, 2, 4, 4))


@each_case(("in_channels", "stride"), [(16, (1, 1, 1)), (8, (1, 1, 1)), (8, (1, 2, 2))])
def test_a_block_adds_its_shortcut(in_channels, stride):
    block, x = randomized(make(in_channels=in_channels, stride=stride)), random_input(2, in_channels, 2, 4, 5)
    torch.testing.assert_close(block(x), torch.relu(block.shortcut(x) + block.branch(x)), **TOLERANCE)


# In a network -----------------------------------------------------------------------------------------------------


def test_a_2d_res2net_50_has_the_published_parameters():
    with torch.device("meta"):
        net = ResNet3D(1000, temporal_kernels="c2d", block=Res2NetBottleneck3d)
    assert round(sum(parameter.numel() for parameter in net.parameters()) / 1e6, 2) == 25.70


@each_case("temporal_kernels", ["i3d", "r3d"])
def test_a_small_clip_goes_through(temporal_kernels):
    """res5 is one pixel then, padded and pooled like any other."""
    net = ResNet3D(5, width=16, temporal_kernels=temporal_kernels, block=Res2NetBottleneck3d).eval()
    logits = net(torch.randn(2, 3, 4, 32, 32, generator=torch.Generator().manual_seed(0)))
    assert logits.shape == (2, 5)
    assert logits.isfinite().all()


def test_residual_branches_start_at_zero():
    net = ResNet3D(5, width=16, block=Res2NetBottleneck3d)
    blocks = [block for block in net.modules() if isinstance(block, Res2NetBottleneck3d)]
    assert len(blocks) == 16
    for block in blocks:
        assert not block.norm3.weight.any()
        assert all(norm.weight.all() for norm in (block.norm1, *block.norms))


# Arguments --------------------------------------------------------------------------------------------------------

CHANGES = [{"scale": 3}, {"base_width": 16}]


@each_case("change", CHANGES)
def test_every_argument_changes_something(change):
    x = random_input(2, 16, 2, 4, 5)
    assert not torch.allclose(randomized(make(**change))(x), randomized(make())(x))


def test_every_argument_is_among_the_changes():
    assert {"in_channels", "out_channels", "shape"}.union(*CHANGES) == set(
        inspect.signature(Res2NetBottleneck3d).parameters
    )


def test_defaults_are_the_papers():
    block = Res2NetBottleneck3d(256, 256, SHAPE._replace(inner_channels=64))
    assert block.conv1.weight.shape[0] == 4 * 26
    assert [conv.weight.shape[:2] for conv in block.convs] == [(26, 26)] * 3


# Errors -----------------------------------------------------------------------------------------------------------


@each_case("scale", [1, 0, -1])
def test_a_scale_below_2_is_named(scale):
    with pytest.raises(ValueError, match=rf"^scale is {scale}; expected 2 or more$"):
        make(scale=scale)


def test_a_stride_in_the_first_1x1_is_named():
    with pytest.raises(ValueError, match=r"^[^\n]*stride in the 3×3; got stride_at '1x1'$"):
        make(stride_at="1x1")
    with pytest.raises(ValueError, match="stride_at '1x1'"):
        ResNet3D(5, width=16, stride_at="1x1", block=Res2NetBottleneck3d)


@each_case(("base_width", "groups", "part"), [(7, 1, 0), (0, 1, 0), (-8, 1, -1), (24, 2, 3)])
def test_parts_without_channels_are_named(base_width, groups, part):
    with pytest.raises(ValueError, match=rf"^base_width {base_width} of 8 channels[^\n]* {part}; expected[^\n]*$"):
        make(base_width=base_width, groups=groups)


def test_arguments_go_through_a_network():
    net = ResNet3D(5, width=16, block=partial(Res2NetBottleneck3d, scale=2, base_width=32))
    assert net.res2[0].conv1.weight.shape[0] == 2 * 8
