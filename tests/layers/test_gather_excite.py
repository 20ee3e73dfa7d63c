"""Gather-Excite against loops, against torch's pooling, and its algebra."""

import inspect

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.each_case import each_case
from tests.reference import gather_excite_loops
from tests.reference.comparison import TOLERANCE, assert_same_function, gradients, random_input, randomized
from videoctx.layers.context import ContextBlock
from videoctx.layers.gather_excite import GatherExcite
from videoctx.layers.global_context import SqueezeExcitation
from videoctx.layers.neighborhood import VideoConv

CHANNELS = 6
VIDEO, IMAGE = (2, CHANNELS, 3, 5, 4), (2, CHANNELS, 5, 4)
SHAPES = (VIDEO, IMAGE, (2, CHANNELS, 1, 3, 3), (2, CHANNELS, 4, 1, 7), (2, CHANNELS, 6, 1))
VARIANTS = ("theta_minus", "theta", "theta_plus")
each_rank = each_case("shape", [VIDEO, IMAGE])
each_variant = each_case("variant", VARIANTS)


def make(**arguments):
    """With a bottleneck wide enough that some ReLU is open for every weight."""
    return randomized(GatherExcite(CHANNELS, **{"extent": 4, "ratio": 1} | arguments))


def reference_of(block, shape):
    """The loops for a block on inputs of this shape."""

    def reference(x, tensors):
        def layer(name):
            return tensors[f"{name}.weight"], tensors[f"{name}.bias"]

        def gather(number):
            conv, norm = f"context.{number}", f"context.{number + 1}"
            statistics = (tensors[f"{norm}.running_mean"], tensors[f"{norm}.running_var"])
            return {
                "kernel": tensors[f"{conv}.weight"][:, 0],
                "stride": block.context[number].stride,
                "padding": block.context[number].padding,
                "norm": (*layer(norm), *statistics),
            }

        if isinstance(block.context, nn.Sequential):
            gathers = {"extents": None, "gathers": [gather(number) for number in range(0, len(block.context), 3)]}
        else:
            extents = block.context.extents[-len(shape[2:]) :]
            gathers = {"extents": [n if e == "global" else e for e, n in zip(extents, shape[2:], strict=True)]}
        excite = "transform.1.reduce.weight" in tensors
        layers = (layer("transform.1.reduce"), layer("transform.1.expand")) if excite else None
        return gather_excite_loops.gather_excite(x, **gathers, excite=layers)

    return reference


# Against loops ----------------------------------------------------------------------------------------------------


@each_case("shape", SHAPES)
@each_case(
    ("extent", "extent_t"),
    [(2, None), (3, None), (8, None), (2, 1), (1, 4), ("global", None), ("global", 2), (2, "global")],
)
def test_a_gather_without_weights_is_its_equation(extent, extent_t, shape):
    block = make(variant="theta_minus", extent=extent, extent_t=extent_t)
    assert_same_function(block, reference_of(block, shape), random_input(*shape))


@each_case("shape", SHAPES)
@each_case(("extent", "extent_t"), [(2, None), (4, None), (4, 2), (2, 1), (1, 4)])
@each_variant
def test_a_gather_by_halves_is_its_equation(variant, extent, extent_t, shape):
    block = make(variant=variant, extent=extent, extent_t=extent_t)
    assert_same_function(block, reference_of(block, shape), random_input(*shape))


@each_case("shape", SHAPES)
@each_case("variant", VARIANTS[1:])
def test_a_global_gather_with_weights_is_its_equation(variant, shape):
    size = shape[2:] if len(shape) == 5 else (1, *shape[2:])
    block = make(variant=variant, extent="global", size=size)
    assert_same_function(block, reference_of(block, shape), random_input(*shape))


