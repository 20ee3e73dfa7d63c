"""Where bfloat16 convolutions on a CPU get no right gradient: torch leaves part of it as it found the memory.

Seen with torch 2.14.1 and oneDNN 3.12, for both memory formats and any stride and groups: the gradient of a
convolution's weights is wrong, by any amount, where the kernel reaches over more frames than there are, and the
output has more than one of them: a kernel over 3 frames with clips that are down to 2, one over 5 with 2, 3 or 4.
Elsewhere it is right, and so it is in float32, and on a GPU.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from torch import Tensor, nn

from videoctx.models.meta_device import meta_copy, run_on_meta


def convolutions_with_wrong_gradients(net: nn.Module, *, clip_len: int, size: int) -> list[str]:
    """Names of the convolutions that must not be trained in bfloat16 on a CPU with clips of (clip_len, size, size).

    Nothing is computed: a copy without memory, on the meta device, runs once.
    """
    hollow = meta_copy(net).eval()
    with watch_bf16_gradients(hollow) as found:
        run_on_meta(hollow, clip_size=(clip_len, size, size))
    return found


@contextmanager
def watch_bf16_gradients(net: nn.Module) -> Iterator[list[str]]:
    """The same of what goes through `net` meanwhile: the names are in the list at the end."""
    found: list[str] = []

    def look(name: str, conv: nn.Conv3d, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if inputs[0].shape[2] < conv.kernel_size[0] and output.shape[2] > 1:
            found.append(name)

    convs = [(name, layer) for name, layer in net.named_modules() if isinstance(layer, nn.Conv3d)]
    handles = [conv.register_forward_hook(partial(look, name)) for name, conv in convs]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()
