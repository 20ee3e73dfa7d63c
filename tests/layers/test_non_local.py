"""Non-local against loops over pairs of positions, against pytorchvideo's, and its algebra."""

import inspect
from itertools import product

import pytest
import torch
from pytorchvideo.layers.nonlocal_net import create_nonlocal
from torch import nn

from tests.each_case import each_case
from tests.reference import context_loops
from tests.reference.comparison import TOLERANCE, assert_same_function, gradients, random_input, randomized
from videoctx.layers import NonLocal
from videoctx.layers.non_local import INIT_STD, halve_resolution

CHANNELS = 6
VIDEO, IMAGE = (2, CHANNELS, 2, 3, 4), (2, CHANNELS, 3, 4)
AFFINITIES = ("gaussian", "embedded_gaussian", "dot_product", "concatenation")
SUBSAMPLES = ("input", "keys", "none")

# Everything an affinity can be, and every way to choose what it sees.
WEIGHTINGS = [{"affinity": affinity} for affinity in AFFINITIES] + [
    {"affinity": affinity, "softmax_scale": False} for affinity in AFFINITIES[:2]
]
VIEWS = [{"attend_over": over, "subsample": sub} for over, sub in product(("spacetime", "space"), SUBSAMPLES)] + [
    {"attend_over": "time", "subsample": "none"}
]


def label(choices):
    return "-".join(map(str, choices.values()))


each_affinity = each_case("affinity", AFFINITIES)
each_weighting = each_case("weighting", WEIGHTINGS)
each_view = each_case("view", VIEWS)
each_view_and_rank = each_case(
    ("view", "shape"),
    [
        pytest.param(view, shape, id=f"{label(view)}-{rank}")
        for rank, shape in (("video", VIDEO), ("image", IMAGE))
        for view in VIEWS
        if shape == VIDEO or view["attend_over"] != "time"
    ],
)


# Against loops ----------------------------------------------------------------------------------------------------


def reference_of(*, affinity, softmax_scale=True, subsample="input", attend_over="spacetime", batch_norm=True):
    """The loops for a block that was made with these arguments, on x and the block's tensors."""

    def reference(x, tensors):
        def layer(name):
            return tensors[f"{name}.weight"], tensors[f"{name}.bias"]

        w_z = "transform.0" if batch_norm else "transform"
        statistics = [tensors[f"transform.1.running_{name}"] for name in ("mean", "var")] if batch_norm else []
        halves = [tensors.get(f"context.affinity.{name}") for name in ("query", "key")]
        return context_loops.non_local(
            x,
            affinity=affinity,
            scaled=softmax_scale,
            subsample=subsample,
            attend_over=attend_over,
            theta=None if affinity == "gaussian" else layer("context.theta"),
            phi=None if affinity == "gaussian" else layer("context.phi"),
            g=layer("context.g"),
            w_f=torch.cat(halves) if affinity == "concatenation" else None,
            w_z=layer(w_z),
            batch_norm=(*layer("transform.1"), *statistics) if batch_norm else None,
        )

    return reference


def blind_to(affinity):
    """A constant added to every key cancels in the softmax."""
    return {"context.phi.bias"} if affinity == "embedded_gaussian" else set()


@each_view_and_rank
@each_weighting
def test_is_its_equation(weighting, view, shape):
    block = randomized(NonLocal(CHANNELS, **weighting, **view))
    reference = reference_of(**weighting, **view)
    assert_same_function(block, reference, random_input(*shape), without_gradient=blind_to(weighting["affinity"]))


@each_case("shape", [VIDEO, IMAGE])
@each_weighting
def test_is_its_equation_without_batch_norm(weighting, shape):
    block = randomized(NonLocal(CHANNELS, **weighting, batch_norm=False))
    reference = reference_of(**weighting, batch_norm=False)
    assert_same_function(block, reference, random_input(*shape), without_gradient=blind_to(weighting["affinity"]))


