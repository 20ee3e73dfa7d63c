"""The bilinear attentional transform against loops over rows, columns, frames and channels, and its algebra."""

import inspect

import pytest
import torch
from torch import nn

from tests.each_case import each_case
from tests.reference.bilinear_attention_loops import bilinear_attention
from tests.reference.comparison import TOLERANCE, assert_same_function, gradients, random_input, randomized
from videoctx.layers.bilinear_attention import BilinearAttentionalTransform, ChannelDropout
from videoctx.layers.pointwise import BatchNorm

CHANNELS = 8
VIDEO, IMAGE = (2, CHANNELS, 4, 4, 6), (2, CHANNELS, 4, 6)
SMALL = {"grid_size": 2, "temporal_grid_size": 2, "num_groups": 2, "num_temporal_groups": 4}


def make(**arguments):
    return BilinearAttentionalTransform(CHANNELS, **{**SMALL, **arguments})


def mixing_of(block):
    return block.context[-1]


def alive(block):
    """Raises what goes into each ReLU, lest a feature be zero everywhere and what is before it have no gradient."""
    with torch.no_grad():
        for layer in block.modules():
            if isinstance(layer, BatchNorm):
                layer.bias.add_(1.0)
    return block


# Against loops ----------------------------------------------------------------------------------------------------


def reference_of(**arguments):
    arguments = {**SMALL, **arguments}

    def reference(x, tensors):
        def convolution(prefix, index):
            parts = ("weight", "bias", "running_mean", "running_var")
            return tensors[f"{prefix}.{index}.weight"], [tensors[f"{prefix}.{index + 1}.{part}"] for part in parts]

        def predictor(name):
            return tensors[f"context.3.{name}.predict.weight"], tensors[f"context.3.{name}.predict.bias"]

        mixes_frames = arguments["num_temporal_groups"] > 0 and x.ndim == 5
        return bilinear_attention(
            x,
            reduce_to=convolution("context", 0),
            features=convolution("context.3.features", 0),
            rows=predictor("rows"),
            columns=predictor("columns"),
            frames=predictor("frames") if mixes_frames else None,
            mix=convolution("transform", 0),
            expand=convolution("transform", 3),
            **arguments,
        )

    return reference


@each_case(
    ("sizes", "arguments"),
    [
        pytest.param((4, 4, 6), {}, id="cells of 2 × 3, spans of 2"),
        pytest.param((2, 2, 2), {}, id="cells and spans of one"),
        pytest.param((3, 3, 5), {}, id="not a whole number of cells"),
        pytest.param((5, 6, 4), {"grid_size": 3, "temporal_grid_size": 3}, id="not a whole number of spans"),
        pytest.param((3, 6, 3), {"grid_size": 3, "temporal_grid_size": 3, "num_groups": 4}, id="grid of 3"),
        pytest.param((2, 4, 2), {"num_temporal_groups": 1, "num_groups": 1}, id="one group"),
        pytest.param((2, 4, 2), {"num_temporal_groups": 0}, id="frames apart"),
        pytest.param((1, 4, 2), {"temporal_grid_size": 1}, id="one span"),
    ],
)
def test_is_its_equation(sizes, arguments):
    one_span = {"context.3.frames.predict.weight", "context.3.frames.predict.bias"}
    without_gradient = one_span if arguments.get("temporal_grid_size") == 1 else set()
    block, x = alive(randomized(make(**arguments))), random_input(2, CHANNELS, *sizes)
    assert_same_function(block, reference_of(**arguments), x, without_gradient=without_gradient)


@each_case("sizes", [(4, 6), (3, 5), (2, 2)])
def test_is_its_equation_on_images(sizes):
    arguments = {"num_temporal_groups": 0}
    x = random_input(2, CHANNELS, *sizes)
    assert_same_function(alive(randomized(make(**arguments))), reference_of(**arguments), x)


def test_batch_norm_in_training_takes_the_statistics_of_the_batch():
    block, x = randomized(make(dropout=0.0)), random_input(*VIDEO)
    tensors = dict(block.state_dict())
    inputs = {}
    for name, layer in block.named_modules():
        if isinstance(layer, BatchNorm):
            layer.register_forward_pre_hook(lambda _, args, name=name: inputs.update({name: args[0].detach()}))
    value = block.train()(x)
    for name, y in inputs.items():
        tensors[f"{name}.running_mean"] = y.mean((0, 2, 3, 4))
        tensors[f"{name}.running_var"] = y.var((0, 2, 3, 4), correction=0)
    assert len(inputs) == 4
    torch.testing.assert_close(value, reference_of()(x, tensors), **TOLERANCE)


