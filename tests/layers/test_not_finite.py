"""NaN is passed on, and sums over many positions do not overflow in float16, in every layer."""

import copy
from functools import partial

import torch
from torch import nn

from tests.each_case import each_case
from videoctx import layers
from videoctx.layers.disentangled_non_local import WhitenedAffinity
from videoctx.layers.non_local import ConcatenationAffinity, DotProductAffinity, SoftmaxAffinity

CHANNELS = 16
LAYERS = {
    **{f"NonLocal {f}": partial(layers.NonLocal, affinity=f) for f in ("embedded_gaussian", "dot_product")},
    "NonLocal gaussian": partial(layers.NonLocal, affinity="gaussian", subsample="keys", attend_over="space"),
    "NonLocal concatenation": partial(
        layers.NonLocal, affinity="concatenation", subsample="none", attend_over="time", batch_norm=False
    ),
    "SimplifiedNonLocal": layers.SimplifiedNonLocal,
    "SqueezeExcitation": partial(layers.SqueezeExcitation, ratio=0.5),
    "GlobalContext": partial(layers.GlobalContext, ratio=0.5),
    "GlobalContext average": partial(layers.GlobalContext, ratio=0.5, pooling="average", fusion="scale_and_add"),
    "DisentangledNonLocal": layers.DisentangledNonLocal,
    "DoubleAttention": layers.DoubleAttention,
    "CompactNonLocal": partial(layers.CompactNonLocal, num_groups=4, norm="batch"),
    "CompactNonLocal rbf": partial(layers.CompactNonLocal, num_groups=4, kernel="gaussian_rbf"),
    "CBAM": partial(layers.CBAM, ratio=0.5),
    "GALA": layers.GALA,
    "BilinearAttentionalTransform": partial(
        layers.BilinearAttentionalTransform, grid_size=4, temporal_grid_size=2, num_groups=4
    ),
    **{
        f"GatherExcite {name}": partial(layers.GatherExcite, variant=name, extent=2, ratio=0.5)
        for name in ("theta_minus", "theta_plus")
    },
    "AttentionAugmentedConv3d": lambda channels: layers.AttentionAugmentedConv3d(
        channels, channels, num_heads=2, min_key_channels=4
    ),
    "SelfCalibratedConv3d": lambda channels: layers.SelfCalibratedConv3d(channels, channels),
    "Conv2Plus1d": lambda channels: layers.Conv2Plus1d(channels, channels),
    "DepthwiseConv3d": lambda channels: layers.DepthwiseConv3d(channels, channels),
    "ChannelSeparatedConv3d": lambda channels: layers.ChannelSeparatedConv3d(channels, channels),
    "TemporalShiftConv3d": lambda channels: layers.TemporalShiftConv3d(channels, channels),
}
AFFINITIES = {
    "softmax": SoftmaxAffinity,
    "whitened": partial(WhitenedAffinity, temperature=0.05),
    "dot product": DotProductAffinity,
    "concatenation": partial(ConcatenationAffinity, 8),
}


def rough(make, std: float) -> nn.Module:
    torch.manual_seed(0)
    layer = make(CHANNELS).eval()
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=std)
    return layer


def test_every_layer_is_listed():
    assert set(layers.__all__) - {"ContextBlock", "FeaturePyramidTransformer"} <= {name.split()[0] for name in LAYERS}


