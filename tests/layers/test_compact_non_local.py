"""Compact generalized Non-local against loops over all pairs of numbers, and its algebra."""

import inspect
import math

import pytest
import torch

from tests.each_case import each_case
from tests.reference.compact_non_local_loops import compact_non_local
from tests.reference.comparison import TOLERANCE, assert_same_function, gradients, random_input, randomized
from videoctx.layers.compact_non_local import GAMMA, CompactNonLocal, DotProductKernel, GaussianRbfKernel
from videoctx.layers.non_local import INIT_STD

CHANNELS = 8
VIDEO, IMAGE = (2, CHANNELS, 2, 2, 3), (2, CHANNELS, 3, 2)
KERNELS, NORMS = ("dot", "gaussian_rbf"), ("group", "batch")

each_kernel = each_case("kernel", KERNELS)
each_norm = each_case("norm", NORMS)


def make(**arguments):
    return CompactNonLocal(CHANNELS, **{"num_groups": 2, **arguments})


def input_for(kernel, *shape):
    """Large enough for the higher powers of the Taylor expansion, with γ = 1e-4, to be seen."""
    scale = 20 if kernel == "gaussian_rbf" else 0.5
    return (random_input(*shape).detach() * scale).requires_grad_()


# Against loops ----------------------------------------------------------------------------------------------------


def reference_of(*, num_groups=2, kernel="dot", order=3, norm="group"):
    def reference(x, tensors):
        affine = tensors["transform.1.weight"], tensors["transform.1.bias"]
        statistics = [tensors[f"transform.1.running_{name}"] for name in ("mean", "var")] if norm == "batch" else []
        return compact_non_local(
            x,
            theta=tensors["context.theta.weight"],
            phi=tensors["context.phi.weight"],
            g=tensors["context.g.weight"],
            w_z=tensors["transform.0.weight"],
            num_groups=num_groups,
            kernel=kernel,
            order=order,
            group_norm_affine=affine if norm == "group" else None,
            batch_norm=(*affine, *statistics) if norm == "batch" else None,
        )

    return reference


@each_norm
@each_kernel
@each_case("shape", [VIDEO, IMAGE, (1, CHANNELS, 3, 1, 1), (2, CHANNELS, 1, 1)])
def test_is_its_equation(shape, kernel, norm):
    arguments = {"kernel": kernel, "norm": norm}
    assert_same_function(randomized(make(**arguments)), reference_of(**arguments), input_for(kernel, *shape))


@each_case("num_groups", [1, 4])
@each_kernel
def test_is_its_equation_for_any_groups(kernel, num_groups):
    arguments = {"kernel": kernel, "num_groups": num_groups}
    block = randomized(make(**arguments, inner_ratio=1))
    assert_same_function(block, reference_of(**arguments), input_for(kernel, 1, CHANNELS, 2, 1, 2))


@each_case("order", [1, 2, 5])
def test_is_its_equation_up_to_any_order(order):
    arguments = {"kernel": "gaussian_rbf", "order": order, "norm": "batch"}
    x = input_for("gaussian_rbf", 1, CHANNELS, 3, 2)
    assert_same_function(randomized(make(**arguments)), reference_of(**arguments), x)


# At the start -----------------------------------------------------------------------------------------------------


@each_case("shape", [VIDEO, IMAGE])
@each_norm
@each_kernel
def test_starts_as_the_identity(kernel, norm, shape):
    block, x = make(kernel=kernel, norm=norm).double(), random_input(*shape)
    for training in (True, False):
        assert torch.equal(block.train(training)(x), x)


@each_norm
def test_starts_with_the_weights_of_the_authors(norm):
    """Gaussian with standard deviation 0.01; what comes last is zero, and has a gradient."""
    torch.manual_seed(0)
    block = CompactNonLocal(128, norm=norm)
    block(torch.randn(2, 128, 2, 3, 3)).pow(3).sum().backward()
    for name, parameter in block.named_parameters():
        if name in ("transform.1.weight", "transform.1.bias"):
            assert not parameter.any(), name
            assert parameter.grad.any(), name
        else:
            assert parameter.std().item() == pytest.approx(INIT_STD, rel=0.25), name


# Algebra ----------------------------------------------------------------------------------------------------------