# At the start -----------------------------------------------------------------------------------------------------


@each_case("shape", [VIDEO, IMAGE])
def test_does_not_start_as_the_identity(shape):
    """γ = 1, as in the authors' code; and it only ever adds, after a ReLU."""
    torch.manual_seed(0)
    block, x = make().double().eval(), random_input(*shape)
    added = block(x) - x
    assert added.min() >= 0
    assert added.max() > 0.1
    norms = [layer for layer in block.modules() if isinstance(layer, BatchNorm)]
    assert len(norms) == 4
    assert all(torch.equal(norm.weight, torch.ones_like(norm.weight)) for norm in norms)


def test_learns_from_the_start():
    torch.manual_seed(0)
    block = BilinearAttentionalTransform(16, grid_size=3, temporal_grid_size=2).double()
    block(random_input(2, 16, 4, 6, 6)).pow(3).sum().backward()
    assert all(parameter.grad.abs().max() > 1e-8 for parameter in block.parameters())
    biases = {name for name, parameter in block.named_parameters() if not parameter.any()}
    assert biases == {name for name, _ in block.named_parameters() if name.endswith("bias")}


# Algebra ----------------------------------------------------------------------------------------------------------


def fix(matrices, logits):
    """Makes all predicted matrices the softmax of `logits` (s, s), whatever the input."""
    nn.init.zeros_(matrices.predict.weight)
    with torch.no_grad():
        matrices.predict.bias.copy_(logits.double().expand(matrices.shape).flatten())


def fixed(mixing, *, rows, columns, frames=None):
    fix(mixing.rows, rows)
    fix(mixing.columns, columns)
    fix(mixing.frames, 1e3 * torch.eye(mixing.temporal_grid_size) if frames is None else frames)
    return mixing


