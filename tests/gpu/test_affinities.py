"""The affinities of the Non-local block on a GPU, in the precisions of autocast."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from tests.each_case import each_case
from videoctx.layers import NonLocal
from videoctx.layers.non_local import ConcatenationAffinity, DotProductAffinity, SoftmaxAffinity

pytestmark = pytest.mark.cuda

AFFINITIES = {"softmax": SoftmaxAffinity, "dot product": DotProductAffinity, "concatenation": ConcatenationAffinity}
TOLERANCES = {torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 8e-2}
WIDTH = 32


def gradients(affinity, inputs: list[torch.Tensor], path: str) -> list[torch.Tensor]:
    """Return the context of queries, and the gradients of its sum of squares, in float32 on the CPU."""
    inputs = [tensor.detach().requires_grad_() for tensor in inputs]
    context = (affinity.direct if path == "direct" else affinity)(*inputs)
    found = torch.autograd.grad(context.float().square().sum(), inputs)
    return [tensor.float().cpu() for tensor in (context.detach(), *found)]


@each_case("dtype", TOLERANCES)
@each_case("name", AFFINITIES)
def test_the_exact_path_gives_the_matrix_s_numbers(device, name, dtype):
    torch.manual_seed(0)
    affinity = AFFINITIES[name](*([WIDTH] if name == "concatenation" else []))
    inputs = [torch.randn(2, count, WIDTH) for count in (96, 24, 24)]
    expected = gradients(affinity, inputs, "direct")
    found = gradients(affinity.to(device, dtype), [tensor.to(device, dtype) for tensor in inputs], "exact")
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=TOLERANCES[dtype] * theirs.abs().max().item())


@each_case("width", [64, 256, 512])  # of θ, φ and g in res2 … res4 of a ResNet-50; the flash kernels end at 256
def test_softmax_in_bfloat16_never_computes_the_matrix(cuda, width):
    inputs = [torch.randn(1, count, width, device=cuda, dtype=torch.bfloat16) for count in (1568, 392, 392)]
    with sdpa_kernel([SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.CUDNN_ATTENTION]):
        found = gradients(SoftmaxAffinity(), inputs, "exact")
    for ours, theirs in zip(found, gradients(SoftmaxAffinity(), [t.float() for t in inputs], "direct"), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=8e-2 * theirs.abs().max().item())


@each_case("dtype", [torch.bfloat16, torch.float16])
@each_case("affinity", ["gaussian", "embedded_gaussian", "dot_product", "concatenation"])
def test_a_block_under_autocast_is_near_float32(device, affinity, dtype):
    torch.manual_seed(0)
    block = NonLocal(16, affinity=affinity)
    torch.nn.init.ones_(block.transform[-1].weight)  # γ = 0 would hide the context
    block, x = block.to(device).eval(), torch.randn(2, 16, 4, 14, 14).to(device)
    with torch.no_grad():
        expected = block(x)
        with torch.autocast(device.type, dtype):
            found = block(x)
    torch.testing.assert_close(found.float(), expected, rtol=0, atol=0.05 * expected.abs().max().item())
