"""Disentangled Non-local against loops over pairs of positions, and its algebra."""

import inspect

import pytest
import torch
from torch import nn

from tests.each_case import each_case
from tests.reference.comparison import TOLERANCE, assert_same_function, gradients, random_input, randomized
from tests.reference.disentangled_non_local_loops import disentangled_non_local
from videoctx.layers.disentangled_non_local import DisentangledNonLocal, WhitenedAffinity
from videoctx.layers.non_local import INIT_STD, SoftmaxAffinity, halve_resolution

CHANNELS = 6
VIDEO, IMAGE = (2, CHANNELS, 2, 3, 4), (2, CHANNELS, 3, 4)
SUBSAMPLES = ("input", "none")
KEYS = {"context.theta.weight", "context.phi.weight", "context.unary.key.weight"}

each_subsample = each_case("subsample", SUBSAMPLES)


def make(**arguments):
    return DisentangledNonLocal(CHANNELS, **{"temperature": 0.8, **arguments})


# Against loops ----------------------------------------------------------------------------------------------------


def reference_of(*, temperature=0.8, subsample="input", batch_norm=True):
    def reference(x, tensors):
        def layer(name):
            return tensors[f"{name}.weight"], tensors[f"{name}.bias"]

        statistics = [tensors[f"transform.1.running_{name}"] for name in ("mean", "var")] if batch_norm else []
        return disentangled_non_local(
            x,
            theta=tensors["context.theta.weight"],
            phi=tensors["context.phi.weight"],
            mask=tensors["context.unary.key.weight"].flatten(),
            g=layer("context.g"),
            w_z=layer("transform.0" if batch_norm else "transform"),
            temperature=temperature,
            subsample=subsample,
            batch_norm=(*layer("transform.1"), *statistics) if batch_norm else None,
        )

    return reference


@each_case("batch_norm", [True, False])
@each_subsample
@each_case("shape", [VIDEO, IMAGE])
def test_is_its_equation(shape, subsample, batch_norm):
    arguments = {"subsample": subsample, "batch_norm": batch_norm}
    assert_same_function(randomized(make(**arguments)), reference_of(**arguments), random_input(*shape))


@each_subsample
@each_case("sizes", [(2, 3, 3), (1, 5, 2), (3, 1, 3), (2, 3, 1), (2, 1, 1), (5, 3)])
def test_odd_sizes_are_in_the_equation(sizes, subsample):
    """A last row or column that is left over is not attended to; an axis of one is not halved."""
    block = randomized(make(subsample=subsample, inner_ratio=1 / 3))
    assert_same_function(block, reference_of(subsample=subsample), random_input(2, CHANNELS, *sizes))


@each_case("temperature", [0.05, 3.0])
def test_is_its_equation_at_any_temperature(temperature):
    block, reference = randomized(make(temperature=temperature)), reference_of(temperature=temperature)
    assert_same_function(block, reference, random_input(*VIDEO))


@each_case("shape", [(2, CHANNELS, 1, 1, 1), (2, CHANNELS, 1, 1)])
def test_one_position_has_nothing_to_choose_from(shape):
    assert_same_function(randomized(make()), reference_of(), random_input(*shape), without_gradient=KEYS)


# At the start -----------------------------------------------------------------------------------------------------


@each_case("shape", [VIDEO, IMAGE])
@each_case("batch_norm", [True, False])
def test_starts_as_the_identity(batch_norm, shape):
    block, x = make(batch_norm=batch_norm).double(), random_input(*shape)
    for training in (True, False):
        assert torch.equal(block.train(training)(x), x)


@each_case("batch_norm", [True, False])
def test_starts_with_the_weights_of_the_authors(batch_norm):
    """Gaussian with standard deviation 0.01, biases 0; what comes last is zero, and has a gradient."""
    torch.manual_seed(0)
    block = DisentangledNonLocal(128, batch_norm=batch_norm)
    block(torch.randn(2, 128, 2, 4, 4)).pow(3).sum().backward()
    last = "transform.1.weight" if batch_norm else "transform.weight"
    for name, parameter in block.named_parameters():
        if name == last or name.endswith("bias"):
            assert not parameter.any(), name
        else:
            assert parameter.std().item() == pytest.approx(INIT_STD, rel=0.25), name
    assert dict(block.named_parameters())[last].grad.abs().max() > 1e-6