def test_is_a_product_with_stretched_matrices():
    """As the authors write it: T ⊗ 1, P ⊗ 1 and Q ⊗ 1 as large as the map, one for each group of channels."""
    mixing = mixing_of(randomized(make()))
    x = random_input(1, 4, 4, 4, 6)
    found = {}
    for name in ("rows", "columns", "frames"):
        getattr(mixing, name).register_forward_hook(lambda _, __, y, name=name: found.update({name: y}))
    value = mixing(x)[0]
    assert [tuple(found[name].shape) for name in ("rows", "columns", "frames")] == [
        (1, 4, 2, 2, 2),
        (1, 4, 2, 2, 2),
        (1, 4, 2, 2),
    ]
    for channel in range(4):
        p = [torch.kron(found["rows"][0, t, channel // 2], torch.eye(2)) for t in range(4)]
        q = [torch.kron(found["columns"][0, t, channel // 2], torch.eye(3)) for t in range(4)]
        y = torch.stack([p[t] @ x[0, channel, t] @ q[t] for t in range(4)])
        y = torch.einsum("tu,uhw->thw", torch.kron(found["frames"][0, channel], torch.eye(2)), y)
        torch.testing.assert_close(value[channel], y, **TOLERANCE)


def test_the_rows_of_p_and_t_and_the_columns_of_q_sum_to_one():
    mixing = mixing_of(randomized(make(grid_size=3, temporal_grid_size=3)))
    features = random_input(5, 2, 3)  # (…, k, s)
    for matrices, axis in ((mixing.rows, -1), (mixing.columns, -2), (mixing.frames, -1)):
        sums = {dim: matrices(features).sum(dim) for dim in (-1, -2)}
        one = torch.ones_like(sums[axis])
        torch.testing.assert_close(sums[axis], one, **TOLERANCE)
        assert not torch.allclose(sums[-3 - axis], one)


@each_case("sizes", [(4, 4, 6), (5, 3, 5)])
def test_what_is_constant_stays(sizes):
    """Also where the map is resized: every weight sums to one."""
    mixing = mixing_of(randomized(make()))
    x = random_input(2, 4, 1, 1, 1).expand(2, 4, *sizes)
    torch.testing.assert_close(mixing(x), x, **TOLERANCE)


def test_identity_matrices_change_nothing():
    eye = 1e3 * torch.eye(2)
    mixing = fixed(mixing_of(randomized(make())), rows=eye, columns=eye)
    x = random_input(2, 4, 4, 4, 6)
    torch.testing.assert_close(mixing(x), x, **TOLERANCE)


def test_equal_weights_average_over_cells():
    """With cells of one position it is average pooling; else each place in a cell keeps to itself."""
    zero = torch.zeros(2, 2)
    mixing = fixed(mixing_of(randomized(make())), rows=zero, columns=zero, frames=zero)
    x = random_input(2, 4, 2, 2, 2)
    torch.testing.assert_close(mixing(x), x.mean((2, 3, 4), keepdim=True).expand_as(x), **TOLERANCE)
    x = random_input(2, 4, 2, 4, 6)
    cells = x.reshape(2, 4, 2, 2, 2, 2, 3)
    torch.testing.assert_close(
        mixing(x), cells.mean((2, 3, 5), keepdim=True).expand_as(cells).reshape(x.shape), **TOLERANCE
    )


@each_case(("which", "axis", "cell"), [("rows", 3, 2), ("columns", 4, 2), ("frames", 2, 1)])
def test_a_shift_moves_the_map(which, axis, cell):
    """P and T take row i from where their row i points; Q, from the right, column j from where its column j points."""
    eye = torch.eye(3)
    logits = {name: 1e3 * (eye.roll(1, 1) if name == which else eye) for name in ("rows", "columns", "frames")}
    block = randomized(make(grid_size=3, temporal_grid_size=3))
    x = random_input(2, 4, 3, 6, 6)
    step = cell if which == "columns" else -cell
    torch.testing.assert_close(fixed(mixing_of(block), **logits)(x), x.roll(step, axis), **TOLERANCE)


def test_without_temporal_groups_each_frame_is_an_image():
    block, video = randomized(make(num_temporal_groups=0)), random_input(*VIDEO)
    frames = torch.stack([block(video[:, :, t]) for t in range(video.shape[2])], dim=2)
    torch.testing.assert_close(block(video), frames, **TOLERANCE)
    assert not hasattr(mixing_of(block), "frames")


def test_an_image_is_mixed_in_space_only():
    """By the same weights: those of the frames are left out."""
    block, apart = randomized(make()), randomized(make(num_temporal_groups=0))
    apart.load_state_dict({name: value for name, value in block.state_dict().items() if ".frames." not in name})
    image = random_input(*IMAGE)
    torch.testing.assert_close(block(image), apart(image), **TOLERANCE)
    torch.testing.assert_close(apart(image.unsqueeze(2)).squeeze(2), apart(image), **TOLERANCE)


def test_is_no_function_of_a_set():
    """Unlike the other context blocks, it knows where a position is."""
    block, x = randomized(make()), random_input(*VIDEO)
    for axis in (2, 3, 4):
        assert not torch.allclose(block(x.flip(axis)), block(x).flip(axis))


def test_samples_do_not_see_each_other():
    block, x = randomized(make()), random_input(*VIDEO)
    torch.testing.assert_close(block(x)[1:], block(x[1:]), **TOLERANCE)


@each_case(("shape", "layout"), [(VIDEO, torch.channels_last_3d), (IMAGE, torch.channels_last)])
def test_channels_last_gives_the_same(shape, layout):
    block, x = randomized(make()), random_input(*shape)
    last = x.detach().to(memory_format=layout).requires_grad_()
    assert not last.is_contiguous()
    torch.testing.assert_close(block(last), block(x), **TOLERANCE)
    torch.testing.assert_close(gradients(block(last), [last]), gradients(block(x), [x]), **TOLERANCE)


# Dropout ----------------------------------------------------------------------------------------------------------


@each_case("shape", [(2, 64, 2, 3, 2), (2, 64, 3, 2)])
def test_dropout_is_of_whole_channels(shape):
    torch.manual_seed(0)
    dropout, x = ChannelDropout(0.25), torch.ones(shape)
    dropped = dropout(x).flatten(2)
    assert torch.equal(dropped, dropped[:, :, :1].expand_as(dropped))
    assert dropped.unique().tolist() == [0.0, pytest.approx(4 / 3)]
    assert 0.1 < (dropped == 0).float().mean() < 0.4
    assert not torch.equal(dropped[0], dropped[1])
    assert torch.equal(dropout.eval()(x), x)


def test_dropout_is_of_what_is_added():
    block, x = randomized(make(dropout=0.5)), random_input(*VIDEO)
    torch.manual_seed(0)
    added = block(x) - x
    block.transform[-1].train()
    dropped = block(x) - x
    kept = dropped.abs().amax((2, 3, 4), keepdim=True) > 0
    assert kept.any()
    assert not kept.all()
    torch.testing.assert_close(dropped, 2 * added * kept, **TOLERANCE)


# Arguments --------------------------------------------------------------------------------------------------------

CHANGES = [
    {"ratio": 1},
    {"grid_size": 4},
    {"temporal_grid_size": 4},
    {"num_groups": 4},
    {"num_temporal_groups": 2},
    {"num_temporal_groups": 0},
    {"dropout": 0.5},
]


@each_case("change", CHANGES)
def test_every_argument_changes_something(change):
    x = random_input(*VIDEO)
    values = []
    for arguments in (change, {}):
        block = randomized(make(**arguments))
        torch.manual_seed(0)
        block.transform[-1].train()
        values.append(block(x))
    assert not torch.allclose(*values)


def test_every_argument_is_among_the_changes():
    assert {"channels"}.union(*CHANGES) == set(inspect.signature(BilinearAttentionalTransform).parameters)


@each_case(("channels", "count"), [(512, 378_592), (1024, 1_365_728)])
def test_the_default_is_the_authors_for_video(channels, count):
    block = BilinearAttentionalTransform(channels)
    assert sum(parameter.numel() for parameter in block.parameters()) == count
    width, groups, grid = channels // 2, 8, 7
    convolutions = channels * width + width * groups + width**2 + width * channels
    norms = 2 * (width + groups + width + channels)
    space = 2 * (groups * grid + 1) * groups * grid**2
    time = (groups * 4 + 1) * 4 * 4**2
    assert count == convolutions + norms + space + time
    assert block.transform[-1].p == 0.2


def test_five_blocks_in_the_authors_image_model_are_30_2_million_parameters():
    """As their README has it, for k = 4: ResNet-50, of 25,557,032, and blocks in res3 (2) and res4 (3)."""
    blocks = {
        channels: BilinearAttentionalTransform(channels, num_groups=4, num_temporal_groups=0)
        for channels in (512, 1024)
    }
    counts = {channels: sum(p.numel() for p in block.parameters()) for channels, block in blocks.items()}
    assert round((25_557_032 + 2 * counts[512] + 3 * counts[1024]) / 1e6, 1) == 30.2


@each_case(
    ("arguments", "text"),
    [
        ({"ratio": 0.0}, "ratio is 0.0; expected more than 0 and at most 1"),
        ({"grid_size": 0}, "grid_size is 0; expected at least 1"),
        ({"temporal_grid_size": 0}, "temporal_grid_size is 0; expected at least 1"),
        ({"num_groups": 0}, "num_groups is 0; expected at least 1"),
        ({"num_temporal_groups": -1}, "num_temporal_groups is -1; expected at least 0"),
        ({"num_groups": 3}, "num_groups is 3; expected a divisor of the bottleneck's 8 channels"),
        ({"num_temporal_groups": 5}, "num_temporal_groups is 5; expected a divisor of the bottleneck's 8 channels"),
        ({"dropout": 1.0}, "dropout is 1.0; expected at least 0 and less than 1"),
        ({"dropout": -0.1}, "dropout is -0.1; expected at least 0 and less than 1"),
    ],
)
def test_what_cannot_be_is_named_with_what_is_accepted(arguments, text):
    with pytest.raises(ValueError, match="^" + text.replace(".", r"\.") + "$"):
        BilinearAttentionalTransform(16, **arguments)


@each_case(
    ("sizes", "text"),
    [
        ((4, 6, 9), "grid_size is 7; expected at most height and width, 6 × 9"),
        ((9, 6), "grid_size is 7; expected at most height and width, 9 × 6"),
        ((3, 7, 7), "temporal_grid_size is 4; expected at most the number of frames, 3"),
    ],
)
def test_a_grid_larger_than_the_map_is_named_with_its_size(sizes, text):
    with pytest.raises(ValueError, match=f"^{text}$"):
        BilinearAttentionalTransform(16)(torch.zeros(1, 16, *sizes))


def test_only_channels_is_positional():
    with pytest.raises(TypeError):
        BilinearAttentionalTransform(CHANNELS, 0.5)
