"""Squeeze-Excitation, simplified Non-local and Global Context: against loops, other libraries, and their algebra."""

import inspect

import pytest
import torch
from fvcore.nn.squeeze_excitation import SqueezeExcitation as FvcoreSqueezeExcitation
from pytorchvideo.layers.squeeze_excitation import SqueezeAndExcitationLayer2D
from torchvision.ops import SqueezeExcitation as TorchvisionSqueezeExcitation

from tests.each_case import each_case
from tests.reference import context_loops
from tests.reference.comparison import TOLERANCE, assert_same_function, gradients, random_input, randomized
from videoctx.layers import GlobalContext, SimplifiedNonLocal, SqueezeExcitation

CHANNELS = 6
POOLINGS = ("attention", "average")
FUSIONS = ("add", "scale", "scale_and_add")
VIDEO, IMAGE = (2, CHANNELS, 3, 3, 4), (2, CHANNELS, 3, 4)
SHAPES = (VIDEO, IMAGE, (2, CHANNELS, 1, 1, 3), (1, CHANNELS, 2, 3, 1), (2, CHANNELS, 1, 1))

BLOCKS = {
    "se": lambda: SqueezeExcitation(CHANNELS, ratio=0.5),
    "snl": lambda: SimplifiedNonLocal(CHANNELS),
    **{
        f"gc-{pooling}-{fusion}": lambda pooling=pooling, fusion=fusion: GlobalContext(
            CHANNELS, pooling=pooling, fusion=fusion, ratio=0.5
        )
        for pooling in POOLINGS
        for fusion in FUSIONS
    },
}


each_block = each_case("make_block", [pytest.param(make, id=name) for name, make in BLOCKS.items()])


def layer(tensors, name):
    return tensors[f"{name}.weight"], tensors[f"{name}.bias"]


# Against loops ----------------------------------------------------------------------------------------------------


@each_case("shape", SHAPES)
def test_squeeze_excitation_is_its_equation(shape):
    def reference(x, tensors):
        reduce, expand = layer(tensors, "transform.reduce"), layer(tensors, "transform.expand")
        return context_loops.squeeze_excitation(x, reduce=reduce, expand=expand)

    assert_same_function(randomized(BLOCKS["se"]()), reference, random_input(*shape))


@each_case("shape", SHAPES)
def test_simplified_non_local_is_its_equation(shape):
    def reference(x, tensors):
        key = tensors["context.key.weight"].flatten()
        return context_loops.simplified_non_local(x, key=key, value=layer(tensors, "transform"))

    alone = {"context.key.weight"} if is_one_position(shape) else set()
    assert_same_function(randomized(BLOCKS["snl"]()), reference, random_input(*shape), without_gradient=alone)


@each_case("shape", SHAPES)
@each_case("fusion", FUSIONS)
@each_case("pooling", POOLINGS)
@each_case("layer_norm", [True, False])
def test_global_context_is_its_equation(layer_norm, pooling, fusion, shape):
    def reference(x, tensors):
        def branch(prefix):
            parts = ("reduce", "norm", "expand") if layer_norm else ("reduce", "expand")
            return {part: layer(tensors, f"{prefix}.{part}") for part in parts}

        if fusion == "scale_and_add":
            branches = {"scale": branch("transform.transforms.0"), "add": branch("transform.transforms.1")}
        else:
            branches = {"scale": None, "add": None, fusion: branch("transform")}
        key = tensors["context.key.weight"].flatten() if pooling == "attention" else None
        return context_loops.global_context(x, key=key, **branches)

    block = randomized(GlobalContext(CHANNELS, pooling=pooling, fusion=fusion, layer_norm=layer_norm, ratio=2 / 3))
    alone = {"context.key.weight"} if is_one_position(shape) and pooling == "attention" else set()
    assert_same_function(block, reference, random_input(*shape), without_gradient=alone)


def is_one_position(shape):
    return all(size == 1 for size in shape[2:])


# Against other libraries ------------------------------------------------------------------------------------------


