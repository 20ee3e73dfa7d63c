"""Page-locked memory, from which a GPU copies by itself while the program continues.

`Tensor.pin_memory` copies into such memory. Shared memory that is registered once needs no copy.
"""

import logging
from functools import cache

import torch

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
        _warn(status)
    return status == 0


def unlock(address: int) -> None:
    """Release memory that `page_lock` has locked, before it is unmapped."""
    torch.cuda.cudart().cudaHostUnregister(address)


@cache
def _warn(status: int) -> None:
    """Warn, once per reason."""
    log.warning(
        "memory cannot be page-locked (CUDA error %d), so batches are copied once more; expected a larger `ulimit -l`",
        status,
    )