@each_rank
@each_case("variant", VARIANTS[1:])
def test_batch_norm_in_training_takes_the_statistics_of_the_batch(variant, shape):
    block, x = make(variant=variant, extent=2).train(), random_input(*shape)
    y = block.context[0](x)
    axes = (0, *range(2, y.ndim))
    statistics = {"context.1.running_mean": y.mean(axes), "context.1.running_var": y.var(axes, correction=0)}
    value = reference_of(block, shape)(x, {**dict(block.named_parameters()), **statistics})
    torch.testing.assert_close(block(x), value, **TOLERANCE)


# Against torch ----------------------------------------------------------------------------------------------------


@each_case("extent", [2, 3, 4])
def test_a_gather_without_weights_is_average_pooling(extent):
    """Kernel 2e - 1, stride e, and only what is there counts."""
    gather, image = make(variant="theta_minus", extent=extent).context, random_input(2, CHANNELS, 9, 7)
    pooled = F.avg_pool2d(image, 2 * extent - 1, extent, extent - 1, count_include_pad=False)
    torch.testing.assert_close(gather(image), pooled, **TOLERANCE)
    video = random_input(2, CHANNELS, 7, 9, 8)
    pooled = F.avg_pool3d(video, 2 * extent - 1, extent, extent - 1, count_include_pad=False)
    torch.testing.assert_close(gather(video), pooled, **TOLERANCE)


# At the start -----------------------------------------------------------------------------------------------------


@each_case(("arguments", "fan_in"), [({"extent": 4}, 27), ({"extent": "global", "size": (2, 5, 5)}, 50)])
def test_starts_as_he_et_al_do(arguments, fan_in):
    torch.manual_seed(0)
    convolutions = [layer for layer in GatherExcite(512, **arguments).context if isinstance(layer, VideoConv)]
    assert convolutions
    for layer in convolutions:
        assert layer.weight.std().item() == pytest.approx((2 / fan_in) ** 0.5, rel=0.05)


def test_learns_from_the_start():
    block, x = GatherExcite(CHANNELS, ratio=1).double(), random_input(2, CHANNELS, 9, 9, 9)
    block(x).pow(3).sum().backward()
    assert all(parameter.grad is not None for parameter in block.parameters())
    assert block.context[0].weight.grad.abs().max() > 0


# Algebra ----------------------------------------------------------------------------------------------------------


@each_variant
def test_is_its_three_parts(variant):
    block, x = make(variant=variant), random_input(*VIDEO)
    assert isinstance(block, ContextBlock)
    torch.testing.assert_close(block(x), block.fusion(x, block.transform(block.context(x))), **TOLERANCE)


@each_rank
def test_without_weights_and_global_it_is_the_sigmoid_of_the_mean(shape):
    block, x = GatherExcite(CHANNELS, variant="theta_minus", extent="global"), random_input(*shape)
    assert not list(block.parameters())
    mean = x.mean(tuple(range(2, x.ndim)), keepdim=True)
    torch.testing.assert_close(block(x), x * mean.sigmoid(), **TOLERANCE)


@each_rank
def test_an_extent_as_large_as_x_is_global(shape):
    large = make(variant="theta_minus", extent=8)
    whole, x = make(variant="theta_minus", extent="global"), random_input(*shape)
    torch.testing.assert_close(large(x), whole(x), **TOLERANCE)


@each_rank
def test_a_global_gather_of_equal_weights_and_the_bottleneck_is_squeeze_excitation(shape):
    """Of x ≥ 0, since the authors have a ReLU between the two."""
    size = shape[2:] if len(shape) == 5 else (1, *shape[2:])
    block, se = make(extent="global", size=size), randomized(SqueezeExcitation(CHANNELS, ratio=1))
    se.transform.load_state_dict(block.transform[1].state_dict())
    conv, norm = block.context
    nn.init.constant_(conv.weight, 1 / conv.weight[0].numel())
    norm.reset_parameters()
    norm.eps = 1e-300  # torch 2.10 refuses 0
    x = random_input(*shape).abs()
    torch.testing.assert_close(block(x), se(x), **TOLERANCE)