@each_case("dtype", [torch.float32, torch.bfloat16])
@each_case("name", LAYERS)
@torch.no_grad()
def test_nan_in_a_parameter_or_in_the_input_is_in_the_output(name, dtype):
    if name == "SelfCalibratedConv3d" and dtype != torch.float32:
        return  # torch's average pooling over three axes has no bfloat16 on a CPU
    layer, x = rough(LAYERS[name], 0.3).to(dtype), torch.randn(1, CHANNELS, 4, 8, 8, dtype=dtype)
    assert layer(x).isfinite().all()
    for parameter_name, parameter in layer.named_parameters():
        kept, numbers = parameter.clone(), parameter.view(-1)
        for places in (slice(None), slice(len(numbers) // 2, len(numbers) // 2 + 1)):  # all numbers, and one of them
            numbers[places] = torch.nan
            assert layer(x).isnan().any(), (parameter_name, places)
            parameter.copy_(kept)
    x[0, 3, 1, 2, 3] = torch.nan
    assert layer(x).isnan().any(), "input"


@each_case("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@each_case(("num_queries", "num_keys"), [(3, 200), (64, 49), (64, 784)])  # several and single blocks of the kernel
@each_case("name", AFFINITIES)
def test_nan_is_where_the_direct_evaluation_has_it(name, num_queries, num_keys, dtype):
    torch.manual_seed(0)
    affinity = AFFINITIES[name]().to(dtype)
    for which, part in enumerate(("theta", "phi", "g")):
        for whole in (True, False):
            parts = [torch.randn(2, count, 8, dtype=dtype) for count in (num_queries, num_keys, num_keys)]
            parts[which][0, 1 if not whole else slice(None), 2] = torch.nan
            fast, direct = affinity(*parts).isnan(), affinity.direct(*parts).isnan()
            assert direct.any(), (part, whole)
            assert torch.equal(fast, direct), (part, whole)


# float16 --------------------------------------------------------------------------------------------------------------


@each_case("size", [1.0, 20.0])
@each_case("name", [name for name in LAYERS if name != "SelfCalibratedConv3d"])
@torch.no_grad()
def test_float16_equals_float64(name, size):
    """Over 6400 positions."""
    half = rough(LAYERS[name], 0.1).half()
    if name == "CompactNonLocal":  # its sums have no divisor: the norm brings them into range
        half.transform[1].running_var.fill_(6e4)
    x = (size * torch.randn(1, CHANNELS, 4, 40, 40) + size).half()
    ours, truth = half(x).double(), copy.deepcopy(half).double()(x.double())
    assert (ours - truth).norm() <= 3e-3 * truth.norm()


@each_case("kernel", ["dot", "gaussian_rbf"])
def test_the_sums_of_compact_non_local_exceed_float16(kernel):
    """So do those of mixed precision, in training: output and gradients are finite and close to float64."""
    half = rough(partial(layers.CompactNonLocal, num_groups=4, kernel=kernel), 0.1)
    x = 20 * torch.randn(1, CHANNELS, 4, 40, 40) + 20
    truth = copy.deepcopy(half).double()
    assert truth.context(x.double()).abs().max() > 65504
    with torch.autocast("cpu", torch.float16):
        output = half(x)
    expected = truth(x.double())
    output.sum().backward()
    assert (output - expected).norm() <= 3e-3 * expected.norm()
    assert all(parameter.grad.isfinite().all() for parameter in half.parameters())


@each_case("size", [1e-3, 1.0, 40.0])
@each_case("name", AFFINITIES)
@torch.no_grad()
def test_float16_affinities_over_many_positions(name, size):
    """Σ φ g over 12544 keys is far above 65504 for a size of 40, and g / M is rounded to few digits for 0.001."""
    torch.manual_seed(0)
    affinity = AFFINITIES[name]().half()
    sizes = (size, size, size) if name != "dot product" else (1.0, size, size)
    parts = [
        (scale * (1 + torch.rand(1, count, 8))).half() for scale, count in zip(sizes, (64, 12544, 12544), strict=True)
    ]
    ours, truth = affinity(*parts).double(), copy.deepcopy(affinity).double()(*(part.double() for part in parts))
    rounding = 3e-2 if name == "whitened" else 1e-2  # the differences from the means, times 20
    assert (ours - truth).norm() <= rounding * truth.norm()
    if name == "dot product" and size > 1:
        assert ((parts[1].double() * parts[2]).sum() > 65504).all()
