"""The layers that act on each position alone: the same weights for video and images."""

import pytest
import torch
from torch import nn

from tests.each_case import each_case
from tests.reference.comparison import TOLERANCE, gradients, random_input, randomized
from videoctx.layers.pointwise import BatchNorm, ChannelLayerNorm, Pointwise

VIDEO, IMAGE = (2, 5, 2, 3, 4), (2, 5, 3, 4)
RANKS = each_case("shape", [VIDEO, IMAGE])


def convolution(shape):
    return nn.Conv3d if len(shape) == 5 else nn.Conv2d


@RANKS
@each_case("bias", [True, False])
def test_pointwise_is_a_1x1_convolution(shape, bias):
    layer = randomized(Pointwise(5, 7, bias=bias))
    peer = convolution(shape)(5, 7, 1, bias=bias).double()
    peer.load_state_dict(
        {name: value.reshape(peer.state_dict()[name].shape) for name, value in layer.state_dict().items()}
    )
    x = random_input(*shape)
    torch.testing.assert_close(layer(x), peer(x), **TOLERANCE)
    for ours, theirs in zip(
        gradients(layer(x), [x, *layer.parameters()]), gradients(peer(x), [x, *peer.parameters()]), strict=True
    ):
        torch.testing.assert_close(ours, theirs.reshape(ours.shape), **TOLERANCE)


@RANKS
def test_pointwise_is_a_linear_layer_at_every_position(shape):
    layer, x = randomized(Pointwise(5, 7)), random_input(*shape)
    expected = nn.functional.linear(x.movedim(1, -1), layer.weight, layer.bias).movedim(-1, 1)
    torch.testing.assert_close(layer(x), expected, **TOLERANCE)


@each_case("bias", [True, False])
def test_pointwise_has_weight_and_bias(bias):
    shapes = {name: tuple(parameter.shape) for name, parameter in Pointwise(5, 7, bias=bias).named_parameters()}
    assert shapes == ({"weight": (7, 5), "bias": (7,)} if bias else {"weight": (7, 5)})
    assert repr(Pointwise(5, 7, bias=bias)) == f"Pointwise(5, 7, bias={bias})"


def test_pointwise_starts_as_he_et_al_do():
    """Standard deviation √(2 / fan in), bias 0."""
    torch.manual_seed(0)
    layer = Pointwise(128, 512)
    assert layer.weight.std().item() == pytest.approx((2 / 128) ** 0.5, rel=0.02)
    assert layer.weight.mean().item() == pytest.approx(0, abs=0.002)
    assert not layer.bias.any()


@RANKS
@each_case("training", [True, False])
def test_batch_norm_is_torchs_of_either_rank(shape, training):
    layer = randomized(BatchNorm(5)).train(training)
    peer = (nn.BatchNorm3d if len(shape) == 5 else nn.BatchNorm2d)(5).double().train(training)
    peer.load_state_dict(layer.state_dict())
    x = random_input(*shape)
    before = layer.running_mean.clone()
    torch.testing.assert_close(layer(x), peer(x), **TOLERANCE)
    torch.testing.assert_close(dict(layer.named_buffers()), dict(peer.named_buffers()), **TOLERANCE)
    assert torch.equal(layer.running_mean, before) == (not training)


def test_batch_norm_becomes_sync_batch_norm():
    layer = randomized(BatchNorm(5))
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(nn.Sequential(layer))[0]
    assert isinstance(converted, nn.SyncBatchNorm)
    torch.testing.assert_close(converted.state_dict(), layer.state_dict())


def test_batch_norm_refuses_what_has_no_positions():
    with pytest.raises(AssertionError, match=r"\(2, 5\)"):
        BatchNorm(5)(torch.zeros(2, 5))


@RANKS
def test_channel_layer_norm_normalizes_every_position_by_itself(shape):
    layer, x = randomized(ChannelLayerNorm(5)), random_input(*shape)
    mean, variance = x.mean(1, keepdim=True), x.var(1, keepdim=True, correction=0)
    channels = (1, 5, *[1] * (len(shape) - 2))
    expected = (x - mean) / (variance + 1e-5).sqrt() * layer.weight.reshape(channels) + layer.bias.reshape(channels)
    torch.testing.assert_close(layer(x), expected, **TOLERANCE)


@RANKS
def test_channel_layer_norm_of_one_position_is_that_of_the_authors(shape):
    """`LayerNorm([C, 1, 1])` on a context (B, C, 1, 1) in GCNet's code."""
    context = random_input(*shape[:2], *[1] * (len(shape) - 2))
    layer = randomized(ChannelLayerNorm(5))
    peer = nn.LayerNorm(context.shape[1:]).double()
    peer.load_state_dict({name: value.reshape(context.shape[1:]) for name, value in layer.state_dict().items()})
    torch.testing.assert_close(layer(context), peer(context), **TOLERANCE)


@each_case("make", [lambda: Pointwise(5, 5), lambda: BatchNorm(5), lambda: ChannelLayerNorm(5)])
def test_an_image_is_a_video_of_one_frame(make):
    layer, image = randomized(make()), random_input(*IMAGE)
    torch.testing.assert_close(layer(image.unsqueeze(2)).squeeze(2), layer(image), **TOLERANCE)
