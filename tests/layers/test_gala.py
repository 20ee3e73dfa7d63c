"""GALA against loops, and its algebra."""

import inspect

import pytest
import torch
from torch import nn

from tests.each_case import each_case
from tests.reference import gala_loops
from tests.reference.comparison import TOLERANCE, assert_same_function, gradients, random_input, randomized
from videoctx.layers.context import ContextBlock
from videoctx.layers.gala import GALA
from videoctx.layers.global_context import SqueezeExcitation

CHANNELS = 6
VIDEO, IMAGE = (2, CHANNELS, 3, 3, 4), (2, CHANNELS, 3, 4)
SHAPES = (VIDEO, IMAGE, (2, CHANNELS, 1, 3, 3), (2, CHANNELS, 2, 1, 3), (2, CHANNELS, 1, 1))
each_rank = each_case("shape", [VIDEO, IMAGE])


def make(**arguments):
    return randomized(GALA(CHANNELS, **{"ratio": 0.5} | arguments))


def reference(x, tensors):
    def layer(name):
        return tensors[f"{name}.weight"], tensors[f"{name}.bias"]

    between = "context.where.4.weight" in tensors
    return gala_loops.gala(
        x,
        w_shrink=layer("context.what.1.reduce"),
        w_expand=layer("context.what.1.expand"),
        v_shrink=layer("context.where.0"),
        v_collapse=layer("context.where.4" if between else "context.where.2"),
        a=tensors["transform.additive"],
        m=tensors["transform.multiplicative"],
        between=layer("context.where.2") if between else None,
    )


# Against loops ----------------------------------------------------------------------------------------------------


@each_case("shape", SHAPES)
@each_case("local_kernel_size", [None, (1, 3, 5), (3, 3, 1)])
def test_is_its_equation(local_kernel_size, shape):
    assert_same_function(make(local_kernel_size=local_kernel_size), reference, random_input(*shape))


def test_training_is_no_different():
    block, x = make(), random_input(*VIDEO)
    assert torch.equal(block.train()(x), block.eval()(x))


# At the start -----------------------------------------------------------------------------------------------------


def test_starts_with_the_weights_of_the_authors():
    """a and m from a Gaussian of standard deviation 1, biases 0."""
    torch.manual_seed(0)
    block = GALA(2048)
    for name, parameter in block.named_parameters():
        if name.startswith("transform"):
            assert parameter.std().item() == pytest.approx(1, rel=0.05), name
            assert parameter.mean().item() == pytest.approx(0, abs=0.1), name
        elif name.endswith("bias"):
            assert not parameter.any(), name


def test_learns_from_the_start():
    block, x = GALA(CHANNELS, ratio=0.5, local_kernel_size=(1, 3, 3)).double(), random_input(*VIDEO)
    block(x).pow(3).sum().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in block.parameters())


# Algebra ----------------------------------------------------------------------------------------------------------


def test_is_its_three_parts():
    block, x = make(), random_input(*VIDEO)
    assert isinstance(block, ContextBlock)
    torch.testing.assert_close(block(x), block.fusion(x, block.transform(block.context(x))), **TOLERANCE)


@each_rank
def test_what_is_a_vector_and_where_is_a_map(shape):
    what, where = make().context(random_input(*shape))
    assert what.shape == (2, CHANNELS, *[1] * (len(shape) - 2))
    assert where.shape == (2, 1, *shape[2:])


@each_rank
def test_the_global_path_alone_is_squeeze_excitation(shape):
    """tanh(y / 2) = 2 sigmoid(y) - 1, so with a = ½, m = 0 and s = 0, GALA is 2 SE(x) - x."""
    block, se = make(), randomized(SqueezeExcitation(CHANNELS, ratio=0.5))
    se.transform.load_state_dict(block.context.what[1].state_dict())
    nn.init.constant_(block.transform.additive, 0.5)
    for tensor in (block.transform.multiplicative, *block.context.where[-1].parameters()):
        nn.init.zeros_(tensor)
    x = random_input(*shape)
    torch.testing.assert_close(block(x), 2 * se(x) - x, **TOLERANCE)


