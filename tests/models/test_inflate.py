"""A network inflated from 2D weights sees a still video as the 2D network sees the image."""

import importlib.util
from functools import cache
from pathlib import Path

import av
import pytest
import torch
import torchvision
from torch import nn
from torchvision.transforms import v2

from tests.each_case import each_case
from videoctx.models import ResNet3D
from videoctx.models.inflate import inflate

WEIGHTS = Path(__file__).parents[3] / "shared" / "weights" / "resnet50_imagenet.pt"
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

NETWORKS = {
    "resnet18": {"depth": 18},
    "resnet50": {"depth": 50},
    "resnext50_32x4d": {"depth": 50, "groups": 32, "width_per_group": 4},
}


each_network = each_case("name", NETWORKS)


@cache
def random_network_2d(name):
    """torchvision's network with random weights and statistics."""
    torch.manual_seed(0)
    net = getattr(torchvision.models, name)(num_classes=7).eval()
    for norm in net.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.uniform_(norm.weight, 0.2, 0.8)
            nn.init.normal_(norm.bias, std=0.3)
            nn.init.normal_(norm.running_mean, std=0.3)
            nn.init.uniform_(norm.running_var, 0.5, 1.5)
    return net.double()


def inflated(net_2d, how, **arguments):
    with torch.device("meta"):
        net = ResNet3D(7, **arguments).double().eval()
    net.load_state_dict(inflate(net_2d.state_dict(), net.state_dict(), how=how), assign=True)
    return net


