"""Depthwise and channel-separated convolutions against loops, and CSN's counts."""

import pytest
import torch

from tests.each_case import each_case
from tests.reference.channel_separated_loops import depthwise, preserved
from tests.reference.comparison import assert_same_function, random_input, randomized
from videoctx.layers import ChannelSeparatedConv3d, DepthwiseConv3d
from videoctx.models import ResNet3D

each_shape = each_case(
    ("kernel_size", "stride", "frames"),
    [((3, 3, 3), (1, 1, 1), 2), ((3, 3, 3), (2, 2, 2), 3), ((1, 3, 3), (1, 2, 2), 1)],
)


@each_shape
def test_a_depthwise_convolution_is_its_loops(kernel_size, stride, frames):
    layer = randomized(DepthwiseConv3d(3, 3, kernel_size=kernel_size, stride=stride))
    assert_same_function(
        layer, lambda x, tensors: depthwise(x, tensors["weight"], stride), random_input(2, 3, frames, 3, 4)
    )


@each_case("eps", [1e-3, 0.5])
@each_shape
def test_a_channel_separated_convolution_is_its_loops(kernel_size, stride, frames, eps):
    layer = randomized(ChannelSeparatedConv3d(3, 3, kernel_size=kernel_size, stride=stride, norm_eps=eps))
    assert_same_function(layer, lambda x, tensors: preserved(x, tensors, stride, eps), random_input(2, 3, frames, 3, 4))


def test_the_published_epsilon_is_the_default():
    assert ChannelSeparatedConv3d(3, 3).norm.eps == 1e-3


@each_case("kind", [DepthwiseConv3d, ChannelSeparatedConv3d])
def test_other_channels_or_groups_are_an_error(kind):
    with pytest.raises(ValueError, match="a group for each; got 8 in, 16 out, groups 1"):
        kind(8, 16)
    with pytest.raises(ValueError, match="got 8 in, 8 out, groups 2"):
        kind(8, 8, groups=2)
    with pytest.raises(ValueError, match="a group for each; got"):
        ResNet3D(5, depth=18, width=8, conv=kind)  # whose first convolution of res3 has other channels


@each_case(
    ("depth", "conv", "millions"),  # mmaction2's README
    [(152, DepthwiseConv3d, 29.70), (50, DepthwiseConv3d, 13.13), (152, ChannelSeparatedConv3d, 33.02)],
)
def test_csn_has_the_published_parameters(depth, conv, millions):
    with torch.device("meta"):
        net = ResNet3D(400, depth=depth, temporal_kernels="r3d", conv=conv)
    counted = sum(parameter.numel() for parameter in net.parameters()) / 1e6
    assert counted == pytest.approx(millions, abs=0.006)
