"""What is timed of a network: a forward pass, a training step; and a large matrix product beside them."""

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD

from videoctx.bench.model_measurements import Options
from videoctx.models.block_compilation import compile_blocks
from videoctx.models.resnet3d import ResNet3D

MATMUL_SIZES = {"cpu": (1024, 2048), "cuda": (4096, 8192)}
CHECKPOINTED_STAGES = frozenset({"res2", "res3"})  # the stages with the largest activations
PRODUCTS_IN_A_ROW = {"cpu": 1, "cuda": 8}  # so that starting them is a small part


def laid_out(net: nn.Module, options: Options) -> nn.Module:
    """Return a copy of a network in the memory format of the options."""
    net = copy.deepcopy(net)
    return net.to(memory_format=torch.channels_last_3d) if options.channels_last else net


def as_input(clip: Tensor, options: Options, *, cast: bool = False) -> Tensor:
    """Return clips in the memory format and, with `cast`, in the type of the options."""
    clip = clip.to(torch.bfloat16) if cast and options.bf16 else clip
    return clip.contiguous(memory_format=torch.channels_last_3d) if options.channels_last else clip


def forward_pass(net: nn.Module, clip: Tensor, *, autocast: bool = False) -> Callable[[], None]:
    """Return a function that computes the logits, without gradients."""

    def run() -> None:
        with torch.inference_mode(), _autocast(clip) if autocast else nullcontext():
            net(clip)

    return run


def training_step(net: nn.Module, clip: Tensor, labels: Tensor, options: Options) -> Callable[[], None]:
    """Return a function that trains a copy of the network: cross-entropy, gradients, SGD with the papers' settings."""
    net = laid_out(net, options).train().requires_grad_()
    if options.checkpointing:
        assert isinstance(net, ResNet3D), "only its stages can be checkpointed"
        net.activation_checkpointing = CHECKPOINTED_STAGES
    clip = as_input(clip, options)
    optimizer = SGD(net.parameters(), lr=1e-4, momentum=0.9, nesterov=True, weight_decay=1e-4, fused=options.fused)
    if options.compiled:
        compile_blocks(net)

    def run() -> None:
        with _autocast(clip) if options.bf16 else nullcontext():
            loss = F.cross_entropy(net(clip), labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return run


def _autocast(clip: Tensor) -> torch.autocast:
    return torch.autocast(clip.device.type, torch.bfloat16)


def matrix_products(
    device: str, precisions: Sequence[str] = ("float32", "bfloat16")
) -> dict[tuple[str, int], Callable[[], Any]]:
    """Return functions that multiply large square matrices, by precision and size."""
    kind = torch.device(device).type

    def product(precision: str, size: int) -> Callable[[], Any]:
        a, b = torch.randn(2, size, size, device=device).to(getattr(torch, precision))
        return lambda: [a @ b for _ in range(PRODUCTS_IN_A_ROW[kind])]

    return {(precision, size): product(precision, size) for precision in precisions for size in MATMUL_SIZES[kind]}


def multiply_adds(device: str, size: int) -> int:
    """Return the multiply-adds of one call of `matrix_products`."""
    return size**3 * PRODUCTS_IN_A_ROW[torch.device(device).type]


@contextmanager
def tuned(on: bool) -> Iterator[None]:
    """Let cuDNN choose its algorithms by trying them inside the `with` block."""
    before, torch.backends.cudnn.benchmark = torch.backends.cudnn.benchmark, on
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def seconds_of(run: Callable[[], Any], device: str) -> float:
    """Return the seconds until the work of a function is finished on the device."""
    cuda = torch.device(device).type == "cuda"
    if cuda:
        torch.cuda.synchronize()
    start = time.perf_counter()
    run()
    if cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start