@each_case("sizes", [(2, 3, 3), (1, 5, 2), (3, 1, 3), (2, 3, 1), (2, 1, 1), (1, 3), (5, 1), (3, 3)])
@each_case("subsample", SUBSAMPLES)
def test_odd_sizes_are_in_the_equation(subsample, sizes):
    """A last row or column that is left over is not attended to; an axis of one is not halved."""
    arguments = {"affinity": "dot_product", "subsample": subsample, "inner_ratio": 1 / 3}
    block = randomized(NonLocal(CHANNELS, **arguments))
    del arguments["inner_ratio"]
    assert_same_function(block, reference_of(**arguments), random_input(2, CHANNELS, *sizes))


def test_batch_norm_in_training_takes_the_statistics_of_the_batch():
    block, x = randomized(NonLocal(CHANNELS)).train(), random_input(*VIDEO)
    y = block.transform[0](block.context(x))
    mean, variance = y.mean((0, 2, 3, 4)), y.var((0, 2, 3, 4), correction=0)
    reference = reference_of(affinity="embedded_gaussian")
    tensors = {**dict(block.named_parameters()), "transform.1.running_mean": mean, "transform.1.running_var": variance}
    torch.testing.assert_close(block(x), reference(x, tensors), **TOLERANCE)


# Against pytorchvideo ---------------------------------------------------------------------------------------------


@each_case("batch_norm", [True, False])
@each_case(("subsample", "pool_size"), [("input", (1, 2, 2)), ("none", None)])
@each_case(("affinity", "instantiation"), [("embedded_gaussian", "softmax"), ("dot_product",) * 2])
def test_agrees_with_pytorchvideo(affinity, instantiation, subsample, pool_size, batch_norm):
    peer = randomized(
        create_nonlocal(
            dim_in=CHANNELS,
            dim_inner=3,
            pool_size=pool_size,
            instantiation=instantiation,
            norm=nn.BatchNorm3d if batch_norm else None,
        )
    )
    block = NonLocal(CHANNELS, affinity=affinity, subsample=subsample, batch_norm=batch_norm).double().eval()
    renamed = {
        "conv_theta": "context.theta",
        "conv_phi": "context.phi",
        "conv_g": "context.g",
        "conv_out": "transform.0" if batch_norm else "transform",
        "norm": "transform.1",
    }
    weights = {}
    for name, value in peer.state_dict().items():
        layer, kind = name.split(".")
        weights[f"{renamed[layer]}.{kind}"] = value.flatten(1) if value.ndim == 5 else value
    block.load_state_dict(weights)
    x = random_input(2, CHANNELS, 2, 5, 4)
    torch.testing.assert_close(block(x), peer(x), **TOLERANCE)


# At the start -----------------------------------------------------------------------------------------------------


@each_case("shape", [VIDEO, IMAGE])
@each_case("batch_norm", [True, False])
@each_affinity
def test_starts_as_the_identity(affinity, batch_norm, shape):
    block = NonLocal(CHANNELS, affinity=affinity, batch_norm=batch_norm).double()
    x = random_input(*shape)
    for training in (True, False):
        assert torch.equal(block.train(training)(x), x)


@each_case("batch_norm", [True, False])
@each_affinity
def test_starts_with_the_weights_of_the_authors(affinity, batch_norm):
    """Gaussian with standard deviation 0.01, biases 0; what comes last is zero."""
    torch.manual_seed(0)
    block = NonLocal(128, affinity=affinity, batch_norm=batch_norm)
    last = "transform.1.weight" if batch_norm else "transform.weight"
    for name, parameter in block.named_parameters():
        if name == last or name.endswith("bias"):
            assert not parameter.any(), name
        else:
            assert parameter.std().item() == pytest.approx(INIT_STD, rel=0.25), name
    assert INIT_STD == 0.01


@each_case("batch_norm", [True, False])
def test_learns_from_the_start(batch_norm):
    """Zero comes last only, so that it has a gradient."""
    block, x = NonLocal(CHANNELS, batch_norm=batch_norm).double(), random_input(*VIDEO)
    block(x).pow(3).sum().backward()
    last = block.transform[1] if batch_norm else block.transform
    assert last.weight.grad.abs().max() > 1e-6


