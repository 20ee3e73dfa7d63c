"""Networks for inference: with folded norms, channels last, and bfloat16 where the device multiplies it natively."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from videoctx.layers.pointwise import Pointwise
from videoctx.models.compilation import compile_for_fixed_sizes
from videoctx.models.folding import fold_batch_norms

MULTIPLY_ADDS = (nn.Conv2d, nn.Conv3d, nn.Linear, Pointwise)  # where the work is


class InferenceNetwork(nn.Module):
    """A network from (B, 3, T, H, W) to logits (B, K) float32. `for_inference` makes it."""

    def __init__(self, net: nn.Module, *, device: torch.device, dtype: torch.dtype, compiled: bool) -> None:
        super().__init__()
        self.net = net
        self.device = device
        self.dtype = dtype
        # Not a submodule: its parameters are those of `net`. A last, smaller batch is compiled on its own; made for
        # any size, the convolutions would lose their layout.
        self._run = compile_for_fixed_sizes(self._logits) if compiled else self._logits

    @torch.inference_mode()
    def forward(self, clips: Tensor) -> Tensor:
        clips = clips.to(self.device, self.dtype).contiguous(memory_format=torch.channels_last_3d)
        return self._run(clips)

    def _logits(self, clips: Tensor) -> Tensor:
        # The weights are in `dtype` already; autocast keeps sums and softmaxes in float32.
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            return self.net(clips).float()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "InferenceNetwork":
        super()._apply(fn, recurse)
        self.device = next(self.parameters()).device  # `to` moves the clips there too
        return self

    def extra_repr(self) -> str:
        return f"device={self.device}, dtype={self.dtype}"


def has_known_layers(net: nn.Module) -> bool:
    """Whether every layer is of this package or torch, and so takes channels last and weights in another precision."""
    return all(type(layer).__module__.partition(".")[0] in ("videoctx", "torch") for layer in net.modules())


def to_channels_last(net: nn.Module) -> nn.Module:
    """Bring weights (C_out, C_in, T, H, W) to `torch.channels_last_3d`, in place.

    `Module.to` fails for networks that also have 2D convolutions.
    """
    for tensor in (*net.parameters(), *net.buffers()):
        if tensor.ndim == 5:
            tensor.data = tensor.data.to(memory_format=torch.channels_last_3d)
    return net


def for_inference(
    net: nn.Module, device: str | torch.device = "cpu", *, dtype: torch.dtype | None = None, compiled: bool = False
) -> InferenceNetwork:
    """Return a fast copy of `net` on a device. Its logits differ by rounding, in bfloat16 to 8 bits.

        fast = for_inference(videoctx.load("best.ckpt").net, "cuda")
        probabilities = fast(clips).softmax(dim=1)

    Args:
        net: In evaluation mode. It is not changed.
        dtype: Type of convolutions and linear layers. None: bfloat16 where the device multiplies it natively, and
            float32 elsewhere.
        compiled: Use `torch.compile`. It needs a C++ compiler, takes up to a minute at the first clips of each size,
            and then saves a tenth to a quarter of the time.

    Raises:
        ValueError: `net` is in training mode.
    """
    device = torch.device(device)
    dtype = dtype or (torch.bfloat16 if multiplies_bf16(device) else torch.float32)
    net = fold_batch_norms(net).requires_grad_(False).to(device)
    for layer in net.modules():
        if isinstance(layer, MULTIPLY_ADDS):
            layer.to(dtype)
    return InferenceNetwork(to_channels_last(net), device=device, dtype=dtype, compiled=compiled)


def cpu_capabilities() -> dict[str, Any]:
    """Return the name and the instruction sets of the CPU, by torch's names. Empty where this torch cannot tell."""
    return dict(torch.cpu.get_capabilities()) if hasattr(torch.cpu, "get_capabilities") else {}


def multiplies_bf16(device: torch.device) -> bool:
    """Whether a device has instructions for products of bfloat16. Elsewhere they are emulated, and slow."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        capabilities = cpu_capabilities()
        return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    return False


def emulates_bf16(device: torch.device) -> bool:
    """Whether a device is known to have no instructions for products of bfloat16. Of CPUs, only x86 ones are known."""
    known = device.type == "cuda" or (device.type == "cpu" and "avx512_bf16" in cpu_capabilities())
    return known and not multiplies_bf16(device)