@each_case("kernel", [DotProductKernel(), GaussianRbfKernel(3)])
def test_the_kernel_is_its_matrix_times_g(kernel):
    """`direct` makes all the pairs, (B, G, L, L); `forward` none."""
    parts = [(random_input(2, 3, 8, seed=seed).detach() * 20).requires_grad_() for seed in (1, 2, 3)]
    assert kernel.weights(*parts[:2]).shape == (2, 3, 8, 8)
    value, expected = kernel(*parts), kernel.direct(*parts)
    torch.testing.assert_close(value, expected, **TOLERANCE)
    torch.testing.assert_close(gradients(value, parts), gradients(expected, parts), **TOLERANCE)


def test_is_non_local_between_all_numbers():
    """With one group and the dot product: vec(y) = vec(θ) vec(φ)ᵀ vec(g), a matrix of all channels and positions."""
    context, x = randomized(make(num_groups=1)).context, random_input(*VIDEO)
    theta, phi, g = (layer(x).flatten(1) for layer in (context.theta, context.phi, context.g))  # (B, C·N)
    expected = torch.einsum("bi,bj,bj->bi", theta, phi, g)
    torch.testing.assert_close(context(x).flatten(1), expected, **TOLERANCE)


def test_groups_are_blocks_on_their_own():
    """Two groups are two networks of one group side by side: each has its half of θ, φ and g."""
    context, x = randomized(make()).context, random_input(*VIDEO)
    half = randomized(make(num_groups=1, inner_ratio=0.25)).context
    for channels in (slice(0, 2), slice(2, 4)):
        half.load_state_dict({name: weight[channels] for name, weight in context.state_dict().items()})
        torch.testing.assert_close(half(x), context(x)[:, channels], **TOLERANCE)


def test_the_series_tends_to_the_exponential():
    theta, phi = random_input(1, 1, 5) * 30, random_input(1, 1, 5, seed=2) * 30
    expected = math.exp(-2 * GAMMA) * torch.exp(2 * GAMMA * theta.unsqueeze(3) * phi.unsqueeze(2))
    errors = [(GaussianRbfKernel(order).weights(theta, phi) - expected).abs().max() for order in (1, 3, 12)]
    assert errors[0] > 10 * errors[1] > 0
    assert errors[2] < 1e-13


def test_is_the_gaussian_of_the_distance_on_the_circle():
    """θ² + φ² = 2 is what the factor exp(-2γ) stands for."""
    angle = torch.linspace(0, 6, 7, dtype=torch.float64)
    theta, phi = 2**0.5 * angle.cos().reshape(1, 1, 7), 2**0.5 * angle.sin().reshape(1, 1, 7)
    weights = GaussianRbfKernel(6).weights(theta, phi).diagonal(dim1=2, dim2=3)
    torch.testing.assert_close(weights, torch.exp(-GAMMA * (theta - phi) ** 2), **TOLERANCE)


@each_kernel
@each_case("norm", NORMS)
def test_group_norm_leaves_only_the_sign_of_the_attention(kernel, norm):
    """Twice the φ is twice the attention of the dot product, which GroupNorm over the same groups divides out again."""
    block, x = randomized(make(kernel=kernel, norm=norm)), input_for(kernel, *VIDEO)
    before = block(x)
    with torch.no_grad():
        block.context.phi.weight.mul_(2)
    blind = kernel == "dot" and norm == "group"
    assert torch.allclose(block(x), before, atol=1e-4) == blind
    if blind:
        by_part = dict(zip(("theta", "phi", "g"), gradients(block(x), list(block.context.parameters())), strict=True))
        assert by_part["theta"].abs().max() > 1e5 * max(by_part["phi"].abs().max(), by_part["g"].abs().max())
    with torch.no_grad():
        block.context.phi.weight.mul_(-1)
    assert not torch.allclose(block(x), before, atol=1e-2)


@each_norm
@each_kernel
def test_a_permutation_of_the_positions_goes_through(kernel, norm):
    block, x = randomized(make(kernel=kernel, norm=norm)), input_for(kernel, *VIDEO)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(3))

    def permuted(x):
        return x.flatten(2)[:, :, order].reshape(x.shape)

    assert not torch.allclose(permuted(x), x)
    torch.testing.assert_close(block(permuted(x)), permuted(block(x)), **TOLERANCE)