# Algebra ----------------------------------------------------------------------------------------------------------


def permuted(x, axis, order):
    """Rearranges the positions of one (flattened) part: all of them, those in a frame, or the frames."""
    batch, channels, frames, height, width = x.shape
    x = x.reshape(batch, channels, *((-1,) if axis == "all" else (frames, height * width)))
    x = x[:, :, order] if axis in ("all", "frames") else x[:, :, :, order]
    return x.reshape(batch, channels, frames, height, width)


@each_case(
    ("attend_over", "axis", "count"),
    [
        ("spacetime", "all", 24),
        ("space", "frames", 2),
        ("space", "places", 12),
        ("time", "frames", 2),
        ("time", "places", 12),
    ],
)
@each_affinity
def test_a_permutation_of_the_positions_goes_through(affinity, attend_over, axis, count):
    block = randomized(NonLocal(CHANNELS, affinity=affinity, attend_over=attend_over, subsample="none"))
    x = random_input(*VIDEO)
    order = (
        torch.arange(count).roll(1) if count == 2 else torch.randperm(count, generator=torch.Generator().manual_seed(4))
    )
    assert not torch.allclose(permuted(x, axis, order), x)
    torch.testing.assert_close(block(permuted(x, axis, order)), permuted(block(x), axis, order), **TOLERANCE)


@each_case(
    ("attend_over", "seen"),
    [
        ("spacetime", torch.ones(2, 3, 4)),
        ("space", torch.tensor([0.0, 1.0]).reshape(2, 1, 1).expand(2, 3, 4)),
        ("time", torch.zeros(2, 3, 4).index_put((torch.arange(2), torch.tensor(2), torch.tensor(1)), torch.ones(()))),
    ],
)
@each_affinity
def test_a_position_sees_what_it_should(affinity, attend_over, seen):
    """Where the gradient of the output at (1, 2, 1) is not zero."""
    block = randomized(NonLocal(CHANNELS, affinity=affinity, attend_over=attend_over, subsample="none"))
    if affinity == "concatenation":  # keeps every pair on the right side of the ReLU
        nn.init.constant_(block.context.theta.bias, 10.0)
        nn.init.ones_(block.context.affinity.query)
    x = random_input(1, *VIDEO[1:])
    (gradient,) = torch.autograd.grad(block(x)[0, :, 1, 2, 1].sum(), x)
    torch.testing.assert_close((gradient[0].abs().sum(0) > 1e-9).float(), seen)


@each_view
@each_case("affinity", AFFINITIES[1:])
def test_a_constant_query_has_one_context_everywhere(affinity, view):
    block, x = randomized(NonLocal(CHANNELS, affinity=affinity, **view)), random_input(*VIDEO)
    apart = {"spacetime": (2, 3, 4), "space": (3, 4), "time": (2,)}[view["attend_over"]]
    assert block.context(x).std(apart).max() > 1e-3
    nn.init.zeros_(block.context.theta.weight)
    assert block.context(x).std(apart).max() < 1e-12


@each_case("affinity", ["embedded_gaussian", "gaussian"])
@each_view
def test_a_softmax_over_equals_is_the_average(affinity, view):
    """Every frame, or column, of the context is then the mean of g over what it sees."""
    block, x = randomized(NonLocal(CHANNELS, affinity=affinity, **view)), random_input(*VIDEO)
    if affinity == "gaussian":
        x = torch.ones_like(x)
    else:
        nn.init.zeros_(block.context.phi.weight)
    source = halve_resolution(x) if view["subsample"] == "input" else x
    g = block.context.g(source)
    g = halve_resolution(g) if view["subsample"] == "keys" else g
    seen = {"spacetime": (2, 3, 4), "space": (3, 4), "time": (2,)}[view["attend_over"]]
    torch.testing.assert_close(block.context(x), g.mean(seen, keepdim=True).expand_as(block.context(x)), **TOLERANCE)


