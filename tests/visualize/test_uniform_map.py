"""A map that weighs all places alike is told from one that does not, and rounding from both."""

import copy

import pytest
import torch
from torch import nn

from tests.each_case import each_case
from videoctx.layers import CBAM, DisentangledNonLocal, DoubleAttention, GlobalContext, NonLocal, SimplifiedNonLocal
from videoctx.models import ResNet3D
from videoctx.visualize.attention import Attention, trace_blocks
from videoctx.visualize.gradcam import grad_cam
from videoctx.visualize.query_dependence import query_dependence
from videoctx.visualize.uniform_map import ALIKE, is_uniform, uniform_rows

SIZES = (2, 6, 5)


def clip_of(*, channels: int = 6, sizes=SIZES) -> torch.Tensor:
    return torch.randn(1, channels, *sizes, generator=torch.Generator().manual_seed(0))


def attention_of(block: nn.Module) -> Attention:
    (trace,) = trace_blocks(nn.Sequential(block.eval()), clip_of()).values()
    return trace.attention


@each_case(("spread", "uniform"), [(0.0, True), (0.9 * ALIKE, True), (1.1 * ALIKE, False)])
@each_case("greatest", [1.0, -3.0, 1e-9])
def test_threshold_is_a_share_of_the_greatest_weight(spread, uniform, greatest):
    weights = torch.full((2, 3, 4), greatest, dtype=torch.float64)
    weights[1, 2, 0] *= 1 - spread
    assert is_uniform(weights) == uniform
    assert uniform_rows(torch.stack([weights.flatten(), torch.arange(24.0)])).tolist() == [uniform, False]


def test_zeros_are_uniform_and_opposite_signs_are_not():
    assert is_uniform(torch.zeros(5))
    assert not is_uniform(torch.tensor([0.001, -0.001]))


@each_case(
    "block",
    [
        *(NonLocal(6, affinity=affinity) for affinity in ("embedded_gaussian", "dot_product", "concatenation")),
        *(NonLocal(6, attend_over=over, subsample="none") for over in ("space", "time")),
        DisentangledNonLocal(6),
        SimplifiedNonLocal(6),
        GlobalContext(6, ratio=0.5),
        CBAM(6, ratio=0.5),
    ],
)
def test_only_with_weights_of_zero_all_places_are_alike(block):
    torch.manual_seed(0)
    for parameter in block.parameters():
        nn.init.uniform_(parameter, -0.3, 0.7)
    assert not attention_of(block).is_uniform((1, 2, 3))
    for parameter in block.parameters():
        nn.init.zeros_(parameter)
    assert attention_of(block).is_uniform((1, 2, 3))


def test_before_training_a_non_local_block_weighs_all_places_alike():
    torch.manual_seed(0)
    net = ResNet3D(3, depth=18, width=16, context=NonLocal, context_at={"res3": [1], "res4": [1]}).eval()
    for trace in trace_blocks(net, clip_of(channels=3, sizes=(4, 32, 32))).values():
        assert trace.attention.is_uniform((0, 1, 1))
        assert query_dependence(trace).uniform == 1


@each_case("context", [NonLocal, DisentangledNonLocal, DoubleAttention, SimplifiedNonLocal, GlobalContext, CBAM])
def test_rounding_is_far_below_the_threshold(context):
    """Float32 against float64, in a whole network."""
    torch.manual_seed(0)
    net = ResNet3D(3, depth=18, width=8, context=context, context_at={"res4": [1]}).eval()
    clip = clip_of(channels=3, sizes=(4, 32, 32))
    queries = torch.arange(4)
    single, double = (
        next(iter(trace_blocks(copy.deepcopy(net).to(dtype), clip.to(dtype)).values())).attention.rows(0, queries)
        for dtype in (torch.float32, torch.float64)
    )
    assert (single - double).abs().max() < ALIKE / 100 * double.abs().max()


class Difference(nn.Module):
    """The logit is the mean of a feature minus that of the same feature after a multiplication and a division."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.features = nn.Identity()
        self.factor = factor

    def forward(self, clip):
        gray = clip.mean(dim=1, keepdim=True).abs() + 1
        features = self.features(torch.cat([gray, gray * 3.3 / 3.3 * self.factor], dim=1))
        logit = (features[:, 0] - features[:, 1]).mean(dim=(1, 2, 3))
        return torch.stack([logit, -logit], dim=1)


def test_rounding_is_no_class_activation():
    assert not grad_cam(Difference(1.0), clip_of(channels=3), "features", class_index=0).map.any()
    assert grad_cam(Difference(0.99), clip_of(channels=3), "features", class_index=0).map.all()


def test_share_of_uniform_maps():
    """Of the two frames, the first is black: its queries weigh all of its places alike."""
    torch.manual_seed(0)
    block = NonLocal(6, attend_over="space", subsample="none").eval()
    for parameter in block.parameters():
        nn.init.normal_(parameter)
    clip = clip_of()
    clip[:, :, 0] = 0
    (trace,) = trace_blocks(nn.Sequential(block), clip).values()
    assert query_dependence(trace).uniform == pytest.approx(0.5)
