"""Attention-augmented convolution against loops over pairs, against torch's attention, and its algebra."""

import inspect

import pytest
import torch
from torch import nn

from tests.each_case import each_case
from tests.reference import attention_augmented_loops
from tests.reference.comparison import TOLERANCE, assert_same_function, gradients, random_input, randomized
from videoctx.layers.attention_augmented import AttentionAugmentedConv3d, halve_until
from videoctx.layers.conv import Conv3dKind, plain_conv3d

IN, OUT = 4, 10
CLIP = (2, IN, 2, 3, 4)

# 2 heads of 3 key and 2 value channels: attention gives 4 of the 10 channels.
SMALL = {"num_heads": 2, "key_ratio": 0.6, "value_ratio": 0.5, "min_key_channels": 1}


def make(in_channels=IN, out_channels=OUT, **arguments):
    return randomized(AttentionAugmentedConv3d(in_channels, out_channels, **SMALL | arguments))


def reference_of(conv):
    """The loops for a convolution, on x and its tensors."""

    def reference(x, tensors):
        attention = conv.attention
        w_q, w_k, w_v = tensors["attention.qkv.weight"].flatten(1).split(attention.widths)
        names = [f"attention.positions.embeddings.{axis}" for axis in range(3)]
        return attention_augmented_loops.attention_augmented(
            x,
            kernel=tensors["conv.weight"],
            stride=conv.conv.stride,
            groups=conv.conv.groups,
            w_q=w_q,
            w_k=w_k,
            w_v=w_v,
            w_o=tensors["attention.project.weight"].flatten(1),
            num_heads=attention.num_heads,
            embeddings=[tensors[name] for name in names] if attention.positions else None,
            max_size=attention.max_size,
        )

    return reference


def blind(conv, shape):
    """The distance along an axis of one place is a constant, which cancels in the softmax."""
    grid = halve_until(
        torch.zeros(shape)[:, :, *(slice(None, None, s) for s in conv.conv.stride)], conv.attention.max_size
    )
    return {f"attention.positions.embeddings.{axis}" for axis in range(3) if grid.shape[2 + axis] == 1}


# Against loops ----------------------------------------------------------------------------------------------------


@each_case(
    "arguments",
    [
        {},
        {"kernel_size": (3, 1, 3)},
        {"stride": (1, 2, 2)},
        {"stride": (2, 1, 2)},
        {"groups": 2},
        {"num_heads": 1},
        {"value_ratio": 0.2},
        {"max_size": (2, 2, 3)},
    ],
)
def test_is_its_equation(arguments):
    conv, shape = make(**arguments), (1, *CLIP[1:])
    assert_same_function(conv, reference_of(conv), random_input(*shape), without_gradient=blind(conv, shape))


@each_case("sizes", [(3, 1, 5), (1, 3, 3), (2, 5, 1), (1, 1, 3)])
@each_case("stride", [(1, 1, 1), (1, 2, 2)])
@each_case("max_size", [(8, 16, 16), (2, 2, 2)])
def test_odd_sizes_are_in_the_equation(sizes, stride, max_size):
    conv, shape = make(stride=stride, max_size=max_size), (2, IN, *sizes)
    assert_same_function(conv, reference_of(conv), random_input(*shape), without_gradient=blind(conv, shape))


@each_case("max_size", [(8, 16, 16), (1, 2, 2)])
def test_is_its_equation_without_positions(max_size):
    conv = make(relative=False, max_size=max_size)
    assert_same_function(conv, reference_of(conv), random_input(*CLIP))


def test_training_is_no_different():
    conv, x = make(), random_input(*CLIP)
    assert torch.equal(conv.train()(x), conv.eval()(x))


# Against torch ----------------------------------------------------------------------------------------------------


