"""Double attention against loops over positions and maps, and its algebra."""

import inspect

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from tests.each_case import each_case
from tests.reference.comparison import TOLERANCE, assert_same_function, gradients, random_input, randomized
from tests.reference.double_attention_loops import double_attention
from videoctx.layers.double_attention import DoubleAttention

CHANNELS = 6
VIDEO, IMAGE = (2, CHANNELS, 2, 3, 4), (2, CHANNELS, 3, 4)
ATTENTION = {"context.theta.weight", "context.rho.weight", "context.rho.bias"}


def make(**arguments):
    return DoubleAttention(CHANNELS, **{"inner_ratio": 0.5, **arguments})


# Against loops ----------------------------------------------------------------------------------------------------


def reference_of(*, batch_norm=True):
    def reference(x, tensors):
        def layer(name):
            return tensors[f"{name}.weight"], tensors[f"{name}.bias"]

        statistics = [tensors[f"transform.1.running_{name}"] for name in ("mean", "var")] if batch_norm else []
        return double_attention(
            x,
            phi=layer("context.phi"),
            theta=tensors["context.theta.weight"],
            rho=layer("context.rho"),
            expand=layer("transform.0" if batch_norm else "transform"),
            batch_norm=(*layer("transform.1"), *statistics) if batch_norm else None,
        )

    return reference


@each_case("inner_ratio", [0.5, 1 / 3, 1])
@each_case("batch_norm", [True, False])
@each_case("shape", [VIDEO, IMAGE, (1, CHANNELS, 3, 1, 5), (2, CHANNELS, 1, 3)])
def test_is_its_equation(shape, batch_norm, inner_ratio):
    block = randomized(make(inner_ratio=inner_ratio, batch_norm=batch_norm))
    assert_same_function(block, reference_of(batch_norm=batch_norm), random_input(*shape))


@each_case("shape", [(2, CHANNELS, 1, 1, 1), (2, CHANNELS, 1, 1)])
def test_one_position_has_nothing_to_choose_from(shape):
    """Every descriptor is that position's own feature."""
    assert_same_function(randomized(make()), reference_of(), random_input(*shape), without_gradient=ATTENTION)


# At the start -----------------------------------------------------------------------------------------------------


@each_case("shape", [VIDEO, IMAGE])
@each_case("batch_norm", [True, False])
def test_starts_as_the_identity(batch_norm, shape):
    block, x = make(batch_norm=batch_norm).double(), random_input(*shape)
    for training in (True, False):
        assert torch.equal(block.train(training)(x), x)


@each_case("batch_norm", [True, False])
def test_learns_from_the_start(batch_norm):
    """Zero comes last only, so that it has a gradient."""
    block, x = make(batch_norm=batch_norm).double(), random_input(*VIDEO)
    block(x).pow(3).sum().backward()
    last = block.transform[1] if batch_norm else block.transform
    assert last.weight.grad.abs().max() > 1e-6
    zeros = {name for name, parameter in block.named_parameters() if not parameter.any()}
    biases = {name for name, _ in block.named_parameters() if name.endswith("bias")}
    assert zeros == biases | {"transform.1.weight" if batch_norm else "transform.weight"}


# Algebra ----------------------------------------------------------------------------------------------------------


def test_a_constant_theta_gathers_averages():
    """Every descriptor is then the mean of φ, and any mixture of them as well."""
    block, x = randomized(make()), random_input(*VIDEO)
    nn.init.zeros_(block.context.theta.weight)
    context = block.context(x)
    torch.testing.assert_close(context, block.context.phi(x).mean((2, 3, 4), keepdim=True).expand_as(context))


def test_a_constant_rho_hands_every_position_the_same():
    block, x = randomized(make()), random_input(*VIDEO)
    assert block.context(x).std((2, 3, 4)).max() > 1e-3
    nn.init.zeros_(block.context.rho.weight)
    assert block.context(x).std((2, 3, 4)).max() < 1e-12


def test_one_map_is_attention_pooling():
    """As in the simplified Non-local block, after φ."""
    block, x = randomized(make(inner_ratio=1 / CHANNELS)), random_input(*VIDEO)
    weights = torch.softmax(block.context.theta(x).flatten(2), dim=2)
    pooled = (weights * block.context.phi(x).flatten(2)).sum(2)  # (B, 1)
    torch.testing.assert_close(block.context(x), pooled[..., None, None, None].expand(2, 1, 2, 3, 4), **TOLERANCE)