@each_rank
def test_the_local_path_alone_gates_all_channels_alike(shape):
    block = make()
    for tensor in block.context.what[1].expand.parameters():
        nn.init.zeros_(tensor)
    nn.init.constant_(block.transform.additive, 0.7)
    x = random_input(*shape)
    _, where = block.context(x)
    torch.testing.assert_close(block(x), x * torch.tanh(0.7 * where), **TOLERANCE)


def test_may_turn_the_sign_of_a_feature_but_not_make_it_larger():
    block, x = make(), random_input(*VIDEO)
    gate = block(x) / x
    assert -1 < gate.min() < 0 < gate.max() < 1


def test_a_permutation_of_the_positions_goes_through():
    """The paper's local path is made of 1 × 1 convolutions."""
    block, x = make(), random_input(*VIDEO)
    order = torch.randperm(x[0, 0].numel(), generator=torch.Generator().manual_seed(3))

    def permuted(x):
        return x.flatten(2)[:, :, order].reshape(x.shape)

    torch.testing.assert_close(block(permuted(x)), permuted(block(x)), **TOLERANCE)
    further = make(local_kernel_size=(1, 3, 3))
    assert not torch.allclose(further(permuted(x)), permuted(further(x)))


@each_case("local_kernel_size", [None, (3, 3, 3)])
def test_an_image_is_a_video_of_one_frame(local_kernel_size):
    block, image = make(local_kernel_size=local_kernel_size), random_input(*IMAGE)
    torch.testing.assert_close(block(image.unsqueeze(2)).squeeze(2), block(image), **TOLERANCE)


def test_samples_do_not_see_each_other():
    block, x = make(local_kernel_size=(1, 3, 3)), random_input(*VIDEO)
    torch.testing.assert_close(block(x)[1:], block(x[1:]), **TOLERANCE)


@each_case(("shape", "layout"), [(VIDEO, torch.channels_last_3d), (IMAGE, torch.channels_last)])
def test_channels_last_gives_the_same(shape, layout):
    block, x = make(local_kernel_size=(1, 3, 3)), random_input(*shape)
    last = x.detach().to(memory_format=layout).requires_grad_()
    assert not last.is_contiguous()
    torch.testing.assert_close(block(last), block(x), **TOLERANCE)
    torch.testing.assert_close(gradients(block(last), [last]), gradients(block(x), [x]), **TOLERANCE)


# Arguments --------------------------------------------------------------------------------------------------------

CHANGES = [{"ratio": 1 / 3}, {"local_kernel_size": (1, 5, 5)}]


@each_case("change", CHANGES)
def test_every_argument_changes_something(change):
    x = random_input(*VIDEO)
    assert not torch.allclose(make(**change)(x), make()(x))


def test_every_argument_is_among_the_changes():
    assert {"channels"}.union(*CHANGES) == set(inspect.signature(GALA).parameters)


@each_case("channels", [256, 2048])
def test_has_the_parameters_of_the_equations(channels):
    """Four layers with bias, a and m; and the 5 × 5 convolution of the authors' code, with bias."""
    width = channels // 4
    count = (2 * channels * width + width + channels) + (channels * width + width + width + 1) + 2 * channels
    assert sum(parameter.numel() for parameter in GALA(channels).parameters()) == count
    further = GALA(channels, local_kernel_size=(1, 5, 5))
    assert sum(parameter.numel() for parameter in further.parameters()) == count + 25 * width**2 + width


@each_case("ratio", [0.0, -0.5, 1.5, 1 / 64])
def test_a_ratio_out_of_range_is_named(ratio):
    with pytest.raises(ValueError, match=rf"^ratio (is )?{ratio:.3}.*expected"):
        GALA(32, ratio=ratio)


@each_case("kernel", [(2, 5, 5), (1, 4, 5), (1, 5, 0)])
def test_a_kernel_without_a_center_is_named(kernel):
    with pytest.raises(ValueError, match=rf"^local_kernel_size is \({', '.join(map(str, kernel))}\); expected odd"):
        GALA(32, local_kernel_size=kernel)


def test_only_channels_is_positional():
    with pytest.raises(TypeError):
        GALA(CHANNELS, 0.5)
