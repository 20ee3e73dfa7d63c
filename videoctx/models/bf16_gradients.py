"""A check for convolutions whose gradient is incorrect in bfloat16 on a CPU: part of it is not initialized.

Seen with torch 2.14.1 and oneDNN 3.12, for both memory formats and any stride and groups. The gradient of the weights
is incorrect, by any amount, where the temporal kernel size is greater than the number of input frames and the output
has more than one frame: a kernel over 3 frames with 2, one over 5 with 2, 3 or 4. Elsewhere it is correct, as it is in
float32 and on a GPU.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from torch import Tensor, nn

from videoctx.models.meta_device import meta_copy, run_on_meta


def convolutions_with_incorrect_gradients(net: nn.Module, *, clip_len: int, size: int) -> list[str]:
    """Return the names of convolutions that must not be trained in bfloat16 on a CPU with such clips.

    Nothing is computed: a copy on the meta device runs once.

    Args:
        clip_len: T.
        size: Height and width of the clips.
    """
    on_meta = meta_copy(net).eval()
    with watch_bf16_gradients(on_meta) as found:
        run_on_meta(on_meta, clip_size=(clip_len, size, size))
    return found


@contextmanager
def watch_bf16_gradients(net: nn.Module) -> Iterator[list[str]]:
    """Collect such names from the clips that go through `net` inside the `with`. Frozen ones get no gradient."""
    found: list[str] = []

    def look(name: str, conv: nn.Conv3d, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if conv.weight.requires_grad and inputs[0].shape[2] < conv.kernel_size[0] and output.shape[2] > 1:
            found.append(name)

    convs = [(name, layer) for name, layer in net.named_modules() if isinstance(layer, nn.Conv3d)]
    handles = [conv.register_forward_hook(partial(look, name)) for name, conv in convs]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()
