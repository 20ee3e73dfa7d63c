"""Page-locked memory, from which a GPU copies by itself while the program continues.

`Tensor.pin_memory` copies into such memory. Shared memory that is registered once needs no copy.
"""

import logging
from functools import cache

import torch
from torch import Tensor

log = logging.getLogger(__name__)

PORTABLE = 1  # cudaHostRegisterPortable: for every GPU of this process


def page_lock(address: int, num_bytes: int) -> bool:
    """Lock memory of this process, whose pages are allocated. Return False where the system refuses.

    Args:
        address: where it begins, at a page.
        num_bytes: its size.
    """
    status = int(torch.cuda.cudart().cudaHostRegister(address, num_bytes, PORTABLE))
    if status:
        _warn(f"CUDA error {status}")
    return status == 0


def unlock(address: int) -> None:
    """Release memory that `page_lock` has locked, before it is unmapped."""
    torch.cuda.cudart().cudaHostUnregister(address)


def pinned(frames: Tensor) -> Tensor:
    """Return frames in page-locked memory, or as they are if the system refuses it. A GPU has them already."""
    if frames.is_cuda:
        return frames
    try:
        return frames.pin_memory()
    except RuntimeError as error:
        lines = str(error).splitlines()
        _warn(lines[0] if lines else type(error).__name__)
        return frames


@cache
def _warn(reason: str) -> None:
    """Warn, once per reason."""
    log.warning(
        "memory cannot be page-locked (%s), so copies to the GPU are slower; expected a larger `ulimit -l`", reason
    )
