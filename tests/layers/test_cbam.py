"""CBAM against loops, and its algebra."""

import inspect

import pytest
import torch
from torch import nn

from tests.each_case import each_case
from tests.reference import cbam_loops
from tests.reference.comparison import TOLERANCE, assert_same_function, gradients, random_input, randomized
from videoctx.layers.cbam import CBAM, AverageAndMaxPooling, ChannelPooling
from videoctx.layers.context import ContextBlock
from videoctx.layers.global_context import SqueezeExcitation

CHANNELS = 6
VIDEO, IMAGE = (2, CHANNELS, 3, 4, 5), (2, CHANNELS, 4, 5)
SHAPES = (VIDEO, IMAGE, (1, CHANNELS, 1, 3, 3), (2, CHANNELS, 2, 1, 3), (2, CHANNELS, 3, 1))
each_rank = each_case("shape", [VIDEO, IMAGE])


def make(**arguments):
    return randomized(CBAM(CHANNELS, **{"ratio": 0.5, "kernel_size": (3, 3, 5)} | arguments))


def reference(x, tensors):
    def layer(name):
        return tensors[f"{name}.weight"], tensors[f"{name}.bias"]

    norm = "spatial.transform.1"
    return cbam_loops.cbam(
        x,
        reduce=layer("channel.transform.reduce"),
        expand=layer("channel.transform.expand"),
        kernel=tensors["spatial.transform.0.weight"][0],
        batch_norm=(*layer(norm), tensors[f"{norm}.running_mean"], tensors[f"{norm}.running_var"]),
    )


# Against loops ----------------------------------------------------------------------------------------------------


@each_case("shape", SHAPES)
@each_case("kernel_size", [(1, 3, 3), (3, 3, 5), (3, 7, 7)])
def test_is_its_equation(kernel_size, shape):
    assert_same_function(make(kernel_size=kernel_size), reference, random_input(*shape))


@each_rank
def test_batch_norm_in_training_takes_the_statistics_of_the_batch(shape):
    block, x = make().train(), random_input(*shape)
    y = block.spatial.transform[0](block.spatial.context(block.channel(x)))
    norm = "spatial.transform.1"
    statistics = {f"{norm}.running_mean": y.mean().reshape(1), f"{norm}.running_var": y.var(correction=0).reshape(1)}
    torch.testing.assert_close(block(x), reference(x, {**dict(block.named_parameters()), **statistics}), **TOLERANCE)


# At the start -----------------------------------------------------------------------------------------------------


@each_rank
def test_every_position_first_counts_alike(shape):
    """γ = 0, as in the authors' code: the spatial gate is one half everywhere, in training and evaluation."""
    block, x = CBAM(CHANNELS, ratio=0.5).double(), random_input(*shape)
    for training in (True, False):
        torch.testing.assert_close(block.train(training)(x), block.channel(x) / 2, **TOLERANCE)


def test_learns_from_the_start():
    block, x = CBAM(CHANNELS, ratio=0.5).double(), random_input(*VIDEO)
    block(x).pow(3).sum().backward()
    assert block.spatial.transform[1].weight.grad.abs().max() > 1e-6


# Algebra ----------------------------------------------------------------------------------------------------------


def test_is_two_context_blocks_in_a_row():
    block, x = make(), random_input(*VIDEO)
    assert [type(part) for part in block] == [ContextBlock, ContextBlock]
    torch.testing.assert_close(block(x), block.spatial(block.channel(x)), **TOLERANCE)


@each_rank
def test_the_parts_pool_what_they_say(shape):
    x = random_input(*shape)
    positions = tuple(range(2, len(shape)))
    vectors = AverageAndMaxPooling()(x)
    assert vectors.shape == (2, CHANNELS, 2, *[1] * (len(shape) - 3))
    torch.testing.assert_close(vectors.flatten(2), torch.stack([x.mean(positions), x.amax(positions)], dim=2))
    maps = ChannelPooling()(x)
    assert maps.shape == (2, 2, *shape[2:])
    torch.testing.assert_close(maps, torch.stack([x.amax(1), x.mean(1)], dim=1))