# Algebra ----------------------------------------------------------------------------------------------------------


def parts_of(context, x):
    return [layer(x).flatten(2).transpose(1, 2) for layer in (context.theta, context.phi, context.g)]


def test_the_context_is_both_maps_times_g():
    """Paired and alone, each a distribution over the positions."""
    context, x = randomized(make(subsample="none")).context, random_input(*VIDEO)
    theta, phi, g = parts_of(context, x)
    pairwise = context.pairwise.weights(theta, phi)  # (B, N, N)
    unary = torch.softmax(context.unary.key(x).flatten(2), dim=2)  # (B, 1, N)
    ones = torch.ones(2, 24, dtype=torch.float64)
    torch.testing.assert_close((pairwise.sum(2), unary.sum(2).expand(2, 24)), (ones, ones), **TOLERANCE)
    torch.testing.assert_close(((pairwise + unary) @ g).transpose(1, 2), context(x).flatten(2), **TOLERANCE)


@each_case("widths", [(4, 4), (2, 5), (5, 2)])
def test_fused_attention_is_the_matrix_times_g(widths):
    affinity = WhitenedAffinity(temperature=0.3)
    width, g_width = widths
    shapes = ((2, 7, width), (2, 5, width), (2, 5, g_width))
    parts = [random_input(*shape, seed=seed) for seed, shape in enumerate(shapes)]
    value, expected = affinity(*parts), affinity.direct(*parts)
    torch.testing.assert_close(value, expected, **TOLERANCE)
    torch.testing.assert_close(gradients(value, parts), gradients(expected, parts), **TOLERANCE)


def test_makes_no_matrix_of_pairs():
    """Of what is kept for backward, nothing is larger than the input; the pairs would be 128 times that."""
    saved = []
    block, x = DisentangledNonLocal(8, subsample="none"), torch.randn(1, 8, 1, 32, 32)
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: saved.append(tensor.numel()) or tensor, lambda t: t):
        block(x)
    assert 0 < max(saved) <= x.numel()


def test_a_constant_in_every_query_or_key_changes_nothing():
    """That is what is whitened away; hence θ and φ have no bias."""
    affinity = WhitenedAffinity(temperature=0.3)
    theta, phi = random_input(2, 7, 4), random_input(2, 5, 4, seed=2)
    constant = random_input(2, 1, 4, seed=3)
    for shifted in ((theta + constant, phi), (theta, phi + constant)):
        torch.testing.assert_close(affinity.weights(*shifted), affinity.weights(theta, phi), **TOLERANCE)
    assert {name for name, _ in make().context.named_parameters() if name.endswith("bias")} == {"g.bias"}


def test_whitened_times_unary_is_non_local():
    """The paper's analysis: exp(θᵢ·φⱼ) = exp((θᵢ - μ_θ)·(φⱼ - μ_φ)) exp(μ_θ·φⱼ), up to what is the same for all j."""
    theta, phi = random_input(2, 7, 4), random_input(2, 5, 4, seed=2)
    pairwise = WhitenedAffinity(temperature=1.0).weights(theta, phi)
    unary = torch.exp(theta.mean(1, keepdim=True) @ phi.transpose(1, 2) / 2)  # √d = 2
    product = pairwise * unary
    torch.testing.assert_close(
        product / product.sum(2, keepdim=True), SoftmaxAffinity().weights(theta, phi), **TOLERANCE
    )


@each_subsample
def test_a_constant_query_leaves_the_unary_term_and_the_mean(subsample):
    block, x = randomized(make(subsample=subsample)), random_input(*VIDEO)
    source = halve_resolution(x) if subsample == "input" else x
    context = block.context
    assert context(x).std((2, 3, 4)).max() > 1e-3
    nn.init.zeros_(context.theta.weight)
    g = context.g(source)
    saliency = torch.softmax(context.unary.key(source).flatten(2), dim=2).reshape(2, 1, *source.shape[2:])
    expected = g.mean((2, 3, 4), keepdim=True) + (saliency * g).sum((2, 3, 4), keepdim=True)
    torch.testing.assert_close(context(x), expected.expand_as(context(x)), **TOLERANCE)