@each_case("extent", [2, 4, 8, "global"])
def test_a_constant_gathers_to_itself(extent):
    """Also at the border."""
    gather = make(variant="theta_minus", extent=extent).context
    x = random_input(2, CHANNELS, 1, 1, 1).expand(-1, -1, 3, 9, 6)
    cells = gather(x)
    torch.testing.assert_close(cells, x[:, :, :1, :1, :1].expand_as(cells), **TOLERANCE)


@each_case(("extent", "extent_t", "cells"), [(2, 2, (2, 5, 4)), (4, 1, (3, 3, 2)), (8, 4, (1, 2, 1))])
@each_variant
def test_every_gather_leaves_one_cell_in_e(variant, extent, extent_t, cells):
    gather = make(variant=variant, extent=extent, extent_t=extent_t).context
    assert gather(random_input(2, CHANNELS, 3, 9, 7)).shape == (2, CHANNELS, *cells)


@each_variant
def test_an_extent_of_one_over_time_keeps_the_frames_apart(variant):
    block, video = make(variant=variant, extent_t=1), random_input(*VIDEO)
    frames = torch.stack([block(video[:, :, t]) for t in range(VIDEO[2])], dim=2)
    torch.testing.assert_close(block(video), frames, **TOLERANCE)


@each_rank
@each_case("variant", VARIANTS[:2])
def test_channels_see_each_other_only_in_the_bottleneck(variant, shape):
    x = random_input(*shape)
    (gradient,) = torch.autograd.grad(make(variant=variant)(x)[:, 0].sum(), x)
    assert not gradient[:, 1:].any()
    (gradient,) = torch.autograd.grad(make()(x)[:, 0].sum(), x)
    assert gradient[:, 1:].any()


@each_case(
    "arguments",
    [*({"variant": variant} for variant in VARIANTS), {"extent": "global", "size": (1, 5, 4)}],
)
def test_an_image_is_a_video_of_one_frame(arguments):
    block, image = make(**arguments), random_input(*IMAGE)
    torch.testing.assert_close(block(image.unsqueeze(2)).squeeze(2), block(image), **TOLERANCE)


@each_variant
def test_samples_do_not_see_each_other(variant):
    block, x = make(variant=variant), random_input(*VIDEO)
    torch.testing.assert_close(block(x)[1:], block(x[1:]), **TOLERANCE)


@each_case(("shape", "layout"), [(VIDEO, torch.channels_last_3d), (IMAGE, torch.channels_last)])
@each_variant
def test_channels_last_gives_the_same(variant, shape, layout):
    block, x = make(variant=variant), random_input(*shape)
    last = x.detach().to(memory_format=layout).requires_grad_()
    assert not last.is_contiguous()
    torch.testing.assert_close(block(last), block(x), **TOLERANCE)
    torch.testing.assert_close(gradients(block(last), [last]), gradients(block(x), [x]), **TOLERANCE)


# Arguments --------------------------------------------------------------------------------------------------------

# (what it is made with, and what is changed)
GLOBAL = {"extent": "global", "size": (3, 5, 4)}
CHANGES = [
    *(({}, {"variant": variant}) for variant in VARIANTS[:2]),
    *(({"variant": variant}, {"extent": 2}) for variant in VARIANTS),
    *(({"variant": variant}, {"extent_t": 1}) for variant in VARIANTS),
    ({}, GLOBAL),
    ({}, {"ratio": 0.25}),
]


@each_case(("given", "change"), CHANGES)
def test_every_argument_changes_something(given, change):
    x = random_input(*VIDEO)
    assert not torch.allclose(make(**given | change)(x), make(**given)(x))


def test_every_argument_is_among_the_changes():
    assert {"channels"}.union(*(change for _, change in CHANGES)) == set(inspect.signature(GatherExcite).parameters)


