"""The positions of feature maps, compared with the centers that the network's own arithmetic gives.

A layer of equal weights turns a ramp, whose value is the place itself, into the mean place of each window: its center.
Max pooling gives the window's end; the mean of the ends of a rising and a falling ramp is the center again.
"""

from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.each_case import each_case
from videoctx.layers import Conv2Plus1d, NonLocal
from videoctx.layers.non_local import halve_resolution
from videoctx.models import ResNet3D, insert_context
from videoctx.visualize.grids import Axis, Grid, GridTrace


class Through(nn.Module):
    """A function as a network."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def conv(kernel_size, **arguments):
    return nn.Conv3d(1, 1, kernel_size, bias=False, **arguments)


LAYERS = {
    "conv": conv((3, 7, 5), stride=(1, 2, 3), padding=(1, 3, 0)),
    "even conv": conv((2, 4, 2), stride=(2, 2, 1), padding=(0, 1, 1)),
    "dilated conv": conv(3, dilation=(1, 2, 3), padding=(1, 2, 0)),
    "max pool": nn.MaxPool3d((2, 3, 3), (2, 2, 2), padding=(0, 1, 1)),
    "max pool, stride as kernel": nn.MaxPool3d((1, 2, 3)),
    "functional": Through(lambda x: F.max_pool3d(x, (1, 2, 2))),
    "dilated max pool": nn.MaxPool3d(3, stride=1, dilation=2),
    "average pool": nn.AvgPool3d((1, 4, 2)),
    "average pool with padding": nn.AvgPool3d((3, 3, 5), (1, 2, 3), padding=(1, 1, 2)),
    "halved": Through(halve_resolution),
    "sliced": Through(lambda x: x[:, :, 1::2, ::3, -40:]),
    "padded": Through(lambda x: F.pad(x, (3, 1, 2, 2))[:, :, :, 4:-4, 6:-6]),
    "shrunk": Through(lambda x: F.adaptive_avg_pool3d(x, [12 if size == 12 else 16 for size in x.shape[2:]])),
    "enlarged and back": Through(lambda x: F.avg_pool3d(F.interpolate(x, scale_factor=(1, 2, 2)), (1, 2, 2))),
    "enlarged": Through(lambda x: F.interpolate(x, scale_factor=(2, 2, 3), mode="trilinear")),
    "in place and added": nn.Sequential(
        conv((1, 3, 3), stride=(1, 2, 2)), nn.ReLU(inplace=True), Through(lambda x: x + x)
    ),
    "one after the other": nn.Sequential(
        conv((1, 7, 7), stride=(1, 2, 2), padding=(0, 3, 3)), nn.MaxPool3d((2, 3, 3), (2, 2, 2))
    ),
}


@torch.no_grad()
def equal_weights(net: nn.Module) -> nn.Module:
    for name, parameter in net.named_parameters():
        parameter.fill_(0.0 if name.endswith("bias") else 1.0)
    return net.eval()


@torch.no_grad()
def centers(net, sizes: tuple[int, int, int], axis: int) -> torch.Tensor:
    """Return the center of every cell's window along an axis, (T', H', W'), by the network's own arithmetic."""
    length = sizes[axis]
    shape = [length if dim == axis + 2 else 1 for dim in range(5)]
    ramp = torch.arange(length, dtype=torch.float64).reshape(shape).expand(1, 1, *sizes).contiguous()
    end = float(length)
    scale = net(torch.ones_like(ramp))
    return ((net(ramp) / scale + end - net(end - ramp) / scale) / 2)[0, 0]