def test_subsampling_pools_what_is_attended_to():
    """Position by position the queries stay: a map whose 2 × 2 cells are constant is attended to as its quarter."""
    none, pooled = (randomized(make(subsample=subsample)) for subsample in ("none", "input"))
    x = random_input(2, CHANNELS, 2, 2, 3).repeat_interleave(2, 3).repeat_interleave(2, 4)
    torch.testing.assert_close(pooled(x), none(x), **TOLERANCE)
    x = random_input(2, CHANNELS, 2, 4, 6)
    assert not torch.allclose(pooled(x), none(x))


def test_a_permutation_of_the_positions_goes_through():
    block, x = randomized(make(subsample="none")), random_input(*VIDEO)
    order = torch.randperm(24, generator=torch.Generator().manual_seed(3))

    def permuted(x):
        return x.flatten(2)[:, :, order].reshape(x.shape)

    assert not torch.allclose(permuted(x), x)
    torch.testing.assert_close(block(permuted(x)), permuted(block(x)), **TOLERANCE)


@each_subsample
def test_samples_do_not_see_each_other(subsample):
    block, x = randomized(make(subsample=subsample)), random_input(*VIDEO)
    torch.testing.assert_close(block(x)[1:], block(x[1:]), **TOLERANCE)


@each_subsample
def test_an_image_is_a_video_of_one_frame(subsample):
    block, image = randomized(make(subsample=subsample)), random_input(*IMAGE)
    torch.testing.assert_close(block(image.unsqueeze(2)).squeeze(2), block(image), **TOLERANCE)


@each_case(("shape", "layout"), [(VIDEO, torch.channels_last_3d), (IMAGE, torch.channels_last)])
@each_subsample
def test_channels_last_gives_the_same(subsample, shape, layout):
    block, x = randomized(make(subsample=subsample)), random_input(*shape)
    last = x.detach().to(memory_format=layout).requires_grad_()
    assert not last.is_contiguous()
    torch.testing.assert_close(block(last), block(x), **TOLERANCE)
    torch.testing.assert_close(gradients(block(last), [last]), gradients(block(x), [x]), **TOLERANCE)


# Arguments --------------------------------------------------------------------------------------------------------

CHANGES = [{"inner_ratio": 1 / 3}, {"temperature": 0.5}, {"subsample": "none"}, {"batch_norm": False}]


@each_case("change", CHANGES)
def test_every_argument_changes_something(change):
    x = random_input(*VIDEO)
    assert not torch.allclose(randomized(make(**change))(x), randomized(make())(x))


def test_every_argument_is_among_the_changes():
    assert {"channels"}.union(*CHANGES) == set(inspect.signature(DisentangledNonLocal).parameters)


@each_case(("channels", "count"), [(512, 526_592), (1024, 2_101_760)])
def test_the_default_has_the_size_of_non_local(channels, count):
    """θ, φ, g and W_z are C × C/2, the unary key C; biases of g and W_z; γ and β."""
    block = DisentangledNonLocal(channels)
    assert sum(parameter.numel() for parameter in block.parameters()) == count
    assert count == 2 * channels**2 + channels + channels // 2 + channels + 2 * channels
    assert block.context.pairwise.temperature == 0.05


@each_case(
    ("arguments", "text"),
    [
        ({"subsample": "keys"}, "subsample is 'keys'; expected one of input, none"),
        ({"temperature": 0.0}, "temperature is 0.0; expected more than 0"),
        ({"temperature": float("nan")}, "temperature is nan; expected more than 0"),
        ({"inner_ratio": 2.0}, "inner_ratio is 2.0; expected more than 0 and at most 1"),
        ({"inner_ratio": 1 / 32}, "inner_ratio 0.03125 of 16 channels leaves none; expected at least 0.0625"),
    ],
)
def test_what_cannot_be_is_named_with_what_is_accepted(arguments, text):
    with pytest.raises(ValueError, match="^" + text.replace(".", r"\.") + "$"):
        DisentangledNonLocal(16, **arguments)


def test_only_channels_is_positional():
    with pytest.raises(TypeError):
        DisentangledNonLocal(CHANNELS, 0.5)
