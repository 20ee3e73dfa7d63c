"""Grad-CAM where the map is known, and compared with loops."""

import pytest
import torch
from torch import nn

from tests.each_case import each_case
from videoctx.models import ResNet3D, SlowFast
from videoctx.visualize.gradcam import grad_cam
from videoctx.visualize.grids import Axis, Grid


class Pooled(nn.Module):
    """Convolution, ReLU, mean over positions, linear classifier."""

    def __init__(self, *, inplace: bool = False, num_classes: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv3d(3, 4, (1, 3, 3), (1, 2, 2), (0, 1, 1))
        self.relu = nn.ReLU(inplace=inplace)
        self.head = nn.Linear(4, num_classes)

    def forward(self, clip):
        return self.head(self.relu(self.conv(clip)).mean(dim=(2, 3, 4)))


def clip_of(*sizes: int) -> torch.Tensor:
    return torch.randn(1, 3, *sizes, generator=torch.Generator().manual_seed(3))


@each_case("class_index", [0, 1, 2])
def test_before_mean_and_linear_layer_the_weights_are_those_of_the_class(class_index):
    """There ∂y / ∂A = w / N, so the map is each position's share of the logit where it is positive."""
    torch.manual_seed(0)
    net, clip = Pooled().eval(), clip_of(2, 6, 8)
    seen = grad_cam(net, clip, "relu", class_index=class_index)
    with torch.no_grad():
        features = net.relu(net.conv(clip))[0]  # (4, 2, 3, 4)
        weight = net.head.weight[class_index]
        shares = torch.zeros(features.shape[1:])
        for t in range(2):
            for row in range(3):
                for column in range(4):
                    for channel in range(4):
                        shares[t, row, column] += weight[channel] * features[channel, t, row, column] / 24
        logits = net(clip)[0]
    torch.testing.assert_close(seen.map, shares.clamp(min=0))
    torch.testing.assert_close(shares.sum() + net.head.bias[class_index], logits[class_index])
    torch.testing.assert_close(seen.logits, logits)
    assert (seen.class_index, seen.grid) == (class_index, Grid((2, 3, 4), (Axis(0, 1), Axis(0, 2), Axis(0, 2))))


@each_case("layer", ["res2", "res4.0.conv1", "stem.norm", "stem"])
def test_layers_of_a_resnet_equal_numerical_gradients(layer):
    """Compare with numerical gradients ∂y / ∂A in double precision."""
    torch.manual_seed(0)
    net = ResNet3D(2, depth=18, width=3, zero_init_residual=False).double().eval()
    nn.init.normal_(net.head.weight)
    net.head.weight.data[0] = -net.head.weight.data[1]  # what lowers one logit raises the other
    clip = clip_of(2, 10, 8).double()
    against, for_it = (grad_cam(net, clip, layer, class_index=index).map for index in (0, 1))
    module = net.get_submodule(layer)
    kept, nudge = [], {}

    def hook(_, __, output):
        kept.append(output.detach().clone())
        if nudge:
            output = output.clone()
            output[nudge["at"]] += nudge["by"]
        return output

    with torch.no_grad():
        handle = module.register_forward_hook(hook)
        net(clip)
        features = kept[0]
        expected = torch.zeros(features.shape[2:], dtype=torch.float64)
        for channel in range(features.shape[1]):
            gradients = []
            for position in torch.cartesian_prod(*(torch.arange(size) for size in features.shape[2:])).tolist():
                up, down = 1e-6, -1e-6
                values = []
                for by in (up, down):
                    nudge.update(at=(0, channel, *position), by=by)
                    values.append(net(clip)[0, 1])
                gradients.append((values[0] - values[1]) / (up - down))
            expected += sum(gradients) / len(gradients) * features[0, channel]
        handle.remove()
    assert expected.abs().max() > 1e-6
    torch.testing.assert_close(for_it, expected.clamp(min=0), rtol=1e-4, atol=1e-8)
    torch.testing.assert_close(against, (-expected).clamp(min=0), rtol=1e-4, atol=1e-8)


def test_planted_patch_has_the_greatest_value():
    net = Pooled(num_classes=2).eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
        net.conv.weight[0, 0] = 1 / 9  # channel 0: red; channel 1: green
        net.conv.weight[1, 1] = 1 / 9
        net.head.weight[0, 0] = net.head.weight[1, 1] = 1.0
    clip = torch.zeros(1, 3, 4, 32, 32)
    clip[0, 0, 1, 4:12, 20:28] = 1.0
    clip[0, 1, 3, 18:26, 4:12] = 2.0
    for class_index, (frame, row, column) in ((0, (1, 7.5, 23.5)), (1, (3, 21.5, 7.5))):
        seen = grad_cam(net, clip, "conv", class_index=class_index)
        upsampled = torch.from_numpy(
            seen.grid.upsample(seen.map.double().numpy(), [torch.arange(n).numpy() for n in (4, 32, 32)])
        )
        for axis, middle in enumerate((frame, row, column)):
            profile = upsampled.sum(dim=[other for other in range(3) if other != axis])
            assert (profile * torch.arange(len(profile))).sum() / profile.sum() == pytest.approx(middle, abs=0.3)
    assert grad_cam(net, clip, "conv").class_index == 1


def test_later_in_place_layer_changes_nothing():
    torch.manual_seed(0)
    plain, inplace = Pooled().eval(), Pooled(inplace=True).eval()
    inplace.load_state_dict(plain.state_dict())
    clip = clip_of(2, 6, 6)
    assert torch.equal(grad_cam(plain, clip, "conv").map, grad_cam(inplace, clip, "conv").map)
    assert not inplace.conv._forward_hooks


def test_frozen_weights():
    net = Pooled().eval().requires_grad_(False)
    assert grad_cam(net, clip_of(2, 6, 6), "conv").map.shape == (2, 3, 3)


class Bypass(Pooled):
    """A network with a layer that has no effect, and one that does not run."""

    def __init__(self) -> None:
        super().__init__()
        self.side = nn.Conv3d(3, 1, 1)
        self.spare = nn.Conv3d(3, 1, 1)

    def forward(self, clip):
        self.side(clip)
        return super().forward(clip)


@each_case(
    ("layer", "message"),
    [
        ("head", r"layer head gives \(1, 3\); expected a layer whose output is \(1, C, T, H, W\)"),
        ("convv", r"no layer 'convv'; expected perhaps conv"),
        ("zzz", r"no layer 'zzz'; expected one of conv, relu, head, side, spare"),
        ("", r"no layer ''; expected one of"),
        ("side", r"the logits do not depend on layer side"),
        ("spare", r"layer spare does not run"),
    ],
)
def test_layers_without_a_map_are_refused(layer, message):
    with pytest.raises(ValueError, match=message):
        grad_cam(Bypass().eval(), clip_of(2, 6, 6), layer)


def test_layers_of_pathways_are_suggested():
    with torch.device("meta"):
        net = SlowFast(2, width=8).eval()
    with pytest.raises(ValueError, match=r"layer res5 gives tuple; .*, res5\.slow, res5\.fast$"):
        grad_cam(net, torch.zeros(1, 3, 8, 32, 32, device="meta"), "res5")


def test_nan_has_no_map():
    net, clip = Pooled().eval(), clip_of(2, 6, 8)
    net.head.bias.data[1] = torch.nan
    with pytest.raises(ValueError, match="the network gives NaN"):
        grad_cam(net, clip, "relu", class_index=0)
