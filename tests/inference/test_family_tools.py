"""Every tool works with SlowFast, X3D, CSN and R(2+1)D: folding, complexity, Grad-CAM, attention maps."""

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from tests.each_case import each_case
from tests.models.randomized_norms import randomize
from videoctx.layers import NonLocal
from videoctx.models import CSN, X3D, R2Plus1D, SlowFast
from videoctx.models.complexity import complexity
from videoctx.models.folding import fold_batch_norms
from videoctx.models.inference import has_known_layers
from videoctx.visualize.attention import find_block, trace_blocks
from videoctx.visualize.gradcam import grad_cam

FAMILIES = {
    "slowfast": (SlowFast, {"width": 8, "alpha": 2}, "res5.slow"),
    "x3d": (X3D, {"width_factor": 0.5}, "res5"),
    "csn": (CSN, {"depth": 50, "width": 8}, "res5"),
    "r2plus1d": (R2Plus1D, {"width": 8}, "res5"),
}


def small(name: str, **more) -> nn.Module:
    family, arguments, _ = FAMILIES[name]
    torch.manual_seed(0)
    return randomize(family(3, **arguments, **more))


@torch.no_grad()
@each_case("name", FAMILIES)
def test_all_norms_are_folded(name):
    net, clips = small(name), torch.rand(1, 3, 4, 64, 64)
    assert has_known_layers(net)
    folded = fold_batch_norms(net)
    assert not [layer for layer in folded.modules() if isinstance(layer, _BatchNorm)]
    torch.testing.assert_close(folded(clips), net(clips), rtol=1e-4, atol=1e-4)


@each_case("name", FAMILIES)
def test_grad_cam_and_attention_maps(name):
    net, clip = small(name, context=NonLocal, context_at={"res4": [0]}), torch.rand(1, 3, 4, 64, 64)
    layer = FAMILIES[name][2]
    found = grad_cam(net, clip, layer)
    assert found.map.shape[1:] == (2, 2)
    assert [axis.step for axis in found.grid.axes[1:]] == [32, 32]
    block = find_block(net)
    assert block == f"{layer.replace('res5', 'res4')}.0"
    attention = trace_blocks(net, clip)[block].attention
    assert attention.queries.sizes[1:] == (4, 4)
    assert [axis.step for axis in attention.queries.axes[1:]] == [16, 16]


@each_case("name", FAMILIES)
def test_parts_add_up(name):
    family, arguments, _ = FAMILIES[name]
    counts = complexity(lambda: family(3, **arguments, context=NonLocal, context_at={"res3": [0]}), clip_len=4, size=64)
    assert sum(part.params for part in counts.stages) == counts.params
    assert sum(part.macs for part in counts.stages) == counts.macs
    assert len(counts.context_blocks) == 1