@each_norm
@each_kernel
def test_samples_do_not_see_each_other(kernel, norm):
    block, x = randomized(make(kernel=kernel, norm=norm)), input_for(kernel, *VIDEO)
    torch.testing.assert_close(block(x)[1:], block(x[1:]), **TOLERANCE)


@each_norm
@each_kernel
def test_an_image_is_a_video_of_one_frame(kernel, norm):
    block, image = randomized(make(kernel=kernel, norm=norm)), input_for(kernel, *IMAGE)
    torch.testing.assert_close(block(image.unsqueeze(2)).squeeze(2), block(image), **TOLERANCE)


@each_case(("shape", "layout"), [(VIDEO, torch.channels_last_3d), (IMAGE, torch.channels_last)])
@each_kernel
def test_channels_last_gives_the_same(kernel, shape, layout):
    block, x = randomized(make(kernel=kernel)), input_for(kernel, *shape)
    last = x.detach().to(memory_format=layout).requires_grad_()
    assert not last.is_contiguous()
    torch.testing.assert_close(block(last), block(x), **TOLERANCE)
    torch.testing.assert_close(gradients(block(last), [last]), gradients(block(x), [x]), **TOLERANCE)


# Arguments --------------------------------------------------------------------------------------------------------

# (what it is made with, and what is changed)
CHANGES = [
    ({}, {"inner_ratio": 1 / 4}),
    ({}, {"num_groups": 4}),
    ({}, {"kernel": "gaussian_rbf"}),
    ({"kernel": "gaussian_rbf"}, {"order": 2}),
    ({}, {"norm": "batch"}),
]


@each_case(("given", "change"), CHANGES)
def test_every_argument_changes_something(given, change):
    x = input_for("gaussian_rbf", *VIDEO)
    before, after = (randomized(make(**arguments))(x) for arguments in (given, given | change))
    assert not torch.allclose(before, after)


def test_every_argument_is_among_the_changes():
    assert {"channels"}.union(*(change for _, change in CHANGES)) == set(inspect.signature(CompactNonLocal).parameters)


@each_case(("channels", "count"), [(512, 410_624), (1024, 1_640_448)])
def test_the_default_is_the_authors(channels, count):
    """θ, φ and g are C × C/2, W_z in 8 groups, γ and β; no bias."""
    block = CompactNonLocal(channels)
    assert sum(parameter.numel() for parameter in block.parameters()) == count
    assert count == 3 * channels**2 // 2 + channels**2 // 2 // 8 + 2 * channels
    assert isinstance(block.transform[1], torch.nn.GroupNorm)
    assert block.transform[1].num_groups == 8
    assert isinstance(block.context.kernel, DotProductKernel)
    assert CompactNonLocal(16, kernel="gaussian_rbf").context.kernel.order == 3


@each_case(
    ("channels", "arguments", "text"),
    [
        (12, {}, "num_groups is 8; expected a divisor of 12 channels and 6 inner ones"),
        (16, {"inner_ratio": 0.25}, "num_groups is 8; expected a divisor of 16 channels and 4 inner ones"),
        (16, {"num_groups": 0}, "num_groups is 0; expected a divisor of 16 channels and 8 inner ones"),
        (16, {"order": 0}, "order is 0; expected at least 1"),
        (16, {"inner_ratio": 0.0}, "inner_ratio is 0.0; expected more than 0 and at most 1"),
        (16, {"inner_ratio": 1 / 32}, "inner_ratio 0.03125 of 16 channels leaves none; expected at least 0.0625"),
        (16, {"kernel": "softmax"}, "kernel is 'softmax'; expected one of dot, gaussian_rbf"),
        (16, {"norm": "layer"}, "norm is 'layer'; expected one of group, batch"),
    ],
)
def test_what_cannot_be_is_named_with_what_is_accepted(channels, arguments, text):
    with pytest.raises(ValueError, match="^" + text.replace(".", r"\.") + "$"):
        CompactNonLocal(channels, **arguments)


def test_only_channels_is_positional():
    with pytest.raises(TypeError):
        CompactNonLocal(CHANNELS, 0.5)