def image():
    return torch.randn(1, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def still(image, num_frames):
    """(B, 3, H, W) → (B, 3, T, H, W)."""
    return image.unsqueeze(2).expand(-1, -1, num_frames, -1, -1)


def maps(net, x):
    """What goes into the pooling before the classifier: (B, C, T, H, W), or (B, C, H, W)."""
    found = []
    last = net.res5 if isinstance(net, ResNet3D) else net.layer4
    hook = last.register_forward_hook(lambda *called: found.append(called[2]))
    with torch.no_grad():
        net(x)
    hook.remove()
    return found[0]


# Still videos -----------------------------------------------------------------------------------------------------


@each_network
@each_case("how", ["mean", "center"])
def test_c2d_gives_the_logits_of_the_image(name, how):
    net_2d, arguments = random_network_2d(name), NETWORKS[name]
    net = inflated(net_2d, how, temporal_kernels="c2d", **arguments)
    with torch.no_grad():
        torch.testing.assert_close(net(still(image(), 4)), net_2d(image()), rtol=1e-9, atol=1e-9)


@each_network
@each_case("kind", ["i3d", "i3d333", "slow"])
def test_center_gives_the_logits_of_the_image(name, kind):
    net_2d, arguments = random_network_2d(name), NETWORKS[name]
    net = inflated(net_2d, "center", temporal_kernels=kind, conv1_stride_t=2, pool1_t=(3, 2), **arguments)
    with torch.no_grad():
        torch.testing.assert_close(net(still(image(), 8)), net_2d(image()), rtol=1e-9, atol=1e-9)


# Frames on either side of the middle one that the last features of an I3D or Slow of 18 or 50 layers reach, at most.
REACH = 12


@each_case("name", ["resnet18", "resnet50"])
@each_case("kind", ["i3d", "i3d333", "slow"])
def test_mean_gives_the_features_of_the_image_where_the_clips_ends_are_out_of_reach(name, kind):
    net_2d, arguments = random_network_2d(name), NETWORKS[name]
    net = inflated(net_2d, "mean", temporal_kernels=kind, pool2_t=(1, 1), **arguments)
    features, expected = maps(net, still(image(), 2 * REACH + 1)), maps(net_2d, image())
    torch.testing.assert_close(features[:, :, REACH], expected, rtol=1e-9, atol=1e-9)
    assert (features[:, :, 0] - expected).abs().max() > 1e-3  # the ends see zeros


# Weights ----------------------------------------------------------------------------------------------------------


def a_convolution(kernel_t):
    weights = {"layer1.0.conv1.weight": torch.arange(1.0, 55).reshape(2, 3, 3, 3)}
    return weights["layer1.0.conv1.weight"], weights, {"res2.0.conv1.weight": torch.empty(2, 3, kernel_t, 3, 3)}


def test_mean_repeats_the_kernel_divided():
    kernel, weights, template = a_convolution(5)
    (result,) = inflate(weights, template, how="mean").values()
    for frame in range(5):
        torch.testing.assert_close(result[:, :, frame], kernel / 5)


def test_center_has_the_kernel_in_the_middle_frame_alone():
    kernel, weights, template = a_convolution(5)
    (result,) = inflate(weights, template, how="center").values()
    assert torch.equal(result[:, :, 2], kernel)
    assert result.count_nonzero() == kernel.count_nonzero()


def test_mean_is_what_there_is_by_default():
    _, weights, template = a_convolution(3)
    torch.testing.assert_close(inflate(weights, template), inflate(weights, template, how="mean"))


def test_dtypes_are_the_networks_and_our_names_are_known_too():
    kernel, _, template = a_convolution(1)
    (result,) = inflate({"res2.0.conv1.weight": kernel.half().unsqueeze(2)}, template).values()
    assert result.dtype == torch.float32
    torch.testing.assert_close(result[:, :, 0], kernel)


def test_nothing_that_goes_in_is_changed():
    kernel, weights, template = a_convolution(1)
    before = kernel.clone()
    inflate(weights, template)["res2.0.conv1.weight"].zero_()
    assert torch.equal(weights["layer1.0.conv1.weight"], before)


def test_the_classifier_is_passed_on_whatever_its_size():
    weight = torch.ones(1000, 2048)
    assert inflate({"fc.weight": weight}, {"head.weight": torch.empty(400, 2048)})["head.weight"].shape == weight.shape


@each_case(
    ("weights", "template", "error"),
    [
        (
            {"conv1.weight": torch.ones(64, 3, 7, 7)},
            {"stem.conv.weight": torch.ones(32, 3, 5, 7, 7)},
            r"stem\.conv\.weight is \(64, 3, 7, 7\), which does not fit \(32, 3, 5, 7, 7\)",
        ),
        (
            {"bn1.weight": torch.ones(64)},
            {"stem.norm.weight": torch.ones(32)},
            r"stem\.norm\.weight is \(64,\), which does not fit \(32,\)",
        ),
        (
            {"stem.conv.weight": torch.ones(8, 3, 3, 7, 7)},
            {"stem.conv.weight": torch.ones(8, 3, 5, 7, 7)},
            r"stem\.conv\.weight is \(8, 3, 3, 7, 7\), which does not fit \(8, 3, 5, 7, 7\)",
        ),
        (
            {"layer3.6.bn1.weight": torch.ones(8), "bn1.weight": torch.ones(8)},
            {"stem.norm.weight": torch.ones(8)},
            r"the network has no res4\.6\.norm1\.weight$",
        ),
    ],
)
def test_what_does_not_fit_is_named(weights, template, error):
    with pytest.raises(ValueError, match=error):
        inflate(weights, template)


def test_an_unknown_way_to_inflate_is_an_error():
    with pytest.raises(ValueError, match="how is 'middle'; expected mean, center"):
        inflate({}, {}, how="middle")


# Real weights -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def imagenet_weights():
    if not WEIGHTS.is_file():
        pytest.skip(f"needs the ImageNet weights in {WEIGHTS}")
    return torch.load(WEIGHTS, weights_only=True)


def photo(name):
    """(1, 3, 224, 224), as for torchvision's ResNets: short side 256, the middle 224 × 224 of it."""
    scikit_image = importlib.util.find_spec("skimage")
    if scikit_image is None:
        pytest.skip("needs the photos that scikit-image is distributed with")
    with av.open(str(Path(scikit_image.origin).parent / "data" / f"{name}.png")) as file:
        pixels = torch.from_numpy(next(file.decode(video=0)).to_ndarray(format="rgb24")).permute(2, 0, 1)
    pixels = v2.functional.center_crop(v2.functional.resize(pixels, [256], antialias=True), [224, 224])
    return v2.functional.normalize(pixels.float() / 255, IMAGENET_MEAN, IMAGENET_STD)[None]


@each_case(("kind", "how"), [("c2d", "mean"), ("i3d", "center"), ("slow", "center")])
@each_case(("name", "label", "probability"), [("chelsea", 285, 0.78), ("coffee", 967, 0.99)])
def test_imagenet_weights_know_what_is_in_a_photo(imagenet_weights, kind, how, name, label, probability):
    net = ResNet3D(1000, temporal_kernels=kind, stride_at="1x1").eval()
    net.load_state_dict(inflate(imagenet_weights, net.state_dict(), how=how), strict=False)  # no batch counters there
    with torch.no_grad():
        scores = net(still(photo(name), 2)).softmax(dim=1)[0]
    assert scores.argmax() == label
    assert scores[label].item() == pytest.approx(probability, abs=0.005)


def test_a_stride_in_the_other_place_is_less_confident(imagenet_weights):
    net = ResNet3D(1000, temporal_kernels="c2d", pool2_t=(1, 1), stride_at="3x3").eval()
    net.load_state_dict(inflate(imagenet_weights, net.state_dict()), strict=False)
    with torch.no_grad():
        assert net(still(photo("chelsea"), 1)).softmax(dim=1)[0, 285] < 0.75
