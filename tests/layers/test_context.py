"""The three steps and their parts: what each gives by itself, and that a block is nothing but the three."""

import inspect

import pytest
import torch
from torch import nn

from tests.each_case import each_case
from tests.reference.comparison import TOLERANCE, random_input, randomized
from videoctx.layers import ContextBlock, GlobalContext, NonLocal, SimplifiedNonLocal, SqueezeExcitation
from videoctx.layers.context import (
    Add,
    AttentionPooling,
    AveragePooling,
    BottleneckTransform,
    ParallelTransform,
    Scale,
    ScaleAndAdd,
    scaled_width,
)

VIDEO, IMAGE = (2, 6, 2, 3, 4), (2, 6, 3, 4)
RANKS = each_case("shape", [VIDEO, IMAGE])


class Recorded(nn.Module):
    """Notes that it ran, and computes `function`."""

    def __init__(self, name, log, function):
        super().__init__()
        self.name, self.log, self.function = name, log, function

    def forward(self, *inputs):
        self.log.append(self.name)
        return self.function(*inputs)


def test_a_block_is_fusion_of_x_and_the_transformed_context():
    log = []
    block = ContextBlock(
        context=Recorded("context", log, lambda x: x.sum((2, 3, 4), keepdim=True)),
        transform=Recorded("transform", log, lambda context: context + 2),
        fusion=Recorded("fusion", log, lambda x, y: x - 3 * y),
    )
    x = random_input(*VIDEO)
    torch.testing.assert_close(block(x), x - 3 * (x.sum((2, 3, 4), keepdim=True) + 2), **TOLERANCE)
    assert log == ["context", "transform", "fusion"]


@each_case(
    "make",
    [
        lambda: SqueezeExcitation(6, ratio=0.5),
        lambda: SimplifiedNonLocal(6),
        lambda: GlobalContext(6, ratio=0.5),
        lambda: GlobalContext(6, ratio=0.5, fusion="scale_and_add"),
        lambda: NonLocal(6),
    ],
)
def test_every_block_is_its_three_parts(make):
    block, x = randomized(make()), random_input(*VIDEO)
    assert isinstance(block, ContextBlock)
    assert [name for name, _ in block.named_children()] == ["context", "transform", "fusion"]
    torch.testing.assert_close(block(x), block.fusion(x, block.transform(block.context(x))), **TOLERANCE)


def test_another_context_can_be_put_in():
    """Parts are injected, so a max-pooled Squeeze-Excitation needs no new class."""

    class MaxPooling(nn.Module):
        def forward(self, x):
            return x.amax(dim=tuple(range(2, x.ndim)), keepdim=True)

    transform = BottleneckTransform(6, ratio=0.5, layer_norm=False, zero_init=False)
    block = randomized(ContextBlock(context=MaxPooling(), transform=transform, fusion=Scale()))
    x = random_input(*VIDEO)
    expected = x * block.transform(x.amax((2, 3, 4), keepdim=True)).sigmoid()
    torch.testing.assert_close(block(x), expected, **TOLERANCE)


# Context modeling ------------------------------------------------------------------------------------------------


@RANKS
@each_case("make", [AveragePooling, lambda: AttentionPooling(6)])
def test_pooling_gives_one_vector_for_each_sample(make, shape):
    context = randomized(make())(random_input(*shape))
    assert context.shape == (*shape[:2], *[1] * (len(shape) - 2))


@RANKS
def test_average_pooling_is_the_mean(shape):
    x = random_input(*shape)
    torch.testing.assert_close(AveragePooling()(x).flatten(1), x.flatten(2).mean(-1), **TOLERANCE)


@RANKS
def test_the_attention_is_a_distribution_over_all_positions(shape):
    """The softmax is a module: a hook sees the map, (B, 1, N)."""
    pooling, x = randomized(AttentionPooling(6)), random_input(*shape)
    maps = []
    pooling.softmax.register_forward_hook(lambda module, inputs, output: maps.append(output))  # noqa: ARG005
    context = pooling(x)
    (attention,) = maps
    assert attention.shape == (2, 1, x[0, 0].numel())
    torch.testing.assert_close(attention.sum(-1), torch.ones(2, 1, dtype=torch.float64))
    torch.testing.assert_close((attention * x.flatten(2)).sum(-1), context.flatten(1), **TOLERANCE)


