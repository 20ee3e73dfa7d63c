"""The convolution behind a temporal shift against loops, and as the first convolution of a C2D's blocks: TSM."""

import inspect

import pytest
import torch

from tests.each_case import each_case
from tests.reference.comparison import assert_same_function, random_input, randomized
from tests.reference.temporal_shift_loops import convolution
from videoctx.layers import TemporalShiftConv3d
from videoctx.models import Res2NetBottleneck3d, ResNet3D
from videoctx.models.r2plus1d import BasicBlock2Plus1d

USUAL = {"kernel_size": (1, 1, 1), "stride": (1, 1, 1), "groups": 1, "shift_div": 8}


@each_case("frames", [1, 2, 5])
@each_case(
    "change",
    [
        {},
        {"shift_div": 3},
        {"groups": 2},
        {"stride": (2, 2, 2)},
        {"kernel_size": (1, 3, 3)},
        {"kernel_size": (3, 1, 1)},
    ],
)
def test_it_is_its_loops(change, frames):
    arguments = USUAL | change
    layer = randomized(TemporalShiftConv3d(16, 6, **arguments))
    rest = {name: arguments[name] for name in ("shift_div", "stride", "groups")}
    assert_same_function(
        layer, lambda x, tensors: convolution(x, tensors["weight"], **rest), random_input(2, 16, frames, 4, 5)
    )


def test_every_argument_changes_something():
    changes = {"kernel_size": (1, 3, 3), "stride": (2, 1, 1), "groups": 2, "shift_div": 4}
    assert {"in_channels", "out_channels", *changes} == set(inspect.signature(TemporalShiftConv3d).parameters)
    x, usual = random_input(1, 16, 4, 3, 3), randomized(TemporalShiftConv3d(16, 6))
    for name, value in changes.items():
        changed = randomized(TemporalShiftConv3d(16, 6, **{name: value}))(x)
        assert changed.shape != usual(x).shape or not torch.allclose(changed, usual(x)), name


@each_case("shift_div", [1, 0, -8, 17])
def test_a_shift_of_all_or_no_channels_is_an_error(shift_div):
    with pytest.raises(ValueError, match=rf"^shift_div is {shift_div}; expected 2 to [^\n]*channels, 16$"):
        TemporalShiftConv3d(16, 6, shift_div=shift_div)


# In a network -----------------------------------------------------------------------------------------------------


def small_net(**arguments):
    torch.manual_seed(0)
    return ResNet3D(5, **{"depth": 50, "width": 8, "temporal_kernels": "c2d", "pool2_t": (1, 1)} | arguments).eval()


def test_it_is_the_first_convolution_of_every_block_and_nowhere_else():
    net = small_net(first_conv=TemporalShiftConv3d)
    found = [name for name, layer in net.named_modules() if isinstance(layer, TemporalShiftConv3d)]
    sizes = {"res2": 3, "res3": 4, "res4": 6, "res5": 3}
    assert found == [f"{stage}.{index}.conv1" for stage, size in sizes.items() for index in range(size)]


def test_it_is_in_every_other_block_of_each_stage():
    net = small_net(first_conv=TemporalShiftConv3d, first_conv_every=2)
    found = [name for name, layer in net.named_modules() if isinstance(layer, TemporalShiftConv3d)]
    assert [name[:6] for name in found] == [
        *("res2.0", "res2.2", "res3.0", "res3.2", "res4.0", "res4.2", "res4.4", "res5.0", "res5.2")
    ]


@each_case("block", [None, Res2NetBottleneck3d])
def test_weights_of_a_c2d_fit_and_a_still_video_differs_at_its_ends_alone(block):
    plain, shifted = small_net(block=block), small_net(block=block, first_conv=TemporalShiftConv3d)
    shifted.load_state_dict(plain.state_dict())
    clip = torch.randn(1, 3, 1, 32, 32, generator=torch.Generator().manual_seed(1)).expand(-1, -1, 5, -1, -1)
    x = torch.relu(plain.stem(clip))
    for block_2d, block_tsm in zip(plain.res2[:1], shifted.res2[:1], strict=True):
        expected, found = block_2d.branch(x), block_tsm.branch(x)
        torch.testing.assert_close(found[:, :, 1:4], expected[:, :, 1:4])


def test_frames_know_of_each_other():
    clip = torch.randn(1, 3, 4, 32, 32, generator=torch.Generator().manual_seed(1))
    reversed_clip = clip.flip(2)
    with torch.no_grad():
        for arguments, knows in (({}, False), ({"first_conv": TemporalShiftConv3d}, True)):
            net = small_net(zero_init_residual=False, **arguments)
            assert torch.allclose(net(clip), net(reversed_clip), atol=1e-5) != knows


def test_basic_blocks_shift_before_their_first_convolution():
    net = small_net(depth=18, first_conv=TemporalShiftConv3d)
    assert isinstance(net.res3[1].conv1, TemporalShiftConv3d)
    assert net.res3[1].conv1.kernel_size == (1, 3, 3)
    assert not isinstance(net.res3[1].conv2, TemporalShiftConv3d)


def test_what_has_no_effect_is_an_error():
    with pytest.raises(ValueError, match="first_conv_every has no effect without first_conv"):
        small_net(first_conv_every=2)
    with pytest.raises(ValueError, match="expected no first_conv"):
        small_net(depth=18, block=BasicBlock2Plus1d, first_conv=TemporalShiftConv3d)