def test_attention_without_positions_is_torchs():
    """`nn.MultiheadAttention` has as many channels in as out, and all of them in q, k and v."""
    conv = make(8, 16, key_ratio=0.5, value_ratio=0.5, relative=False)
    peer = nn.MultiheadAttention(8, num_heads=2, bias=False, batch_first=True).double()
    weights = (conv.attention.qkv.weight, conv.attention.project.weight)
    names = ("in_proj_weight", "out_proj.weight")
    peer.load_state_dict({name: weight.flatten(1) for name, weight in zip(names, weights, strict=True)})
    x = random_input(2, 8, 2, 3, 3)
    positions = x.flatten(2).transpose(1, 2)
    expected, _ = peer(positions, positions, positions)
    torch.testing.assert_close(conv(x)[:, 8:].flatten(2).transpose(1, 2), expected, **TOLERANCE)


@each_case("arguments", [{}, {"kernel_size": (3, 5, 1)}, {"stride": (2, 2, 2)}, {"groups": 2}])
def test_the_first_channels_are_the_plain_convolution(arguments):
    conv, x = make(**arguments), random_input(*CLIP)
    plain = plain_conv3d(IN, 6, **{"kernel_size": (1, 3, 3)} | arguments).double()
    plain.load_state_dict(conv.conv.state_dict())
    torch.testing.assert_close(conv(x)[:, :6], plain(x), **TOLERANCE)


# The signature of a convolution -----------------------------------------------------------------------------------


@each_case("max_size", [(8, 16, 16), (1, 2, 2)])
@each_case("stride", [(1, 1, 1), (1, 2, 2), (2, 2, 2), (1, 1, 3)])
@each_case("sizes", [(2, 6, 4), (3, 5, 7), (1, 1, 2)])
def test_gives_the_sizes_of_the_plain_convolution(sizes, stride, max_size):
    x = random_input(1, IN, *sizes)
    plain = plain_conv3d(IN, OUT, kernel_size=(1, 3, 3), stride=stride).double()
    assert make(stride=stride, max_size=max_size)(x).shape == plain(x).shape


def test_obeys_the_signature_of_every_kind():
    ours, kind = (inspect.signature(function) for function in (AttentionAugmentedConv3d, Conv3dKind.__call__))
    for name, parameter in list(kind.parameters.items())[1:]:
        assert ours.parameters[name].kind == parameter.kind, name
        assert ours.parameters[name].annotation == parameter.annotation, name
    assert all(p.default is not p.empty for p in ours.parameters.values() if p.kind == p.KEYWORD_ONLY)
    assert not any(name.endswith("bias") for name, _ in make().named_parameters())


# At the start -----------------------------------------------------------------------------------------------------


def test_the_distances_start_as_the_paper_has_them():
    """Gaussian with standard deviation 1 / √d."""
    torch.manual_seed(0)
    conv = AttentionAugmentedConv3d(64, 64, max_size=(99, 100, 101))
    for embedding in conv.attention.positions.embeddings:
        assert embedding.std().item() == pytest.approx(20**-0.5, rel=0.05)


def test_learns_from_the_start():
    conv, x = AttentionAugmentedConv3d(IN, OUT, **SMALL).double(), random_input(*CLIP)
    conv(x).pow(3).sum().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in conv.parameters())


# Algebra ----------------------------------------------------------------------------------------------------------


def test_without_positions_attention_does_not_see_where_anything_is():
    """Relative or not, a permutation of the positions goes through if it keeps all distances, and else only without."""
    x = random_input(*CLIP)
    order = torch.randperm(24, generator=torch.Generator().manual_seed(3))

    def permuted(x):
        return x.flatten(2)[:, :, order].reshape(x.shape)

    blind_to_place, relative = make(relative=False).attention, make().attention
    torch.testing.assert_close(blind_to_place(permuted(x)), permuted(blind_to_place(x)), **TOLERANCE)
    assert not torch.allclose(relative(permuted(x)), permuted(relative(x)))