@each_case("name", LAYERS)
@each_case("axis", [0, 1, 2])
def test_cells_are_centered_on_their_windows(name, axis):
    net, sizes = equal_weights(LAYERS[name].double()), [12, 12, 12]
    sizes[axis] = 64
    clip = torch.zeros(1, 1, *sizes, dtype=torch.float64)
    with GridTrace(clip) as trace:
        features = net(clip)
    grid = trace.grid_of(features)
    seen = centers(net, tuple(sizes), axis).movedim(axis, 0)
    seen = seen[:, seen.shape[1] // 2, seen.shape[2] // 2]
    assert len(seen) == grid.sizes[axis] > 8
    expected = [grid.axes[axis].start + grid.axes[axis].step * cell for cell in range(len(seen))]
    torch.testing.assert_close(seen[3:-3], torch.tensor(expected, dtype=torch.float64)[3:-3])


@each_case("axis", [0, 1, 2])
@each_case(
    "arguments",
    [
        {},
        {"conv1_stride_t": 2, "pool1_t": (3, 2), "pool2_t": (3, 2), "temporal_kernels": "i3d333"},
        {"temporal_kernels": "r3d", "stage_stride_t": (1, 2, 2, 2), "pool1_t": None, "conv": Conv2Plus1d},
    ],
)
def test_cells_of_a_resnet(arguments, axis):
    net = ResNet3D(1, depth=18, width=1, zero_init_residual=False, **arguments)
    net.stem.conv = nn.Sequential(Through(lambda x: x.expand(-1, 3, -1, -1, -1)), net.stem.conv)
    for module in net.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eps = 1e-300  # torch 2.10 refuses 0
    net = equal_weights(net.double())
    stage = nn.Sequential(net.stem, net.res2, net.pool2, net.res3)
    sizes = [4, 16, 16]
    sizes[axis] = (192, 240, 240)[axis]
    clip = torch.zeros(1, 1, *sizes, dtype=torch.float64)
    with GridTrace(clip) as trace, torch.no_grad():
        features = stage(clip)
    grid = trace.grid_of(features)
    assert grid.sizes == tuple(features.shape[2:])
    seen = centers(stage, tuple(sizes), axis).movedim(axis, 0)
    seen = seen[:, 0, 0]
    middle = slice(len(seen) // 2 - 2, len(seen) // 2 + 2)
    expected = grid.axes[axis].start + grid.axes[axis].step * torch.arange(len(seen), dtype=torch.float64)
    torch.testing.assert_close(seen[middle], expected[middle])


def test_last_cell_of_a_resnet_differs_from_a_uniform_grid():
    net, clip = ResNet3D(2, depth=18, width=1), torch.zeros(1, 3, 8, 224, 224)
    grids = {}
    net.res5.register_forward_hook(lambda _, __, out: grids.update(res5=trace.grid_of(out)))
    with GridTrace(clip) as trace, torch.no_grad():
        net(clip)
    assert grids["res5"].center((0, 0, 6)) == (0.5, 0.0, 192.0)
    assert Grid.uniform((4, 7, 7), (8, 224, 224)).center((0, 0, 6)) == (0.5, 15.5, 207.5)


def test_grid_through_context_blocks_and_with_gradients():
    stage = nn.Sequential(OrderedDict(a=conv(3, padding=1, stride=2), norm=nn.BatchNorm3d(1)))
    net = nn.Sequential(stage, NonLocal(1, inner_ratio=1.0), conv((1, 3, 3), stride=(1, 2, 2)))
    clip = torch.zeros(1, 1, 8, 24, 24, requires_grad=True)
    with GridTrace(clip) as trace:
        features = net(clip)
    assert trace.grid_of(features) == Grid((4, 5, 5), (Axis(0, 2), Axis(2, 4), Axis(2, 4)))


def test_lost_grid_is_uniform():
    clip = torch.zeros(1, 1, 2, 8, 8)
    with GridTrace(clip) as trace:
        turned = F.max_pool3d(clip, (1, 2, 2)).movedim(2, 4)
    assert trace.grid_of(turned.movedim(4, 2)) == Grid.uniform((2, 4, 4), (2, 8, 8))
    assert trace.grid_of(torch.zeros(1, 4, 2, 2, 2)) == Grid((2, 2, 2), (Axis(0, 1), Axis(1.5, 4), Axis(1.5, 4)))


@each_case("sizes", [(2, 6, 5), (1, 1, 4), (3, 2, 1)])
def test_halved_equals_halve_resolution(sizes):
    clip = torch.zeros(1, 1, *sizes)
    with GridTrace(clip) as trace:
        halved = halve_resolution(clip)
    assert trace.grid_of(clip).halved() == trace.grid_of(halved)


def test_upsampling_is_linear_between_centers_and_constant_beyond():
    grid = Grid((1, 2, 3), (Axis(0, 1), Axis(2, 4), Axis(1, 2)))
    values = np.array([[[0.0, 1.0, 4.0], [8.0, 9.0, 12.0]]])
    upsampled = grid.upsample(
        values, (np.array([0, 1]), np.array([0, 2, 3, 4, 6, 9]), np.array([0, 1, 2, 3, 4.5, 5, 7]))
    )
    assert upsampled.shape == (2, 6, 7)
    columns = np.array([0, 0, 0.5, 1, 3.25, 4, 4])
    rows = np.array([0, 0, 2, 4, 8, 8])
    np.testing.assert_allclose(upsampled[0], rows[:, None] + columns)
    np.testing.assert_array_equal(upsampled[0], upsampled[1])


def test_nearest_cell_of_its_own_center():
    grid = Grid((2, 3, 4), (Axis(0.5, 2), Axis(0, 16), Axis(7.5, 16)))
    for cell in np.ndindex(grid.sizes):
        assert grid.nearest(grid.center(cell)) == cell
    assert grid.nearest((-5, -5, -5)) == (0, 0, 0)
    assert grid.nearest((99, 999, 999)) == (1, 2, 3)
    assert grid.nearest((1.4, 9, 30)) == (0, 1, 1)


def test_insertion_into_another_projects_network():
    video = pytest.importorskip("torchvision.models.video")
    net = insert_context(video.r3d_18(num_classes=2), {"layer3": [1]}, NonLocal).eval()
    clip, grids = torch.zeros(1, 3, 8, 64, 64), []
    block = net.layer3[1][1]
    block.register_forward_pre_hook(lambda _, args: grids.append(trace.grid_of(args[0])))
    with GridTrace(clip) as trace, torch.no_grad():
        net(clip)
    assert grids == [Grid((2, 8, 8), (Axis(0, 4), Axis(0, 8), Axis(0, 8)))]
