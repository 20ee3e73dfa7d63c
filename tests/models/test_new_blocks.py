"""Weights of image networks with blocks, and the start of blocks that weights of images do not have."""

from functools import partial

import pytest
import torch
from torch import nn

from tests.each_case import each_case
from tests.reference.foreign_images import ForeignImages
from videoctx.layers import GlobalContext, SelfCalibratedConv3d, SqueezeExcitation
from videoctx.models import ResNet3D
from videoctx.models.checkpoints import read_checkpoint
from videoctx.models.load_weights import load_weights
from videoctx.models.network_config import build_network
from videoctx.models.new_blocks import _rectified_moments
from videoctx.models.residual_blocks import Bottleneck3d

EVERY = {"res2": [0, 1, 2], "res3": [0, 1, 2, 3], "res4": [0, 1, 2, 3, 4, 5], "res5": [0, 1, 2]}


def image(size=64):
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def still(image, num_frames):
    return image.unsqueeze(2).expand(-1, -1, num_frames, -1, -1)


# Published networks of images with blocks -------------------------------------------------------------------------

RES2NET = "videoctx.models.Res2NetBottleneck3d"
FOREIGN = {
    "SE": {"width": 16, "context_at": EVERY, "context_position": "after_1x1"},
    "SC": {"width": 16, "conv": {"class_path": "videoctx.layers.SelfCalibratedConv3d"}},
    "Res2Net": {"width": 32, "block": {"class_path": RES2NET, "init_args": {"scale": 4, "base_width": 26}}},
    "Res2NeXt": {
        "width": 32,
        "groups": 8,
        "block": {"class_path": RES2NET, "init_args": {"scale": 4, "base_width": 4}},
    },
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_weights_of_images_with_blocks_give_their_logits(tmp_path, kind):
    theirs = ForeignImages(kind, width=32 if kind.startswith("Res2") else 16)
    x = image(64 if kind != "SC" else 128)
    expected = theirs(x)
    torch.save({"state_dict": theirs.weights}, tmp_path / "weights.pth")
    checkpoint = read_checkpoint(tmp_path / "weights.pth")
    assert checkpoint.net is not None, checkpoint.unknown_net
    arguments = checkpoint.net["init_args"]
    assert arguments.items() >= FOREIGN[kind].items()
    for temporal_kernels in ("c2d", "slow"):
        net = build_network({**checkpoint.net, "init_args": arguments | {"temporal_kernels": temporal_kernels}}, 7)
        net = net.double().eval()
        assert not load_weights(net, checkpoint.weights_for(net))
        if temporal_kernels == "c2d":
            with torch.no_grad():
                torch.testing.assert_close(net(still(x, 2)), expected, rtol=1e-9, atol=1e-9)


def test_half_of_a_pair_is_named(tmp_path):
    theirs = ForeignImages("SC")
    theirs(image(128))
    weights = {name: tensor for name, tensor in theirs.weights.items() if name != "layer2.0.conv1_b.weight"}
    torch.save(weights, tmp_path / "weights.pth")
    with pytest.raises(ValueError, match=r"weights\.pth: [^\n]* one of the two parts of res3\.0\.conv1\.weight"):
        read_checkpoint(tmp_path / "weights.pth")


# Blocks that weights do not have ----------------------------------------------------------------------------------


def small_net(**arguments):
    torch.manual_seed(0)
    return ResNet3D(7, **{"depth": 50, "width": 8, "temporal_kernels": "c2d"} | arguments)


@pytest.fixture(scope="module")
def plain():
    net = small_net().double().eval()
    generator = torch.Generator().manual_seed(3)
    for norm in net.modules():
        if isinstance(norm, nn.modules.batchnorm._BatchNorm):
            tensors = {norm.weight: 0.2, norm.bias: -0.5, norm.running_mean: -0.5, norm.running_var: 0.5}
            for tensor, low in tensors.items():
                tensor.data.copy_(torch.rand(tensor.shape, generator=generator) + low)
    return net


GATES = {
    "SE": partial(SqueezeExcitation, ratio=0.25),
    "GC, scale": partial(GlobalContext, ratio=0.25, fusion="scale"),
    "GC, scale and add": partial(GlobalContext, ratio=0.25, fusion="scale_and_add"),
    "GC": partial(GlobalContext, ratio=0.25),
}


@each_case("name", GATES)
def test_a_new_gate_on_the_branch_starts_as_the_plain_network(plain, name):
    net = small_net(context=GATES[name], context_at=EVERY, context_position="after_1x1").double().eval()
    load_weights(net, plain.state_dict(), allow_new_blocks=True)
    clip = still(image(), 2)
    with torch.no_grad():
        torch.testing.assert_close(net(clip), plain(clip), rtol=1e-9, atol=1e-9)
    net.train()(clip).sum().backward()
    assert net.res4[1].after_1x1.transform is not None
    last = [parameter.grad for path, parameter in net.named_parameters() if path.endswith("expand.weight")]
    assert all(gradient.any() for gradient in last)


def test_a_gate_with_weights_is_theirs():
    context = {"context": GATES["SE"], "context_at": EVERY, "context_position": "after_1x1"}
    source, net = small_net(**context), small_net(**context)
    nn.init.normal_(source.res2[0].after_1x1.transform.expand.weight)
    load_weights(net, source.state_dict(), allow_new_blocks=True)
    assert all(torch.equal(tensor, net.state_dict()[name]) for name, tensor in source.state_dict().items())


def test_a_new_gate_after_the_sum_keeps_its_initial_weights(plain):
    net = small_net(context=GATES["SE"], context_at={"res3": [1]}).double()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items() if ".after_add." in name}
    load_weights(net, plain.state_dict(), allow_new_blocks=True)
    assert before
    assert all(torch.equal(tensor, net.state_dict()[name]) for name, tensor in before.items())
    assert torch.equal(net.res3[1].norm3.weight, plain.res3[1].norm3.weight)