@each_case("subsample", SUBSAMPLES)
@each_case("attend_over", ["spacetime", "space"])
@each_affinity
def test_an_image_is_a_video_of_one_frame(affinity, attend_over, subsample):
    block = randomized(NonLocal(CHANNELS, affinity=affinity, attend_over=attend_over, subsample=subsample))
    image = random_input(2, CHANNELS, 5, 4)
    torch.testing.assert_close(block(image.unsqueeze(2)).squeeze(2), block(image), **TOLERANCE)


@each_affinity
def test_attending_over_space_takes_each_frame_for_an_image(affinity):
    block, video = randomized(NonLocal(CHANNELS, affinity=affinity, attend_over="space")), random_input(*VIDEO)
    frames = torch.stack([block(video[:, :, t]) for t in range(video.shape[2])], dim=2)
    torch.testing.assert_close(block(video), frames, **TOLERANCE)


@each_view
def test_samples_do_not_see_each_other(view):
    block, x = randomized(NonLocal(CHANNELS, **view)), random_input(*VIDEO)
    torch.testing.assert_close(block(x)[1:], block(x[1:]), **TOLERANCE)


@each_view_and_rank
@each_case("affinity", ["embedded_gaussian", "concatenation"])
def test_channels_last_gives_the_same(affinity, view, shape):
    block, x = randomized(NonLocal(CHANNELS, affinity=affinity, **view)), random_input(*shape)
    layout = torch.channels_last_3d if len(shape) == 5 else torch.channels_last
    last = x.detach().to(memory_format=layout).requires_grad_()
    assert not last.is_contiguous()
    value, expected = block(last), block(x)
    torch.testing.assert_close(value, expected, **TOLERANCE)
    torch.testing.assert_close(gradients(value, [last]), gradients(expected, [x]), **TOLERANCE)


@each_affinity
def test_the_context_is_the_weights_of_the_affinity_times_g(affinity):
    """`weights` is the N × M map itself, for who wants to look: that of the softmax is a distribution."""
    attention = randomized(NonLocal(CHANNELS, affinity=affinity, subsample="none")).context
    x = random_input(*VIDEO)
    theta, phi, g = (layer(x).flatten(2).transpose(1, 2) for layer in (attention.theta, attention.phi, attention.g))
    weights = attention.affinity.weights(theta, phi)
    assert weights.shape == (2, 24, 24)
    torch.testing.assert_close((weights @ g).transpose(1, 2), attention(x).flatten(2), **TOLERANCE)
    sums = weights.sum(-1)
    assert torch.allclose(sums, torch.ones_like(sums)) == affinity.endswith("gaussian")