@each_case(
    ("peer", "shape"),
    [
        pytest.param(lambda: TorchvisionSqueezeExcitation(8, 2), (2, 8, 3, 4), id="torchvision"),
        pytest.param(lambda: SqueezeAndExcitationLayer2D(8, reduction_ratio=4), (2, 8, 3, 4), id="pytorchvideo"),
        pytest.param(lambda: FvcoreSqueezeExcitation(8, 2, is_3d=True), (2, 8, 2, 3, 4), id="fvcore"),
    ],
)
def test_squeeze_excitation_agrees_with_other_libraries(peer, shape):
    peer = randomized(peer())
    block = SqueezeExcitation(8, ratio=1 / 4).double()
    # All have two layers with weight and bias, in this order.
    ours = list(block.state_dict().items())
    theirs = list(peer.state_dict().values())
    block.load_state_dict({name: b.reshape(a.shape) for (name, a), b in zip(ours, theirs, strict=True)})
    x = random_input(*shape)
    torch.testing.assert_close(block(x), peer(x), **TOLERANCE)


# At the start -----------------------------------------------------------------------------------------------------


@each_case("shape", [VIDEO, IMAGE])
@each_case(
    ("name", "factor"),
    [
        ("snl", 1),
        *((f"gc-{pooling}-add", 1) for pooling in POOLINGS),
        *((f"gc-{pooling}-{fusion}", 0.5) for pooling in POOLINGS for fusion in FUSIONS[1:]),
    ],
)
def test_starts_as_a_multiple_of_the_identity(name, factor, shape):
    x = random_input(*shape)
    assert torch.equal(BLOCKS[name]().double()(x), factor * x)


def test_squeeze_excitation_does_not_start_as_a_multiple_of_the_identity():
    x = random_input(*VIDEO)
    factor = BLOCKS["se"]().double()(x) / x
    assert factor.std() > 1e-3


@each_block
def test_biases_start_at_zero(make_block):
    biases = {name: parameter for name, parameter in make_block().named_parameters() if name.endswith("bias")}
    assert biases
    assert not any(bias.any() for bias in biases.values())


@each_case("name", ["snl", "gc-attention-add"])
def test_the_key_has_no_bias(name):
    """It would cancel in the softmax."""
    assert {name for name, _ in BLOCKS[name]().context.named_parameters()} == {"key.weight"}


# Algebra ----------------------------------------------------------------------------------------------------------


@each_block
def test_a_permutation_of_the_positions_goes_through(make_block):
    block, x = randomized(make_block()), random_input(*VIDEO)
    order = torch.randperm(x[0, 0].numel(), generator=torch.Generator().manual_seed(3))

    def permuted(x):
        return x.flatten(2)[:, :, order].reshape(x.shape)

    assert not torch.allclose(permuted(x), x)
    torch.testing.assert_close(block(permuted(x)), permuted(block(x)), **TOLERANCE)


@each_block
def test_samples_do_not_see_each_other(make_block):
    block, x = randomized(make_block()), random_input(*VIDEO)
    torch.testing.assert_close(block(x)[1:], block(x[1:]), **TOLERANCE)


@each_block
def test_an_image_is_a_video_of_one_frame(make_block):
    block, image = randomized(make_block()), random_input(*IMAGE)
    torch.testing.assert_close(block(image.unsqueeze(2)).squeeze(2), block(image), **TOLERANCE)


@each_block
def test_the_frames_share_one_context(make_block):
    """One context over space and time: a video that repeats an image has the image's own context."""
    block, image = randomized(make_block()), random_input(*IMAGE)
    video = block(image.unsqueeze(2).expand(-1, -1, 3, -1, -1))
    torch.testing.assert_close(video, block(image).unsqueeze(2).expand_as(video), **TOLERANCE)
    one_frame_differs = torch.cat([image.unsqueeze(2), -image.unsqueeze(2)], dim=2)
    assert not torch.allclose(block(one_frame_differs)[:, :, 0], block(image))


@each_case("fusion", FUSIONS)
def test_attention_with_a_constant_key_is_the_average(fusion):
    attention = randomized(BLOCKS[f"gc-attention-{fusion}"]())
    average = randomized(BLOCKS[f"gc-average-{fusion}"]())
    average.load_state_dict(attention.state_dict(), strict=False)
    x = random_input(*VIDEO)
    assert not torch.allclose(attention(x), average(x))
    torch.nn.init.zeros_(attention.context.key.weight)
    torch.testing.assert_close(attention(x), average(x), **TOLERANCE)


