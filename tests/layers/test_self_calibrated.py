"""The self-calibrated convolution against its sums written out, and against SCNet's counts."""

import inspect
import re

import pytest
import torch

from tests.each_case import each_case
from tests.reference.comparison import TOLERANCE, assert_same_function, random_input, randomized
from tests.reference.self_calibrated_loops import self_calibrated
from videoctx.layers import SelfCalibratedConv3d
from videoctx.models import ResNet3D

CHANNELS = 8
EVEN, ODD = (2, CHANNELS, 2, 4, 6), (2, CHANNELS, 3, 5, 7)
DEFAULT = {"kernel_size": (1, 3, 3), "stride": (1, 1, 1), "groups": 1, "pooling": (1, 2, 2)}


def make(**arguments):
    return SelfCalibratedConv3d(CHANNELS, CHANNELS, **{**DEFAULT, **arguments})


# Against loops ----------------------------------------------------------------------------------------------------


def reference_of(*, stride=(1, 1, 1), groups=1, pooling=(1, 2, 2), **_):
    def reference(x, tensors):
        def norm(name):
            return tuple(tensors[f"{name}.{part}"] for part in ("weight", "bias", "running_mean", "running_var"))

        return self_calibrated(
            x,
            k1=tensors["k1.weight"],
            k2=tensors["k2.0.weight"],
            k3=tensors["k3.0.weight"],
            k4=tensors["k4.weight"],
            norm2=norm("k2.1"),
            norm3=norm("k3.1"),
            stride=stride,
            groups=groups,
            pooling=pooling,
        )

    return reference


@each_case("shape", [EVEN, ODD])
@each_case("groups", [1, 2])
@each_case("stride", [(1, 1, 1), (1, 2, 2), (2, 2, 2)])
@each_case("kernel_size", [(1, 3, 3), (3, 3, 3)])
def test_is_its_equation(kernel_size, stride, groups, shape):
    arguments = {"kernel_size": kernel_size, "stride": stride, "groups": groups}
    assert_same_function(randomized(make(**arguments)), reference_of(**arguments), random_input(*shape))


@each_case("pooling", [(1, 1, 1), (2, 2, 2), (1, 3, 2), (3, 5, 7)])
def test_pools_as_asked(pooling):
    assert_same_function(randomized(make(pooling=pooling)), reference_of(pooling=pooling), random_input(*ODD))


# Algebra ----------------------------------------------------------------------------------------------------------


@each_case("stride", [(1, 1, 1), (1, 2, 2), (2, 2, 2)])
def test_sizes_are_those_of_the_convolution_it_stands_for(stride):
    plain = torch.nn.Conv3d(CHANNELS, CHANNELS, (3, 3, 3), stride, 1).double()
    x = random_input(*ODD)
    assert randomized(make(kernel_size=(3, 3, 3), stride=stride))(x).shape == plain(x).shape


def test_halves_do_not_see_each_other():
    conv, x = randomized(make()), random_input(*EVEN)
    for changed, kept in ((slice(0, 4), slice(4, 8)), (slice(4, 8), slice(0, 4))):
        other = x.detach().clone()
        other[:, changed] += 1
        torch.testing.assert_close(conv(other)[:, kept], conv(x)[:, kept], **TOLERANCE)
        assert not torch.allclose(conv(other)[:, changed], conv(x)[:, changed])


@each_case(("depth", "millions"), [(50, 25.56), (101, 44.57)])
def test_a_2d_scnet_has_the_published_parameters(depth, millions):
    with torch.device("meta"):
        net = ResNet3D(1000, depth=depth, temporal_kernels="c2d", conv=SelfCalibratedConv3d)
    assert round(sum(parameter.numel() for parameter in net.parameters()) / 1e6, 2) == millions


# Arguments --------------------------------------------------------------------------------------------------------

CHANGES = [{"kernel_size": (3, 3, 3)}, {"stride": (1, 2, 2)}, {"groups": 2}, {"pooling": (1, 1, 2)}]


@each_case("change", CHANGES)
def test_every_argument_changes_something(change):
    x = random_input(*EVEN)
    changed, default = randomized(make(**change))(x), randomized(make())(x)
    assert changed.shape != default.shape or not torch.allclose(changed, default)


def test_every_argument_is_among_the_changes():
    assert {"in_channels", "out_channels"}.union(*CHANGES) == set(inspect.signature(SelfCalibratedConv3d).parameters)


def test_defaults_are_the_papers():
    conv = SelfCalibratedConv3d(CHANNELS, CHANNELS)
    assert conv.pooling == (1, 4, 4)
    assert conv.k1.kernel_size == (1, 3, 3)


# Errors -----------------------------------------------------------------------------------------------------------


@each_case(("in_channels", "out_channels", "groups"), [(7, 7, 1), (8, 16, 1), (8, 7, 1), (6, 6, 2), (8, 8, 3)])
def test_channels_that_cannot_be_halved_are_named(in_channels, out_channels, groups):
    with pytest.raises(
        ValueError,
        match=rf"^[^\n]*as many channels out as in[^\n]*{in_channels} in, {out_channels} out, {groups} groups$",
    ):
        SelfCalibratedConv3d(in_channels, out_channels, groups=groups)


@each_case("pooling", [(0, 4, 4), (1, 0, 4), (1, 4, -1)])
def test_pooling_below_1_is_named(pooling):
    with pytest.raises(ValueError, match=rf"^pooling is {re.escape(str(pooling))}; expected 1 or more[^\n]*$"):
        make(pooling=pooling)


@each_case("shape", [(1, 4, 4), (2, 3, 4), (2, 4, 3)])
def test_a_clip_smaller_than_pooling_is_named(shape):
    conv = randomized(make(pooling=(2, 4, 4)))
    with pytest.raises(ValueError, match=rf"^[^\n]*pools \(2, 4, 4\) of {re.escape(str(shape))}[^\n]*expected[^\n]*$"):
        conv(random_input(1, CHANNELS, *shape))
