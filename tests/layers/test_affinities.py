"""The affinities without the N × M matrix equal their direct evaluation, forward and backward."""

import torch
from torch import nn

from tests.each_case import each_case
from videoctx.layers.non_local import ConcatenationAffinity, DotProductAffinity, SoftmaxAffinity

TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}
AFFINITIES = {
    "softmax, scaled": lambda channels: SoftmaxAffinity(scale=True),  # noqa: ARG005
    "softmax": lambda channels: SoftmaxAffinity(scale=False),  # noqa: ARG005
    "dot product": lambda channels: DotProductAffinity(),  # noqa: ARG005
    "concatenation": ConcatenationAffinity,
}


def inputs(num_queries, num_keys, compared, width, dtype):
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(2, count, channels, generator=generator, dtype=dtype).requires_grad_()
        for count, channels in ((num_queries, compared), (num_keys, compared), (num_keys, width))
    ]


def values_and_gradients(path, parts, affinity):
    context = path(*parts)
    weights = torch.linspace(-1, 1, context.numel(), dtype=context.dtype).reshape(context.shape)
    return [context, *torch.autograd.grad(context, [*parts, *affinity.parameters()], weights)]


@each_case("dtype", TOLERANCE)
@each_case(("num_queries", "num_keys"), [(1, 1), (7, 1), (1, 7), (60, 15), (37, 37), (1024, 256)])
@each_case("name", AFFINITIES)
def test_equals_the_direct_evaluation(name, num_queries, num_keys, dtype):
    torch.manual_seed(0)
    affinity = AFFINITIES[name](8).to(dtype)
    for parameter in affinity.parameters():
        nn.init.normal_(parameter)  # not small, so that some pairs are cut by the ReLU and some are not
    parts = inputs(num_queries, num_keys, 8, 8, dtype)
    exact = values_and_gradients(affinity, parts, affinity)
    direct = values_and_gradients(affinity.direct, parts, affinity)
    for ours, truth in zip(exact, direct, strict=True):
        scale = max(truth.norm().item(), 0.1)  # some gradients are exactly zero
        assert (ours - truth).norm().item() <= TOLERANCE[dtype] * scale


@each_case("width", [3, 8, 13])
@each_case("name", ["softmax, scaled", "softmax", "dot product"])
def test_g_may_be_narrower_or_wider_than_what_is_compared(name, width):
    affinity = AFFINITIES[name](8)
    parts = inputs(20, 5, 8, width, torch.float64)
    torch.testing.assert_close(affinity(*parts), affinity.direct(*parts), rtol=1e-10, atol=1e-12)


@each_case("shift", [-50.0, 50.0])
def test_concatenation_where_no_pair_or_every_pair_counts(shift):
    affinity = ConcatenationAffinity(4).double()
    nn.init.ones_(affinity.query)
    theta, phi, g = inputs(12, 5, 4, 4, torch.float64)
    context = affinity(theta + shift, phi, g)
    torch.testing.assert_close(context, affinity.direct(theta + shift, phi, g), rtol=1e-10, atol=1e-12)
    assert bool(context.any()) == (shift > 0)


def test_concatenation_with_equal_keys():
    """Ties in the order of the keys change nothing."""
    affinity = ConcatenationAffinity(4).double()
    theta, _, g = inputs(12, 6, 4, 4, torch.float64)
    phi = torch.ones(2, 6, 4, dtype=torch.float64)
    torch.testing.assert_close(affinity(theta, phi, g), affinity.direct(theta, phi, g), rtol=1e-10, atol=1e-12)


@each_case("name", AFFINITIES)
def test_nothing_of_the_size_of_the_matrix_is_kept_for_the_way_back(name):
    kept = []

    def note(tensor):
        kept.append(tensor.numel())
        return tensor

    parts = inputs(512, 512, 8, 8, torch.float32)
    affinity = AFFINITIES[name](8)
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        affinity(*parts)
    assert max(kept) < 512 * 512 / 4
