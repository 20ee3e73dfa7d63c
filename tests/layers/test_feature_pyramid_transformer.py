"""The three transformers of the Feature Pyramid Transformer against loops, the neck, and the neck in a network."""

import inspect
from functools import partial

import pytest
import torch

from tests.each_case import each_case
from tests.reference.comparison import TOLERANCE, assert_same_function, gradients, random_input, randomized
from tests.reference.feature_pyramid_transformer_loops import (
    grounding_transformer,
    rendering_transformer,
    self_transformer,
)
from videoctx.layers.feature_pyramid_transformer import (
    FeaturePyramidTransformer,
    GroundingTransformer,
    RenderingTransformer,
    SelfTransformer,
)
from videoctx.models import ResNet3D
from videoctx.models.load_weights import load_weights
from videoctx.models.network_config import build_network


def assert_same_function_of_two(module, reference, first, second):
    """Values, and gradients for both maps and every parameter."""
    tensors = dict(module.named_parameters())
    value, expected = module(first, second), reference(first, second, {**tensors, **dict(module.named_buffers())})
    torch.testing.assert_close(value, expected, **TOLERANCE)
    leaves = [first, second, *tensors.values()]
    for name, found, truth in zip(
        ["first", "second", *tensors], gradients(value, leaves), gradients(expected, leaves), strict=True
    ):
        torch.testing.assert_close(found, truth, rtol=1e-9, atol=1e-11, msg=lambda text, name=name: f"{name}: {text}")


# Against loops ----------------------------------------------------------------------------------------------------


@each_case("shape", [(2, 4, 2, 3, 4), (1, 4, 1, 1, 1)])
@each_case("subsample", [True, False])
@each_case("num_softmaxes", [1, 2])
def test_the_self_transformer_is_its_loops(num_softmaxes, subsample, shape):
    module = randomized(SelfTransformer(4, num_softmaxes=num_softmaxes, subsample=subsample))
    cancel = {"attention.mixture", "key.bias"} if num_softmaxes == 1 else set()  # in a softmax
    if shape[2:] == (1, 1, 1):
        cancel = {"query.weight", "query.bias", "key.weight", "key.bias", "attention.mixture"}
    assert_same_function(
        module,
        lambda x, tensors: self_transformer(x, tensors, subsample=subsample),
        random_input(*shape),
        without_gradient=cancel,
    )


@each_case("sizes", [((3, 3, 5), (2, 2, 3)), ((1, 2, 2), (1, 1, 1))])
@each_case(("num_softmaxes", "window"), [(1, None), (2, None), (1, (1, 3, 3)), (2, (3, 1, 5))])
def test_the_grounding_transformer_is_its_loops(num_softmaxes, window, sizes):
    low, high = (random_input(2, 4, *size, seed=seed) for seed, size in enumerate(sizes))
    module = randomized(GroundingTransformer(4, num_softmaxes=num_softmaxes, window=window))
    assert_same_function_of_two(module, partial(grounded, window=window), low, high)


def grounded(low, high, tensors, *, window):
    return grounding_transformer(low, high, tensors, window=window)


@each_case("sizes", [((1, 2, 3), (2, 4, 6)), ((2, 2, 2), (2, 7, 8)), ((1, 1, 1), (3, 3, 3))])
def test_the_rendering_transformer_is_its_loops(sizes):
    high, low = (random_input(2, 3, *size, seed=seed) for seed, size in enumerate(sizes))
    assert_same_function_of_two(randomized(RenderingTransformer(3)), rendering_transformer, high, low)


# The neck ---------------------------------------------------------------------------------------------------------

SIZES = ((4, 6, 8, 8), (8, 6, 4, 4), (16, 3, 2, 2))
CHANNELS = [size[0] for size in SIZES]


def pyramid():
    return [random_input(2, *size, seed=seed).detach() for seed, size in enumerate(SIZES)]


def neck(**arguments):
    return randomized(FeaturePyramidTransformer(CHANNELS, **{"width": 4} | arguments))


def test_a_level_is_its_transformed_maps_reduced():
    """The parts by themselves, in the order of the concatenation."""
    module, maps = neck(), pyramid()
    with torch.no_grad():
        low, middle, high = (lateral(x) for lateral, x in zip(module.lateral, maps, strict=True))
        levels = [
            [
                low,
                module.transform_self[0](low),
                module.grounding["0_1"](low, middle),
                module.grounding["0_2"](low, high),
            ],
            [
                *(middle, module.transform_self[1](middle), module.grounding["1_2"](middle, high)),
                module.rendering["1_0"](middle, low),
            ],
            [
                *(high, module.transform_self[2](high)),
                *(module.rendering["2_0"](high, low), module.rendering["2_1"](high, middle)),
            ],
        ]
        reduced = [reduce(torch.cat(parts, dim=1)) for reduce, parts in zip(module.reduce, levels, strict=True)]
        blocks = [
            reduced[0].unfold(2, 2, 2).unfold(3, 4, 4).unfold(4, 4, 4).mean(dim=(5, 6, 7)),
            reduced[1].unfold(2, 2, 2).unfold(3, 2, 2).unfold(4, 2, 2).mean(dim=(5, 6, 7)),
            reduced[2],
        ]
        torch.testing.assert_close(module(maps), torch.cat(blocks, dim=1), **TOLERANCE)
    assert module.out_channels == 12