def test_a_constant_added_to_the_key_cancels():
    pooling, x = randomized(AttentionPooling(6)), random_input(*VIDEO)
    direction = pooling.key.weight.detach().reshape(1, 6, 1, 1, 1)
    shifted = x + 5 * direction  # every logit grows by the same 5·|w|²
    torch.testing.assert_close(pooling(shifted), pooling(x) + 5 * direction, **TOLERANCE)


# Transform --------------------------------------------------------------------------------------------------------


@each_case("layer_norm", [True, False])
def test_the_bottleneck_has_its_layers_in_order(layer_norm):
    transform = BottleneckTransform(8, ratio=0.25, layer_norm=layer_norm, zero_init=False)
    names = ["reduce", "norm", "activation", "expand"]
    assert [name for name, _ in transform.named_children()] == [name for name in names if layer_norm or name != "norm"]
    assert transform.reduce.weight.shape == (2, 8)
    assert transform.expand.weight.shape == (8, 2)


@each_case("zero_init", [True, False])
def test_zero_init_is_an_output_of_zero(zero_init):
    transform = BottleneckTransform(8, ratio=0.5, layer_norm=True, zero_init=zero_init).double()
    assert transform(random_input(3, 8, 1, 1, 1)).any() == (not zero_init)


BOTTLENECK = {"ratio": 0.5, "layer_norm": True, "zero_init": False}


@each_case("change", [{"ratio": 0.25}, {"layer_norm": False}, {"zero_init": True}])
def test_every_argument_of_the_bottleneck_changes_something(change):
    def output(arguments):
        torch.manual_seed(0)
        return BottleneckTransform(8, **arguments).double()(random_input(3, 8, 1, 1, 1))

    assert not torch.allclose(output(BOTTLENECK | change), output(BOTTLENECK))
    assert {"channels", *BOTTLENECK} == set(inspect.signature(BottleneckTransform).parameters)


def test_parallel_transforms_are_side_by_side():
    first, second = nn.Conv3d(4, 2, 1).double(), nn.Conv3d(4, 3, 1).double()
    context = random_input(2, 4, 1, 1, 1)
    out = ParallelTransform(first, second)(context)
    assert out.shape == (2, 5, 1, 1, 1)
    assert torch.equal(out[:, :2], first(context))
    assert torch.equal(out[:, 2:], second(context))


# Fusion -----------------------------------------------------------------------------------------------------------


@RANKS
@each_case("each_position", [False, True])
@each_case(
    ("fusion", "expected"),
    [
        (Add(), lambda x, y: x + y),
        (Scale(), lambda x, y: x / (1 + torch.exp(-y))),
        (ScaleAndAdd(), lambda x, y: x / (1 + torch.exp(-y[:6])) + y[6:]),
    ],
)
def test_fusion_broadcasts_over_the_positions(fusion, expected, each_position, shape):
    x = random_input(*shape)
    channels = 12 if isinstance(fusion, ScaleAndAdd) else 6
    y = random_input(2, channels, *(shape[2:] if each_position else [1] * (len(shape) - 2)), seed=5)
    z = fusion(x, y)
    assert z.shape == x.shape
    for place in torch.cartesian_prod(*(torch.arange(size) for size in shape[2:])).tolist():
        there = (slice(None), *place)
        of_y = there if each_position else (slice(None), *[0] * len(place))
        for sample in range(2):
            torch.testing.assert_close(z[sample][there], expected(x[sample][there], y[sample][of_y]), **TOLERANCE)


@each_case(
    ("channels", "ratio", "width"),
    [(64, 1 / 16, 4), (512, 0.25, 128), (6, 1 / 3, 2), (7, 0.5, 3), (1, 1, 1), (9, 1, 9)],
)
def test_the_width_is_rounded_down(channels, ratio, width):
    assert scaled_width(channels, ratio, "ratio") == width


@each_case(
    ("channels", "ratio", "message"),
    [
        (8, 0, "reduction is 0; expected more than 0 and at most 1"),
        (8, -1, "reduction is -1; expected more than 0 and at most 1"),
        (8, 1.01, "reduction is 1.01; expected more than 0 and at most 1"),
        (8, 16, "reduction is 16; expected more than 0 and at most 1"),
        (8, 1 / 16, "reduction 0.0625 of 8 channels leaves none; expected at least 0.125"),
    ],
)
def test_a_width_that_cannot_be_is_named(channels, ratio, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        scaled_width(channels, ratio, "reduction")