def test_mean_and_variance_behind_a_norm_and_a_relu():
    norm = nn.BatchNorm1d(4)
    norm.weight.data, norm.bias.data = torch.tensor([1.0, 0.5, -2.0, 0.1]), torch.tensor([0.0, 1.0, -1.0, -0.3])
    drawn = torch.randn(1_000_000, 4, generator=torch.Generator().manual_seed(0)) * norm.weight + norm.bias
    mean, variance = _rectified_moments(norm)
    torch.testing.assert_close(mean, drawn.relu().mean(0), atol=5e-3, rtol=0)
    torch.testing.assert_close(variance, drawn.relu().var(0), atol=1e-2, rtol=0)


@each_case("stored", ["double", "half"])
@each_case("kernel_t", [1, 3])
def test_a_self_calibrated_convolution_starts_as_the_one_it_replaces_where_halves_do_not_meet(kernel_t, stored):
    """Up to the gate, which is 0.95 to 1."""
    kinds = {"temporal_kernels": "c2d" if kernel_t == 1 else "r3d", "pool2_t": (1, 1)}
    source = small_net(**kinds).double().eval()
    net = small_net(conv=partial(SelfCalibratedConv3d, pooling=(1, 2, 2)), **kinds).double().eval()
    with torch.no_grad():
        for block in source.modules():
            if isinstance(block, Bottleneck3d):
                half = len(block.conv2.weight) // 2
                block.conv2.weight[:half, half:] = 0
                block.conv2.weight[half:, :half] = 0
    weights = {name: tensor.half() if stored == "half" else tensor for name, tensor in source.state_dict().items()}
    load_weights(net, weights, allow_new_blocks=True)
    load_weights(source, weights)
    x = torch.rand(2, 32, 3, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with torch.no_grad():
        seen = [block.norm1(block.conv1(x)).relu() for block in (source.res2[1], net.res2[1])]
        expected, found = (block.norm2(block.conv2(seen[0])) for block in (source.res2[1], net.res2[1]))
    assert torch.equal(seen[0], seen[1])
    half = expected.shape[1] // 2
    torch.testing.assert_close(found[:, :half], expected[:, :half])
    assert (found - expected).norm() < 0.05 * expected.norm()


def test_what_the_other_half_contributed_leaves_the_statistics():
    """On inputs that are as the norm before the convolution has them, the output is about standardized."""
    source = small_net(zero_init_residual=False).double().eval()
    generator = torch.Generator().manual_seed(1)
    block = source.res4[1]
    x = torch.randn(8, 32, 4, 12, 12, generator=generator, dtype=torch.float64).relu()  # as after norm1 and a ReLU
    with torch.no_grad():
        y = block.conv2(x)
        block.norm2.running_mean.copy_(y.mean(dim=(0, 2, 3, 4)))
        block.norm2.running_var.copy_(y.var(dim=(0, 2, 3, 4)))
        net = small_net(conv=partial(SelfCalibratedConv3d, pooling=(1, 2, 2))).double().eval()
        load_weights(net, source.state_dict(), allow_new_blocks=True)
        z = net.res4[1].norm2(net.res4[1].conv2(x))[..., 1:-1, 1:-1]
        plain = source.res4[1].norm2(net.res4[1].conv2(x))[..., 1:-1, 1:-1]
    assert z.mean(dim=(0, 2, 3, 4)).abs().mean() < 0.5 * plain.mean(dim=(0, 2, 3, 4)).abs().mean()
    assert z.var(dim=(0, 2, 3, 4)).mean() == pytest.approx(1, abs=0.25)