CHANGES = [
    *({"width": 8}, {"num_softmaxes": 4}, {"window": (1, 1, 3)}, {"window": None}, {"subsample": False}),
    *({"parts": ["self"]}, {"parts": ["self", "grounding"]}, {"parts": ["grounding", "rendering"]}),
]


@torch.no_grad()
@each_case("change", CHANGES)
def test_every_argument_changes_something(change):
    before, after = neck()(pyramid()), neck(**change)(pyramid())
    assert before.shape != after.shape or not torch.allclose(before, after)


def test_every_argument_is_among_the_changes():
    changed = set().union(*CHANGES) | {"channels"}
    assert changed == set(inspect.signature(FeaturePyramidTransformer).parameters)


def test_what_cannot_be_is_named():
    for arguments, message in (
        ({"parts": ["self", "cross"]}, "parts has cross; expected some of self, grounding, rendering"),
        ({"num_softmaxes": 3}, "num_softmaxes is 3; expected a divisor of the width, 4"),
        ({"window": (2, 3, 3)}, r"window is \(2, 3, 3\); expected odd numbers"),
    ):
        with pytest.raises(ValueError, match=message):
            neck(**arguments)
    with pytest.raises(ValueError, match="two maps or more; got 1"):
        FeaturePyramidTransformer([4])
    with pytest.raises(ValueError, match="got 2 maps; expected 3"):
        neck()(pyramid()[:2])
    with pytest.raises(ValueError, match="expected the largest first"):
        neck()([pyramid()[0][:, :, :, :3, :3], *pyramid()[1:]])


# In a network -----------------------------------------------------------------------------------------------------

SMALL = {"depth": 18, "width": 8, "temporal_kernels": "r3d", "pool2_t": (1, 1)}
NECK = partial(FeaturePyramidTransformer, width=8, window=(1, 3, 3))


@torch.no_grad()
@each_case("arguments", [{}, {"stage_stride_t": (1, 2, 2, 2)}, {"depth": 50, "temporal_kernels": "slow"}])
def test_the_classifier_sees_what_the_neck_makes_of_the_last_three_stages(arguments):
    torch.manual_seed(0)
    net = ResNet3D(5, **SMALL | arguments, neck=NECK).double().eval()
    maps = []
    for stage in (net.res3, net.res4, net.res5):
        stage.register_forward_hook(lambda *called: maps.append(called[2]))
    logits = net(torch.randn(2, 3, 5, 48, 64, generator=torch.Generator().manual_seed(1), dtype=torch.float64))
    torch.testing.assert_close(logits, net.head(net.neck(maps).mean(dim=(2, 3, 4))))
    assert net.head.in_features == 24


def test_a_network_is_built_again_from_its_config():
    net = ResNet3D(5, **SMALL, neck=NECK)
    again = build_network(net.config, 5)
    assert repr(again) == repr(net)
    assert again.state_dict().keys() == net.state_dict().keys()


def test_weights_without_a_neck_leave_it_and_the_classifier_as_they_are():
    source, net = ResNet3D(5, **SMALL), ResNet3D(5, **SMALL, neck=NECK)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    with pytest.raises(ValueError, match=r"missing \(neck\."):
        load_weights(net, source.state_dict())
    report = load_weights(net, source.state_dict(), allow_new_blocks=True)
    assert all(name.startswith("neck.") for name in report.missing)
    assert report.reshaped.keys() == {"head.weight"}
    after = net.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in after if name.startswith(("neck.", "head.weight")))
    assert torch.equal(after["res5.1.conv2.weight"], source.res5[1].conv2.weight)


def test_logits_in_bfloat16_are_those_of_float32():
    torch.manual_seed(0)
    net, clip = ResNet3D(5, **SMALL, neck=NECK).eval(), torch.randn(1, 3, 4, 64, 64)
    with torch.no_grad():
        expected = net(clip)
        with torch.autocast("cpu", torch.bfloat16):
            torch.testing.assert_close(net(clip).float(), expected, rtol=0.1, atol=0.02)


def test_nan_in_a_map_or_in_a_parameter_is_in_the_output():
    module, maps = neck().float().train(), [x.float() for x in pyramid()]
    assert module(maps).isfinite().all()
    for number in range(3):
        broken = [x.clone() for x in maps]
        broken[number][0, 0, 0, 0, 0] = torch.nan
        assert module(broken).isnan().any(), number
    for name, parameter in module.named_parameters():
        kept = parameter.detach().clone()
        parameter.data.view(-1)[0] = torch.nan
        assert module(maps).isnan().any(), name
        parameter.data.copy_(kept)