def test_a_strong_key_picks_one_position():
    block = randomized(SimplifiedNonLocal(CHANNELS))
    x = random_input(1, CHANNELS, 2, 2, 3)
    with torch.no_grad():
        block.context.key.weight.mul_(1e6)
    best = block.context.key(x).argmax()
    torch.testing.assert_close(block.context(x).flatten(), x.flatten(2)[0, :, best], **TOLERANCE)


def test_squeeze_excitation_is_global_context_without_its_norm():
    """GCNet, section 3.3: average pooling, scale, and no LayerNorm."""
    without = GlobalContext(CHANNELS, pooling="average", fusion="scale", layer_norm=False, ratio=0.5)
    gc, se = randomized(without), randomized(BLOCKS["se"]())
    se.load_state_dict(gc.state_dict())
    x = random_input(*VIDEO)
    torch.testing.assert_close(gc(x), se(x), **TOLERANCE)


@each_case(("shape", "layout"), [(VIDEO, torch.channels_last_3d), (IMAGE, torch.channels_last)])
@each_block
def test_channels_last_gives_the_same(make_block, shape, layout):
    block, x = randomized(make_block()), random_input(*shape)
    last = x.detach().to(memory_format=layout).requires_grad_()
    assert not last.is_contiguous()
    torch.testing.assert_close(block(last), block(x), **TOLERANCE)
    torch.testing.assert_close(gradients(block(last), [last]), gradients(block(x), [x]), **TOLERANCE)


# Arguments --------------------------------------------------------------------------------------------------------

CHANGES = [
    (SqueezeExcitation, {"ratio": 1 / 2}),
    (GlobalContext, {"ratio": 1 / 2}),
    (GlobalContext, {"pooling": "average"}),
    (GlobalContext, {"fusion": "scale"}),
    (GlobalContext, {"fusion": "scale_and_add"}),
    (GlobalContext, {"layer_norm": False}),
]


@each_case(("kind", "change"), CHANGES)
def test_every_argument_changes_something(kind, change):
    x = random_input(2, 16, 2, 3, 3)
    assert not torch.allclose(randomized(kind(16, **change))(x), randomized(kind(16))(x))


def test_every_argument_is_among_the_changes():
    for kind in (SqueezeExcitation, SimplifiedNonLocal, GlobalContext):
        changed = {name for other, change in CHANGES if other is kind for name in change}
        assert {"channels", *changed} == set(inspect.signature(kind).parameters)


@each_case(
    ("kind", "ratio", "width"),
    [
        (SqueezeExcitation, 1 / 16, 2),
        (SqueezeExcitation, 1, 32),
        (GlobalContext, 1 / 3, 10),
        (GlobalContext, 1 / 32, 1),
    ],
)
def test_the_ratio_is_rounded_down(kind, ratio, width):
    assert kind(32, ratio=ratio).transform.reduce.weight.shape == (width, 32)


@each_case("kind", [SqueezeExcitation, GlobalContext])
def test_the_default_ratio_is_the_papers(kind):
    assert kind(64).transform.reduce.weight.shape == (4, 64)


@each_case("kind", [SqueezeExcitation, GlobalContext])
@each_case("ratio", [0.0, -0.5, 1.5, float("nan"), 1 / 64])
def test_a_ratio_out_of_range_is_named(kind, ratio):
    with pytest.raises(ValueError, match=rf"ratio (is )?{ratio:.3}.*expected"):
        kind(32, ratio=ratio)


@each_case(("argument", "accepted"), [("pooling", "attention, average"), ("fusion", "add, scale, scale_and_add")])
def test_an_unknown_choice_is_named_with_what_is_accepted(argument, accepted):
    with pytest.raises(ValueError, match=f"{argument} is 'max'; expected one of {accepted}"):
        GlobalContext(CHANNELS, **{argument: "max"})


@each_case(("kind", "arguments"), [(SqueezeExcitation, (0.5,)), (GlobalContext, ("attention",))])
def test_only_channels_is_positional(kind, arguments):
    with pytest.raises(TypeError):
        kind(CHANNELS, *arguments)