@each_case("cores", [1, 2, 3, 5, 64])
@each_case("shape", [(1, CHANNELS, 2, 3, 4), (2, CHANNELS, 1, 1, 5), (1, CHANNELS, 7, 1)])
@each_case("affinity", ["gaussian", "embedded_gaussian"])
def test_the_number_of_cores_is_nothing_to_the_softmax(affinity, shape, cores, monkeypatch):
    """The queries are split over the cores of a CPU."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: cores)
    attention, x = randomized(NonLocal(CHANNELS, affinity=affinity, subsample="none")).context, random_input(*shape)
    theta, phi, g = (layer(x).flatten(2).transpose(1, 2) for layer in (attention.theta, attention.phi, attention.g))
    expected = attention.affinity.weights(theta, phi) @ g
    value = attention(x).flatten(2).transpose(1, 2)
    torch.testing.assert_close(value, expected, **TOLERANCE)
    leaves = [x, *(p for name, p in attention.named_parameters() if name != "phi.bias")]
    torch.testing.assert_close(gradients(value, leaves), gradients(expected, leaves), **TOLERANCE)


# Subsampling ------------------------------------------------------------------------------------------------------


@each_case(
    ("sizes", "halved"),
    [
        ((4, 6, 8), (4, 3, 4)),
        ((3, 5, 7), (3, 2, 3)),
        ((2, 3, 1), (2, 1, 1)),
        ((2, 1, 4), (2, 1, 2)),
        ((1, 1, 1), (1, 1, 1)),
        ((5, 4), (2, 2)),
        ((1, 3), (1, 1)),
    ],
)
def test_halving_leaves_time_and_axes_of_one(sizes, halved):
    assert halve_resolution(torch.zeros(2, 3, *sizes)).shape == (2, 3, *halved)


def test_halving_takes_the_largest():
    x = torch.tensor([[1.0, 2, 7], [4, 3, 9], [8, 8, 8]]).reshape(1, 1, 1, 3, 3)
    assert halve_resolution(x).flatten().tolist() == [4]


# Arguments --------------------------------------------------------------------------------------------------------

# (what it is made with, and what is changed)
CHANGES = [
    *(({}, {"affinity": affinity}) for affinity in ("gaussian", "dot_product", "concatenation")),
    ({}, {"inner_ratio": 1 / 3}),
    ({}, {"softmax_scale": False}),
    ({"affinity": "gaussian"}, {"softmax_scale": False}),
    *(({}, {"subsample": subsample}) for subsample in ("keys", "none")),
    ({}, {"attend_over": "space"}),
    ({"subsample": "none"}, {"attend_over": "time"}),
    ({}, {"batch_norm": False}),
]


@each_case(("given", "change"), CHANGES)
def test_every_argument_changes_something(given, change):
    x = random_input(*VIDEO)
    before, after = (randomized(NonLocal(CHANNELS, **arguments))(x) for arguments in (given, given | change))
    assert not torch.allclose(before, after)


def test_every_argument_is_among_the_changes():
    assert {"channels"}.union(*(change for _, change in CHANGES)) == set(inspect.signature(NonLocal).parameters)


@each_case(("inner_ratio", "width"), [(0.5, 6), (1, 12), (1 / 4, 3), (0.3, 3)])
def test_the_inner_ratio_is_the_width_of_theta_phi_and_g(inner_ratio, width):
    context = NonLocal(12, inner_ratio=inner_ratio).context
    assert {layer.weight.shape for layer in (context.theta, context.phi, context.g)} == {(width, 12)}


def test_gaussian_has_no_theta_and_phi():
    block = NonLocal(CHANNELS, affinity="gaussian")
    assert {name for name, _ in block.context.named_parameters()} == {"g.weight", "g.bias"}


@each_case("inner_ratio", [0.0, -1.0, 2.0, 1 / 32])
def test_an_inner_ratio_out_of_range_is_named(inner_ratio):
    with pytest.raises(ValueError, match=rf"^inner_ratio (is )?{inner_ratio:.3}.*expected"):
        NonLocal(16, inner_ratio=inner_ratio)


@each_case(
    ("argument", "accepted"),
    [
        ("affinity", "gaussian, embedded_gaussian, dot_product, concatenation"),
        ("subsample", "input, keys, none"),
        ("attend_over", "spacetime, space, time"),
    ],
)
def test_an_unknown_choice_is_named_with_what_is_accepted(argument, accepted):
    with pytest.raises(ValueError, match=f"{argument} is 'all'; expected one of {accepted}"):
        NonLocal(CHANNELS, **{argument: "all"})


@each_case("subsample", ["input", "keys"])
def test_time_has_nothing_to_subsample(subsample):
    with pytest.raises(ValueError, match=f"subsample is '{subsample}' with attend_over 'time'; expected 'none'"):
        NonLocal(CHANNELS, attend_over="time", subsample=subsample)


def test_an_image_has_no_time_to_attend_over():
    block = NonLocal(CHANNELS, attend_over="time", subsample="none")
    with pytest.raises(ValueError, match=r"attend_over is 'time'; expected video .* got \(2, 6, 3, 4\)"):
        block(torch.zeros(IMAGE))


def test_only_channels_is_positional():
    with pytest.raises(TypeError):
        NonLocal(CHANNELS, "gaussian")
