"""Networks on a GPU: the numbers of the CPU, in every way that they are run."""

import copy

import pytest
import torch
from torch.nn import functional as F
from torch.optim import SGD

from tests.each_case import each_case
from videoctx.models import create_model
from videoctx.models.block_compilation import compile_blocks
from videoctx.models.inference import for_inference, multiplies_bf16

pytestmark = pytest.mark.cuda

NETWORKS = ("i3d_r50", "i3d_r50_nl5", "i3d_r50_gc5", "i3d_r50_gc_all", "slow_r50_snl5", "c2d_r50_se", "r2plus1d_18")


def network(name: str) -> torch.nn.Module:
    """A narrow network in which no branch starts at zero."""
    torch.manual_seed(0)
    net = create_model(name, 5, **({} if name == "r2plus1d_18" else {"width": 8}), dropout=0.0)
    for parameter in net.parameters():
        if parameter.ndim == 1:
            torch.nn.init.uniform_(parameter, 0.3, 0.7)
    return net


def clips(seed: int = 0) -> torch.Tensor:
    return torch.randn(2, 3, 8, 64, 64, generator=torch.Generator().manual_seed(seed))


def close(ours: torch.Tensor, expected: torch.Tensor, tolerance: float) -> None:
    """Assert that the differences are small beside the largest expected value."""
    expected = expected.float().cpu()
    bound = tolerance * expected.abs().max().item()
    torch.testing.assert_close(ours.float().cpu(), expected, rtol=0, atol=bound)


@each_case("name", NETWORKS)
@torch.no_grad()
def test_logits_are_those_of_the_cpu(device, name):
    net = network(name).eval()
    expected = net(clips())
    on_device = copy.deepcopy(net).to(device)
    close(on_device(clips().to(device)), expected, 1e-4)
    last = clips().to(device).contiguous(memory_format=torch.channels_last_3d)
    close(on_device.to(memory_format=torch.channels_last_3d)(last), expected, 1e-4)
    close(for_inference(net, device, dtype=torch.float32)(clips()), expected, 1e-4)
    if multiplies_bf16(device):
        close(for_inference(net, device, dtype=torch.bfloat16)(clips()), expected, 0.05)


def train(net: torch.nn.Module, device: torch.device, *, fused: bool = False) -> tuple[list[float], torch.Tensor]:
    """Return the losses of three steps, and the gradients of the first."""
    net = net.to(device).train()
    optimizer = SGD(net.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=1e-4, fused=fused)
    losses, first = [], torch.empty(0)
    for step in range(3):
        loss = F.cross_entropy(net(clips(step).to(device)), torch.tensor([0, 3], device=device))
        loss.backward()
        if not step:
            first = torch.cat([p.grad.flatten().cpu() for p in net.parameters() if p.grad is not None])
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses, first


@each_case("name", NETWORKS[:4])
def test_losses_and_gradients_are_those_of_the_cpu(device, name):
    expected, expected_gradients = train(network(name), torch.device("cpu"))
    losses, gradients = train(network(name), device)
    assert losses == pytest.approx(expected, rel=1e-3)
    close(gradients, expected_gradients, 1e-3)
    fused, _ = train(network(name), device, fused=True)
    assert fused == pytest.approx(expected, rel=1e-3)


def to_compile(device: torch.device) -> torch.nn.Module:
    """A network on a GPU. On a CPU, where compiling takes minutes, its first block and what is around it."""
    net = network("i3d_r50_gc5")
    if device.type == "cuda":
        return net
    head = torch.nn.Linear(net.res2[0].out_channels, 5)
    torch.nn.init.constant_(head.weight, 0.1)
    torch.nn.init.zeros_(head.bias)
    return torch.nn.Sequential(net.stem, net.res2[0], net.average, torch.nn.Flatten(), head)


def test_blocks_that_are_compiled_train_the_same(device):
    expected, expected_gradients = train(to_compile(device), device)
    losses, gradients = train(compile_blocks(to_compile(device)), device)
    assert losses == pytest.approx(expected, rel=1e-3)
    close(gradients, expected_gradients, 1e-3)


@torch.no_grad()
def test_a_compiled_network_gives_the_same_logits(device):
    net = to_compile(device).eval()
    close(for_inference(net, device, dtype=torch.float32, compiled=True)(clips()), net(clips()), 1e-3)


@torch.no_grad()
def test_an_exported_network_gives_the_same_logits(device, tmp_path):
    net = network("i3d_r50_gc5").eval()
    expected = net(clips())
    program = torch.export.export(net.to(device), (clips().to(device),))
    torch.export.save(program, tmp_path / "net.pt2")
    close(torch.export.load(tmp_path / "net.pt2").module()(clips().to(device)), expected, 1e-4)