@each_case("axis", range(3))
def test_a_mirror_image_sees_the_distances_mirrored(axis):
    mirrored, attention = make().attention, make().attention
    with torch.no_grad():
        mirrored.positions.embeddings[axis].copy_(attention.positions.embeddings[axis].flip(0))
    x = random_input(*CLIP)
    torch.testing.assert_close(mirrored(x.flip(2 + axis)), attention(x).flip(2 + axis), **TOLERANCE)
    assert not torch.allclose(attention(x.flip(2 + axis)), attention(x).flip(2 + axis))


def test_distances_of_zero_are_none():
    relative, without = make(), make(relative=False)
    without.load_state_dict({name: value for name, value in relative.state_dict().items() if "positions" not in name})
    for embedding in relative.attention.positions.embeddings:
        nn.init.zeros_(embedding)
    x = random_input(*CLIP)
    torch.testing.assert_close(relative(x), without(x), **TOLERANCE)


def test_a_larger_table_of_distances_changes_nothing():
    """It is indexed from its middle: what is learned at one size serves every smaller one."""
    small, large = make(max_size=(2, 3, 4)), make(max_size=(5, 7, 6))
    state = small.state_dict()
    for axis, (embedding, length) in enumerate(zip(large.attention.positions.embeddings, (2, 3, 4), strict=True)):
        name, middle = f"attention.positions.embeddings.{axis}", len(embedding) // 2
        state[name] = embedding.detach().index_copy(0, torch.arange(middle - length + 1, middle + length), state[name])
    large.load_state_dict(state)
    x = random_input(*CLIP)
    torch.testing.assert_close(large(x), small(x), **TOLERANCE)


def test_the_heads_share_the_distances_and_nothing_else():
    conv = make()
    assert [tuple(embedding.shape) for embedding in conv.attention.positions.embeddings] == [(15, 3), (31, 3), (31, 3)]
    x = random_input(*CLIP)
    first_value = conv.attention.qkv.weight[12]  # after 6 of q and 6 of k: the first head's first
    nn.init.eye_(conv.attention.project.weight.data[:, :, 0, 0, 0])
    (gradient,) = torch.autograd.grad(conv.attention(x)[:, 2:].sum(), conv.attention.qkv.weight)
    assert first_value.any()
    for part in (slice(0, 3), slice(6, 9), slice(12, 14)):  # q, k and v of the first head
        assert not gradient[part].any()
    for part in (slice(3, 6), slice(9, 12), slice(14, 16)):
        assert gradient[part].any()


def test_samples_do_not_see_each_other():
    conv, x = make(), random_input(*CLIP)
    torch.testing.assert_close(conv(x)[1:], conv(x[1:]), **TOLERANCE)


def test_channels_last_gives_the_same():
    conv, x = make(), random_input(*CLIP)
    last = x.detach().to(memory_format=torch.channels_last_3d).requires_grad_()
    assert not last.is_contiguous()
    torch.testing.assert_close(conv(last), conv(x), **TOLERANCE)
    torch.testing.assert_close(gradients(conv(last), [last]), gradients(conv(x), [x]), **TOLERANCE)


# A grid that is too large -----------------------------------------------------------------------------------------


@each_case(
    ("sizes", "max_size", "left"),
    [
        ((8, 56, 56), (8, 16, 16), (8, 14, 14)),
        ((8, 16, 14), (8, 16, 16), (8, 16, 14)),
        ((9, 17, 7), (8, 16, 16), (5, 9, 7)),
        ((5, 3, 2), (1, 1, 1), (1, 1, 1)),
    ],
)
def test_halves_the_axes_that_are_too_long_until_they_are_not(sizes, max_size, left):
    assert halve_until(torch.zeros(1, 1, *sizes), max_size).shape[2:] == left


def test_a_constant_is_halved_to_itself():
    """Also at the border."""
    x = random_input(2, IN, 1, 1, 1).expand(-1, -1, 3, 6, 5)
    torch.testing.assert_close(halve_until(x, (2, 3, 1)), x[:, :, :2, :3, :1], **TOLERANCE)