def test_strong_maps_pick_one_position_each():
    """Nothing is mixed then: every position gets φ of the position that its strongest map points to."""
    block, x = randomized(make()), random_input(1, *VIDEO[1:])
    with torch.no_grad():
        block.context.theta.weight.mul_(1e6)
        block.context.rho.weight.mul_(1e6)
    source = block.context.theta(x).flatten(2).argmax(2)[0]  # (n,)
    map_of = block.context.rho(x).flatten(2).argmax(1)[0]  # (N,)
    expected = block.context.phi(x).flatten(2)[:, :, source[map_of]]
    torch.testing.assert_close(block.context(x).flatten(2), expected, **TOLERANCE)


def test_from_the_right_it_is_attention_between_positions():
    """The same numbers by an N × N matrix whose columns are distributions: a Non-local block of low rank."""
    context, x = randomized(make()).context, random_input(*VIDEO)
    gather = torch.softmax(context.theta(x).flatten(2), dim=2)
    distribute = torch.softmax(context.rho(x).flatten(2), dim=1)
    pairs = gather.transpose(1, 2) @ distribute  # (B, N, N)
    torch.testing.assert_close(pairs.sum(1), torch.ones(2, 24, dtype=torch.float64), **TOLERANCE)
    torch.testing.assert_close(context(x).flatten(2), context.phi(x).flatten(2) @ pairs, **TOLERANCE)


def test_work_is_linear_in_the_positions():
    def multiply_adds(frames):
        with torch.device("meta"):
            block, x = make(), torch.empty(1, CHANNELS, frames, 16, 16)
        with FlopCounterMode(display=False) as counter:
            block(x)
        return counter.get_total_flops() // 2

    # φ, θ, ρ and W have 6 · 3 weights each; 3 descriptors of 3 channels are gathered and distributed.
    assert [multiply_adds(frames) for frames in (1, 4)] == [(4 * 18 + 2 * 9) * n for n in (256, 1024)]


def test_a_permutation_of_the_positions_goes_through():
    block, x = randomized(make()), random_input(*VIDEO)
    order = torch.randperm(24, generator=torch.Generator().manual_seed(3))

    def permuted(x):
        return x.flatten(2)[:, :, order].reshape(x.shape)

    assert not torch.allclose(permuted(x), x)
    torch.testing.assert_close(block(permuted(x)), permuted(block(x)), **TOLERANCE)


def test_samples_do_not_see_each_other():
    block, x = randomized(make()), random_input(*VIDEO)
    torch.testing.assert_close(block(x)[1:], block(x[1:]), **TOLERANCE)


def test_an_image_is_a_video_of_one_frame():
    block, image = randomized(make()), random_input(*IMAGE)
    torch.testing.assert_close(block(image.unsqueeze(2)).squeeze(2), block(image), **TOLERANCE)


@each_case(("shape", "layout"), [(VIDEO, torch.channels_last_3d), (IMAGE, torch.channels_last)])
def test_channels_last_gives_the_same(shape, layout):
    block, x = randomized(make()), random_input(*shape)
    last = x.detach().to(memory_format=layout).requires_grad_()
    assert not last.is_contiguous()
    torch.testing.assert_close(block(last), block(x), **TOLERANCE)
    torch.testing.assert_close(gradients(block(last), [last]), gradients(block(x), [x]), **TOLERANCE)


# Arguments --------------------------------------------------------------------------------------------------------

CHANGES = [{"inner_ratio": 1 / 3}, {"batch_norm": False}]


@each_case("change", CHANGES)
def test_every_argument_changes_something(change):
    x = random_input(*VIDEO)
    assert not torch.allclose(randomized(make(**change))(x), randomized(make())(x))


def test_every_argument_is_among_the_changes():
    assert {"channels"}.union(*CHANGES) == set(inspect.signature(DoubleAttention).parameters)


def test_the_default_ratio_is_the_papers():
    context = DoubleAttention(64).context
    assert {layer.weight.shape for layer in (context.phi, context.theta, context.rho)} == {(16, 64)}


@each_case(("channels", "count"), [(512, 263_936), (1024, 1_052_160)])
def test_has_c_squared_parameters_and_a_few(channels, count):
    """φ, θ, ρ and W are C × C/4; biases of φ, ρ and W; γ and β."""
    assert sum(parameter.numel() for parameter in DoubleAttention(channels).parameters()) == count
    assert count == channels**2 + 2 * channels // 4 + channels + 2 * channels


@each_case("inner_ratio", [0.0, -1.0, 2.0, 1 / 32])
def test_an_inner_ratio_out_of_range_is_named(inner_ratio):
    with pytest.raises(ValueError, match=rf"^inner_ratio (is )?{inner_ratio:.3}.*expected"):
        DoubleAttention(16, inner_ratio=inner_ratio)


def test_only_channels_is_positional():
    with pytest.raises(TypeError):
        DoubleAttention(CHANNELS, 0.5)
