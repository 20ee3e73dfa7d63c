"""Folded BatchNorms, the network made fast for evaluation, and gradients that are incorrect in bfloat16 on a CPU."""

from functools import partial

import pytest
import torch
import torchvision.models.video
from torch import nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from tests.each_case import each_case
from tests.reference.comparison import random_input
from videoctx import layers
from videoctx.models import Res2NetBottleneck3d, ResNet3D
from videoctx.models.bf16_gradients import convolutions_with_incorrect_gradients
from videoctx.models.folding import fold_batch_norms
from videoctx.models.inference import emulates_bf16, for_inference
from videoctx.models.r2plus1d import BasicBlock2Plus1d, FactorizedBlock2Plus1d, OwnWidthsBlock2Plus1d
from videoctx.models.residual_blocks import Bottleneck3d

CONTEXT_AT = {"res2": [0], "res3": [1]}
CONTEXTS = {
    "nonlocal": layers.NonLocal,
    "gc": layers.GlobalContext,
    "snl": layers.SimplifiedNonLocal,
    "se": layers.SqueezeExcitation,
    "cgnl": partial(layers.CompactNonLocal, num_groups=2, norm="batch"),
    "dnl": layers.DisentangledNonLocal,
    "a2": layers.DoubleAttention,
    "cbam": partial(layers.CBAM, ratio=0.5),
    "bat": partial(layers.BilinearAttentionalTransform, ratio=0.5, num_groups=4, grid_size=2, num_temporal_groups=0),
    "gala": partial(layers.GALA, ratio=0.5),
    "gather_excite": partial(layers.GatherExcite, extent=2, extent_t=2, ratio=0.5),
}
NETWORKS = {
    "basic": {},
    "bottleneck": {"depth": 50},
    "bottleneck, 1x1 stride, groups": {"depth": 50, "stride_at": "1x1", "groups": 2, "width_per_group": 32},
    "factorized convolution": {"conv": layers.Conv2Plus1d, "stem_conv": layers.Conv2Plus1d},
    "r2plus1d": {"temporal_kernels": "r3d", "block": BasicBlock2Plus1d, "stem_conv": layers.Conv2Plus1d},
    "self-calibrated": {"depth": 50, "conv": partial(layers.SelfCalibratedConv3d, pooling=(1, 2, 2))},
    "attention-augmented": {"conv": partial(layers.AttentionAugmentedConv3d, num_heads=1, min_key_channels=2)},
    "own widths": {"temporal_kernels": "r3d", "block": OwnWidthsBlock2Plus1d},
    "factorized shortcut": {"temporal_kernels": "r3d", "block": FactorizedBlock2Plus1d},
    "depthwise": {"depth": 50, "temporal_kernels": "r3d", "conv": layers.DepthwiseConv3d},
    "channel-separated": {"depth": 50, "temporal_kernels": "r3d", "conv": layers.ChannelSeparatedConv3d},
    "neck": {"neck": partial(layers.FeaturePyramidTransformer, width=8)},
    "temporal shift": {"depth": 50, "temporal_kernels": "c2d", "first_conv": layers.TemporalShiftConv3d},
    "res2net": {"depth": 50, "block": Res2NetBottleneck3d},
    "after_1x1": {"context": layers.GlobalContext, "context_at": CONTEXT_AT, "context_position": "after_1x1"},
    **{name: {"context": context, "context_at": CONTEXT_AT} for name, context in CONTEXTS.items()},
}
# Norms after what has no weights that could take them: two a block; one a context block.
LEFT = {"attention-augmented": 16, "cgnl": 2}