# Arguments --------------------------------------------------------------------------------------------------------

CHANGES = [
    {"kernel_size": (3, 3, 3)},
    {"stride": (1, 2, 2)},
    {"groups": 2},
    {"num_heads": 1},
    {"key_ratio": 0.2},
    {"value_ratio": 0.2},
    {"min_key_channels": 5},
    {"relative": False},
    {"max_size": (8, 2, 16)},
]


@each_case("change", CHANGES)
def test_every_argument_changes_something(change):
    x = random_input(*CLIP)
    before, after = make()(x), make(**change)(x)
    assert before.shape != after.shape or not torch.allclose(before, after)


def test_every_argument_is_among_the_changes():
    assert {"in_channels", "out_channels"}.union(*CHANGES) == set(
        inspect.signature(AttentionAugmentedConv3d).parameters
    )


@each_case(
    ("out_channels", "key_channels", "value_channels"),
    [(64, 160, 8), (128, 160, 8), (256, 160, 24), (512, 160, 48), (1024, 200, 96)],
)
def test_keys_and_values_are_multiples_of_the_heads(out_channels, key_channels, value_channels):
    """κ = 0.2 and υ = 0.1, rounded down; but 20 key channels a head at least, as in the paper, and 1 value channel."""
    conv = AttentionAugmentedConv3d(32, out_channels)
    assert conv.attention.widths == (key_channels, key_channels, value_channels)
    assert conv.conv.out_channels == out_channels - value_channels
    assert conv.attention.qkv.weight.shape[:2] == (2 * key_channels + value_channels, 32)


@each_case(
    ("blocks", "plain", "printed"),
    [((4, 6, 3), 25_557_032, 25.8), ((4, 23, 3), 44_549_160, 45.4), ((8, 36, 3), 60_192_808, 61.6)],
)
def test_has_the_parameters_that_the_paper_prints(blocks, plain, printed):
    """On ImageNet, in millions: every 3×3 of the last three stages is augmented."""
    total = plain
    for number, channels, size in zip(blocks, (128, 256, 512), (28, 14, 7), strict=True):
        conv = AttentionAugmentedConv3d(channels, channels, max_size=(1, size, size))
        total += number * (sum(parameter.numel() for parameter in conv.parameters()) - 9 * channels**2)
    assert round(total / 1e6, 1) == printed


@each_case(
    ("arguments", "message"),
    [
        ({"num_heads": 0}, "num_heads is 0; expected at least 1"),
        ({"min_key_channels": 0}, "min_key_channels is 0; expected at least 1"),
        ({"max_size": (8, 0, 16)}, "max_size is 0; expected at least 1"),
        ({"key_ratio": 0.0}, "key_ratio is 0.0; expected more than 0"),
        ({"value_ratio": -0.5}, "value_ratio is -0.5; expected more than 0"),
        ({"value_ratio": float("nan")}, "value_ratio is nan; expected more than 0"),
        ({"kernel_size": (1, 2, 3)}, r"kernel_size is \(1, 2, 3\); expected odd numbers, to stay on attention's grid"),
        ({"value_ratio": 1}, "takes 16 of 16 channels and leaves the convolution none; expected a smaller value_ratio"),
        (
            {"num_heads": 16},
            "takes 16 of 16 channels .* expected a smaller value_ratio than 0.1, or fewer heads than 16",
        ),
        ({"groups": 3}, "groups is 3, which does not divide the convolution's 8 channels in and 8 out; attention has"),
        ({"groups": 8, "num_heads": 2}, "does not divide .* 8 channels in and 14 out; attention has the other 2 of 16"),
    ],
)
def test_what_cannot_be_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        AttentionAugmentedConv3d(8, 16, **arguments)


def test_only_the_channels_are_positional():
    with pytest.raises(TypeError):
        AttentionAugmentedConv3d(IN, OUT, (1, 3, 3))
