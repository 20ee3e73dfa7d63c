"""The layers that act on a neighborhood: the same weights for video and images."""

import torch
from torch import nn
from torch.nn import functional as F

from tests.each_case import each_case
from tests.reference.comparison import TOLERANCE, gradients, random_input, randomized
from videoctx.layers.neighborhood import VideoConv, neighborhood_average


def test_video_conv_is_torchs_on_video():
    layer, x = randomized(VideoConv(3, 4, (3, 1, 5), stride=(1, 2, 2), padding=(1, 0, 2))), random_input(2, 3, 3, 4, 5)
    expected = F.conv3d(x, layer.weight, layer.bias, (1, 2, 2), (1, 0, 2))
    torch.testing.assert_close(layer(x), expected, **TOLERANCE)


@each_case("batch", [2, 3])
def test_video_conv_on_an_image_is_the_convolution_of_the_middle_frame(batch):
    """Where `nn.Conv3d` would take the samples for channels, and the channels for frames."""
    layer, image = randomized(VideoConv(3, 4, (3, 3, 5), padding=(1, 1, 2))), random_input(batch, 3, 4, 5)
    expected = F.conv2d(image, layer.weight[:, :, 1], layer.bias, padding=(1, 2))
    torch.testing.assert_close(layer(image), expected, **TOLERANCE)
    torch.testing.assert_close(layer(image), layer(image.unsqueeze(2)).squeeze(2), **TOLERANCE)


def test_video_conv_is_a_convolution_to_who_looks():
    """Whatever starts, counts or converts convolutions finds it."""
    assert isinstance(VideoConv(3, 4, 1), nn.Conv3d)


@each_case("strides", [(1, 1, 1), (2, 2, 2), (1, 4, 3), (3, 1, 2), (5, 2, 1)])
def test_neighborhood_average_is_average_pooling(strides):
    x = random_input(2, 3, 9, 7, 8)
    kernel, padding = [2 * e - 1 for e in strides], [e - 1 for e in strides]
    expected = F.avg_pool3d(x, kernel, strides, padding, count_include_pad=False)
    value = neighborhood_average(x, strides)
    torch.testing.assert_close(value, expected, **TOLERANCE)
    torch.testing.assert_close(gradients(value, [x]), gradients(expected, [x]), **TOLERANCE)


@each_case("strides", [(2, 2), (4, 1), (1, 3)])
def test_neighborhood_average_of_an_image_is_that_of_a_frame(strides):
    video = random_input(2, 3, 2, 5, 4)
    frames = torch.stack([neighborhood_average(video[:, :, t], strides) for t in range(2)], dim=2)
    torch.testing.assert_close(neighborhood_average(video, (1, *strides)), frames, **TOLERANCE)


def test_neighborhood_average_of_less_than_a_kernel():
    """With stride 2, two frames have a cell at the first, which sees both; three at first and last, which see two."""
    x = torch.tensor([1.0, 5.0, 6.0]).reshape(1, 1, 3, 1, 1)
    assert neighborhood_average(x[:, :, :2], (2, 1, 1)).flatten().tolist() == [3.0]
    assert neighborhood_average(x, (2, 1, 1)).flatten().tolist() == [3.0, 5.5]
    assert neighborhood_average(x, (8, 8, 8)).flatten().tolist() == [4.0]