def as_trained(net):
    """`net` in evaluation mode, with random norms, and no weights of zero."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for layer in norms(net):
            for tensor in (layer.weight, layer.running_var):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
            for tensor in (layer.bias, layer.running_mean):
                tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.3)
        for parameter in net.parameters():
            if not parameter.any():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return net.eval()


def network(**arguments):
    torch.manual_seed(0)
    return as_trained(ResNet3D(5, **{"depth": 18, "width": 16} | arguments))


def norms(net):
    return [layer for layer in net.modules() if isinstance(layer, _BatchNorm)]


def clip(*shape):
    """Random, in float32."""
    return random_input(*shape).detach().float()


# Folding ----------------------------------------------------------------------------------------------------------


@torch.no_grad()
@each_case("name", NETWORKS)
def test_gives_the_same_logits_without_norms(name):
    net = network(**NETWORKS[name]).double()
    x = clip(1, 3, 4, 64, 64).double()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    expected, folded = net(x), fold_batch_norms(net)
    assert expected.std() > 1e-3
    assert len(norms(net)) >= 20
    assert len(norms(folded)) == LEFT.get(name, 0)
    torch.testing.assert_close(folded(x), expected, rtol=1e-9, atol=1e-9)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


@torch.no_grad()
def test_folds_sequences_of_other_projects():
    net = as_trained(torchvision.models.video.r2plus1d_18(num_classes=5)).double()
    x = clip(1, 3, 4, 32, 32).double()
    folded = fold_batch_norms(net)
    assert not norms(folded)
    torch.testing.assert_close(folded(x), net(x), rtol=1e-9, atol=1e-9)


@torch.no_grad()
def test_leaves_a_subclass_alone_that_may_compute_something_else():
    class Preactivated(Bottleneck3d):
        """Its norms have the names of the others, and are before the convolutions."""

        def branch(self, x):
            x = self.conv2(self.norm1(self.conv1(x)).relu())
            return self.norm3(self.conv3(self.norm2(x.relu())))

    net = network(depth=50, block=Preactivated)
    x = clip(1, 3, 4, 32, 32)
    torch.testing.assert_close(fold_batch_norms(net)(x), net(x), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_keeps_a_bias_and_a_norm_without_parameters_or_statistics():
    conv = nn.Conv3d(3, 4, 1)
    plain, without_statistics = nn.BatchNorm3d(4, affine=False), nn.BatchNorm3d(4, track_running_stats=False)
    plain.running_mean.uniform_(-1, 1)
    plain.running_var.uniform_(0.5, 2)
    x = clip(2, 3, 2, 4, 4)
    for norm, left in ((plain, 0), (without_statistics, 1)):
        net = nn.Sequential(conv, norm).eval()
        folded = fold_batch_norms(net)
        assert len(norms(folded)) == left
        torch.testing.assert_close(folded(x), net(x), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_leaves_weights_alone_that_are_computed():
    computed = nn.utils.parametrizations.weight_norm(nn.Conv3d(3, 4, 1))
    net = as_trained(nn.Sequential(computed, nn.BatchNorm3d(4)))
    x = clip(2, 3, 2, 4, 4)
    folded = fold_batch_norms(net)
    assert len(norms(folded)) == 1
    torch.testing.assert_close(folded(x), net(x))


@torch.no_grad()
def test_layers_that_share_weights():
    first, second = nn.Conv3d(3, 3, 1), nn.Conv3d(3, 3, 1)
    second.weight = first.weight
    net = as_trained(nn.Sequential(first, nn.BatchNorm3d(3), second, nn.BatchNorm3d(3)))
    x = clip(2, 3, 2, 4, 4)
    folded = fold_batch_norms(net)
    assert not norms(folded)
    torch.testing.assert_close(folded(x), net(x), rtol=1e-4, atol=1e-5)


def test_refuses_training_mode():
    net = network()
    net.res3[0].norm2.train()
    with pytest.raises(ValueError, match=r"1 BatchNorms are in training mode \(res3.0.norm2, …\).*net.eval\(\)"):
        fold_batch_norms(net)


# For inference ----------------------------------------------------------------------------------------------------


@each_case("name", NETWORKS)
def test_for_inference_gives_the_same_logits_up_to_rounding(name):
    net, x = network(**NETWORKS[name]), clip(2, 3, 4, 64, 64)
    with torch.no_grad():
        expected = net(x)
    scale = expected.abs().max().item()
    for dtype, tolerance in ((torch.float32, 1e-4), (torch.bfloat16, 0.1)):
        if dtype == torch.bfloat16 and name == "attention-augmented":
            continue  # with these weights one position gets all attention, and rounding decides which
        logits = for_inference(net, dtype=dtype)(x)
        assert logits.dtype == torch.float32
        assert not logits.requires_grad
        assert (logits - expected).abs().max() < tolerance * scale
    assert all(parameter.dtype == torch.float32 and parameter.requires_grad for parameter in net.parameters())


@each_case(("dtype", "num_clips"), [(torch.bfloat16, 1), (torch.float32, 2)])
def test_for_inference_computes_in_the_dtype_that_is_asked_for(dtype, num_clips):
    fast = for_inference(network(), dtype=dtype)
    seen = []
    fast.net.res3[0].conv1.register_forward_hook(lambda _, inputs, output: seen.append((inputs[0], output)))
    fast(clip(num_clips, 3, 2, 32, 32))  # torch chooses other convolutions for a single small clip in float32
    for tensor in seen[0]:  # after conv1 and both poolings, too
        assert tensor.dtype == dtype
        if dtype == torch.float32 or not emulates_bf16(tensor.device):  # emulated convolutions return another layout
            assert tensor.is_contiguous(memory_format=torch.channels_last_3d)


@pytest.mark.slow  # compiles C++
def test_for_inference_compiled():
    net = nn.Sequential(nn.Conv3d(3, 4, 3), nn.BatchNorm3d(4), nn.ReLU(), nn.Flatten()).eval()
    compiled, x = for_inference(net, dtype=torch.float32, compiled=True), clip(2, 3, 4, 4, 4)
    try:
        logits = compiled(x)
    except Exception as error:
        if "compiler" not in str(error).lower():
            raise
        pytest.skip("no C++ compiler for torch.compile")
    torch.testing.assert_close(logits, net(x).detach(), rtol=1e-4, atol=1e-4)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0


# Gradients in bfloat16 on a CPU -----------------------------------------------------------------------------------


def test_names_the_convolutions_whose_kernel_is_longer_than_the_clip():
    net = network(temporal_kernels="i3d", pool2_t=(2, 2))
    assert convolutions_with_incorrect_gradients(net, clip_len=8, size=32) == []
    short = convolutions_with_incorrect_gradients(net, clip_len=4, size=32)  # conv1 reaches over 5, and res3 on sees 2
    assert short[0] == "stem.conv"
    assert "res3.0.conv1" in short
    assert "res2.0.conv1" not in short
    assert all(name.startswith(("stem", "res3", "res4", "res5")) for name in short)
    assert convolutions_with_incorrect_gradients(network(temporal_kernels="c2d"), clip_len=4, size=32) == []
    assert net.training is False


@each_case("kernel_t", [1, 3, 5])
@each_case("clip_len", [1, 2, 3, 4, 5, 8])
@each_case("stride_t", [1, 2])
def test_gradients_are_correct_where_none_is_named(kernel_t, clip_len, stride_t):
    conv = nn.Conv3d(3, 8, (kernel_t, 3, 3), (stride_t, 1, 1), (kernel_t // 2, 1, 1), bias=False)
    if convolutions_with_incorrect_gradients(conv, clip_len=clip_len, size=6):
        return
    x = clip(1, 3, clip_len, 6, 6).bfloat16()
    gradients = []
    for dtype in (torch.float32, torch.bfloat16):
        weight = conv.weight.detach().bfloat16().to(dtype).requires_grad_()
        output = F.conv3d(x.to(dtype), weight, stride=conv.stride, padding=conv.padding)
        (gradient,) = torch.autograd.grad(output.sum() / 7, weight)
        gradients.append(gradient.float())
    torch.testing.assert_close(gradients[1], gradients[0], rtol=0.03, atol=0.03)