def test_the_channel_part_on_a_constant_is_squeeze_excitation_with_a_doubled_last_layer():
    """Mean and maximum are then the same vector."""
    block, se = make(), randomized(SqueezeExcitation(CHANNELS, ratio=0.5))
    se.transform.load_state_dict(block.channel.transform.state_dict())
    for parameter in se.transform.expand.parameters():
        parameter.data.mul_(2)
    x = random_input(2, CHANNELS, 1, 1, 1).expand(VIDEO)
    torch.testing.assert_close(block.channel(x), se(x), **TOLERANCE)


def test_the_gates_are_between_zero_and_one():
    block, x = make(), random_input(*VIDEO)
    gate = block(x) / x
    assert 0 < gate.min() < gate.max() < 1


def test_an_image_is_a_video_of_one_frame():
    block, image = make(), random_input(*IMAGE)
    torch.testing.assert_close(block(image.unsqueeze(2)).squeeze(2), block(image), **TOLERANCE)


def test_without_a_kernel_over_time_the_map_of_a_frame_is_its_own():
    spatial, video = make(kernel_size=(1, 3, 3)).spatial, random_input(*VIDEO)
    frames = torch.stack([spatial(video[:, :, t]) for t in range(VIDEO[2])], dim=2)
    torch.testing.assert_close(spatial(video), frames, **TOLERANCE)
    over_time = make(kernel_size=(3, 3, 3)).spatial
    frames = torch.stack([over_time(video[:, :, t]) for t in range(VIDEO[2])], dim=2)
    assert not torch.allclose(over_time(video), frames)


def test_samples_do_not_see_each_other():
    block, x = make(), random_input(*VIDEO)
    torch.testing.assert_close(block(x)[1:], block(x[1:]), **TOLERANCE)


@each_case(("shape", "layout"), [(VIDEO, torch.channels_last_3d), (IMAGE, torch.channels_last)])
def test_channels_last_gives_the_same(shape, layout):
    block, x = make(), random_input(*shape)
    last = x.detach().to(memory_format=layout).requires_grad_()
    assert not last.is_contiguous()
    torch.testing.assert_close(block(last), block(x), **TOLERANCE)
    torch.testing.assert_close(gradients(block(last), [last]), gradients(block(x), [x]), **TOLERANCE)


# Arguments --------------------------------------------------------------------------------------------------------

CHANGES = [{"ratio": 1 / 3}, {"kernel_size": (1, 3, 5)}, {"kernel_size": (3, 5, 5)}, {"kernel_size": (3, 3, 3)}]


@each_case("change", CHANGES)
def test_every_argument_changes_something(change):
    x = random_input(*VIDEO)
    assert not torch.allclose(make(**change)(x), make()(x))


def test_every_argument_is_among_the_changes():
    assert {"channels"}.union(*CHANGES) == set(inspect.signature(CBAM).parameters)


@each_case("channels", [64, 256, 2048])
def test_has_the_parameters_of_the_paper(channels):
    """Two layers with bias, a 7 × 7 convolution of two maps without, γ and β; in 3 frames."""
    width = channels // 16
    count = 2 * channels * width + channels + width + 2
    for kernel_size, area in (((1, 7, 7), 98), ((3, 7, 7), 294)):
        block = CBAM(channels, kernel_size=kernel_size)
        assert sum(parameter.numel() for parameter in block.parameters()) == count + area
    assert CBAM(channels).spatial.transform[0].weight.shape == (1, 2, 3, 7, 7)


def test_the_running_statistics_are_those_of_the_authors():
    norm = CBAM(64).spatial.transform[1]
    assert isinstance(norm, nn.modules.batchnorm._BatchNorm)
    assert (norm.momentum, norm.eps) == (0.01, 1e-5)


@each_case("ratio", [0.0, -0.5, 1.5, 1 / 64])
def test_a_ratio_out_of_range_is_named(ratio):
    with pytest.raises(ValueError, match=rf"^ratio (is )?{ratio:.3}.*expected"):
        CBAM(32, ratio=ratio)


@each_case("kernel_size", [(2, 7, 7), (1, 4, 7), (1, 7, 0), (1, 7, -1)])
def test_a_kernel_without_a_center_is_named(kernel_size):
    with pytest.raises(ValueError, match=rf"^kernel_size is \({', '.join(map(str, kernel_size))}\); expected odd"):
        CBAM(32, kernel_size=kernel_size)


def test_only_channels_is_positional():
    with pytest.raises(TypeError):
        CBAM(CHANNELS, 0.5)