# channels, size and number of the blocks of each stage of a ResNet-50 at 224
STAGES = ((256, 56, 3), (512, 28, 4), (1024, 14, 6), (2048, 7, 3))


@each_case(("variant", "count"), [("theta_minus", 0), ("theta", 5_549_568), ("theta_plus", 8_080_560)])
def test_has_the_parameters_of_the_authors(variant, count):
    """Kernels of 56, 28, 14 and 7 in their prototxts: ResNet-50 of 25.56M then has 31.11M, or 33.64M."""
    total = 0
    for channels, size, number in STAGES:
        arguments = {} if variant == "theta_minus" else {"size": (1, size, size)}
        block = GatherExcite(channels, variant=variant, extent="global", **arguments)
        total += number * sum(parameter.numel() for parameter in block.parameters())
    assert total == count


@each_case(("extent", "number"), [(2, 1), (4, 2), (8, 3)])
def test_each_halving_has_one_convolution(extent, number):
    block = GatherExcite(64, variant="theta", extent=extent)
    assert sum(parameter.numel() for parameter in block.parameters()) == number * (27 + 2) * 64
    image = GatherExcite(64, variant="theta", extent=extent, extent_t=1)
    assert sum(parameter.numel() for parameter in image.parameters()) == number * (9 + 2) * 64


@each_case("ratio", [0.0, -0.5, 1.5, 1 / 64])
def test_a_ratio_out_of_range_is_named(ratio):
    with pytest.raises(ValueError, match=rf"^ratio (is )?{ratio:.3}.*expected"):
        GatherExcite(32, ratio=ratio)


def test_an_unknown_variant_is_named_with_what_is_accepted():
    with pytest.raises(ValueError, match=r"^variant is 'gamma'; expected one of theta_minus, theta, theta_plus$"):
        GatherExcite(32, variant="gamma")


@each_case(
    ("arguments", "message"),
    [
        ({"extent": 0}, "extent is 0; expected a number from 1, or 'global'"),
        ({"extent": 8, "extent_t": -1}, "extent_t is -1; expected a number from 1, or 'global'"),
        ({"extent": "whole"}, "extent is 'whole'; expected a number from 1, or 'global'"),
        ({"extent": 6}, "extent is 6; expected a power of two: theta_plus gathers by halves"),
        ({"variant": "theta", "extent_t": 3}, "extent_t is 3; expected a power of two: theta gathers by halves"),
        (
            {"variant": "theta", "extent": "global"},
            "theta has a weight for each position; expected the size of x as size",
        ),
        ({"extent": "global", "extent_t": 4}, "expected both or neither to be 'global' for theta_plus"),
        ({"extent_t": "global"}, "expected both or neither to be 'global' for theta_plus"),
        ({"size": (8, 7, 7)}, r"size is \(8, 7, 7\), which only a global gather with weights has"),
        (
            {"variant": "theta_minus", "extent": "global", "size": (8, 7, 7)},
            r"size is \(8, 7, 7\), which only a global gather with weights has",
        ),
    ],
)
def test_an_extent_that_a_gather_cannot_have_is_named(arguments, message):
    with pytest.raises(ValueError, match=f"{message}$"):
        GatherExcite(32, **arguments)


@each_case("shape", [(2, CHANNELS, 3, 5, 5), (2, CHANNELS, 2, 5, 4), (2, CHANNELS, 5, 4)])
def test_another_size_than_the_global_kernel_is_named(shape):
    block = make(**GLOBAL)
    given = shape[2:] if len(shape) == 5 else (1, *shape[2:])
    expected = rf"made for size \(3, 5, 4\) .* got \({', '.join(map(str, given))}\)"
    with pytest.raises(ValueError, match=expected):
        block(torch.zeros(shape, dtype=torch.float64))


def test_only_channels_is_positional():
    with pytest.raises(TypeError):
        GatherExcite(CHANNELS, "theta")
