"""Fused softmax attention that passes on NaN.

torch's fused kernel for a CPU drops keys that are NaN, and gives zero for a query that is. A network with NaN weights
would then give ordinary numbers.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def fused_attention(query: Tensor, key: Tensor, value: Tensor, *, scale: float, mask: Tensor | None = None) -> Tensor:
    """Return softmax(scale · Q Kᵀ) V block by block, in O(N + M) memory: the N × M matrix is never computed.

    As with the matrix, the output of a query that is not finite is NaN, and so is every output if a key is not finite.

    Args:
        query: (B, heads, N, d).
        key: (B, heads, M, d).
        value: (B, heads, M, e).
        scale: factor of the logits.
        mask: (N, M), added to the logits.

    Returns:
        (B, heads, N, e).

    >>> query, key, value = torch.zeros(1, 1, 2, 4), torch.zeros(1, 1, 3, 4), torch.arange(3.0).reshape(1, 1, 3, 1)
    >>> query[0, 0, 0, 0] = torch.nan
    >>> fused_attention(query, key, value, scale=0.5).flatten()
    tensor([nan, 1.])
    """
    width = max(query.shape[-1], value.shape[-1])  # the fused kernels need one width for all three
    q, k, v = (F.pad(part, (0, width - part.shape[-1])).contiguous() for part in (query, key, value))
    sums = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)[..., : value.shape[-1]]
    return sums + (zero_or_nan(query, -1) + zero_or_nan(key, (-2, -1))).to(sums.dtype)


def zero_or_nan(x: Tensor, dim: int | tuple[int, ...]) -> Tensor:
    """Return 0 where all numbers along `dim` are finite, and NaN elsewhere. The axes are kept, with size 1."""
    return x.detach().sum(dim, keepdim=True, dtype=wide(x.dtype)) * 0  # wide, because finite numbers may not overflow


def wide(dtype: torch.dtype) -> torch.dtype:
    """Return the type in which numbers of `dtype` are summed: at least float32."""
    return torch.promote_types(dtype, torch.float32)
