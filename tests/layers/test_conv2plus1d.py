"""(2+1)D convolution against its formula, and its number of channels between."""

import inspect

import torch

from tests.each_case import each_case
from tests.reference.comparison import assert_same_function, random_input, randomized
from tests.reference.self_calibrated_loops import batch_norm, convolution
from videoctx.layers import Conv2Plus1d
from videoctx.layers.conv import plain_conv3d


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def reference_of(*, stride=(1, 1, 1), groups=1, **_):
    def reference(x, tensors):
        statistics = [tensors[f"norm.{part}"] for part in ("weight", "bias", "running_mean", "running_var")]
        space = convolution(x, tensors["spatial.weight"], stride=(1, *stride[1:]), groups=groups)
        between = batch_norm(space, statistics)
        between = torch.where(between > 0, between, torch.zeros_like(between))
        return convolution(between, tensors["temporal.weight"], stride=(stride[0], 1, 1), groups=groups)

    return reference


@each_case("mid_channels", [None, 4])
@each_case("groups", [1, 2])
@each_case("stride", [(1, 1, 1), (1, 2, 2), (2, 2, 2), (2, 1, 1)])
@each_case("kernel_size", [(3, 3, 3), (1, 3, 3), (3, 1, 1), (5, 3, 5)])
def test_is_space_then_time(kernel_size, stride, groups, mid_channels):
    arguments = {"kernel_size": kernel_size, "stride": stride, "groups": groups}
    conv = randomized(Conv2Plus1d(4, 6, **arguments, mid_channels=mid_channels))
    assert conv.spatial.weight.shape[2:] == (1, *kernel_size[1:])
    assert conv.temporal.weight.shape[2:] == (kernel_size[0], 1, 1)
    x = random_input(2, 4, 4, 5, 6)
    assert_same_function(conv, reference_of(**arguments), x)
    assert conv(x).shape == plain_conv3d(4, 6, kernel_size=kernel_size, stride=stride).double()(x).shape


# Channels between -------------------------------------------------------------------------------------------------


@each_case(
    ("in_channels", "out_channels", "kernel_size", "mid_channels"),
    [(64, 64, (3, 3, 3), 144), (64, 128, (3, 3, 3), 230), (128, 128, (3, 3, 3), 288), (3, 64, (3, 7, 7), 83)],
)
def test_the_channels_between_are_the_papers(in_channels, out_channels, kernel_size, mid_channels):
    """The first three are those of torchvision's r2plus1d_18."""
    with torch.device("meta"):
        conv = Conv2Plus1d(in_channels, out_channels, kernel_size=kernel_size)
    assert conv.spatial.weight.shape[0] == conv.temporal.weight.shape[1] == conv.norm.num_features == mid_channels


@each_case("groups", [1, 2, 4])
@each_case("kernel_size", [(3, 3, 3), (1, 3, 3), (5, 7, 7)])
@each_case(("in_channels", "out_channels"), [(64, 64), (64, 128), (12, 20)])
def test_has_as_many_parameters_as_the_3d_convolution(in_channels, out_channels, kernel_size, groups):
    """Up to rounding: one channel more in each group would be too many."""
    arguments = {"kernel_size": kernel_size, "groups": groups}
    with torch.device("meta"):
        conv = Conv2Plus1d(in_channels, out_channels, **arguments)
        full = count(plain_conv3d(in_channels, out_channels, **arguments))
    pair = count(conv.spatial) + count(conv.temporal)
    of_a_channel = pair // conv.norm.num_features
    assert full - groups * of_a_channel < pair <= full


def test_there_is_always_a_channel_between():
    assert Conv2Plus1d(1, 1, kernel_size=(1, 1, 1)).norm.num_features == 1
    assert Conv2Plus1d(4, 4, kernel_size=(1, 1, 1), groups=4).norm.num_features == 4


# Arguments --------------------------------------------------------------------------------------------------------

CHANGES = [{"kernel_size": (1, 3, 3)}, {"stride": (2, 1, 1)}, {"groups": 2}, {"mid_channels": 5}, {"norm_eps": 0.1}]


@each_case("change", CHANGES)
def test_every_argument_changes_something(change):
    x = random_input(1, 4, 3, 4, 4)
    changed, default = (randomized(Conv2Plus1d(4, 4, **arguments))(x) for arguments in (change, {}))
    assert changed.shape != default.shape or not torch.allclose(changed, default)


def test_every_argument_is_among_the_changes():
    assert {"in_channels", "out_channels"}.union(*CHANGES) == set(inspect.signature(Conv2Plus1d).parameters)
