"""Attention-augmented convolution: some of the output channels come from self-attention.

Bello, Zoph, Vaswani, Shlens, Le: "Attention Augmented Convolutional Networks" (ICCV 2019, arXiv 1904.09925), section 3.

    z  = [conv(x), W_O [O₁, …, O_heads]]
    Oᵢ = Σⱼ softmaxⱼ(qᵢ·(kⱼ + r^T_{tⱼ-tᵢ} + r^H_{hⱼ-hᵢ} + r^W_{wⱼ-wᵢ}) / √d) vⱼ                for each head

q, k, v are 1×1×1 convolutions of x, and d is the number of channels of a head's keys. r has one vector per distance
along each axis. It is learned and shared by the heads.

Differs from the paper: over video, attention spans space and time, and r^T is added to r^H and r^W. As in the paper, a
grid that is too large is averaged (3 × 3, stride 2) before attention, and the result is interpolated back. Here
`max_size` states which grid is too large, where the paper decides for each layer.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from videoctx.layers.conv import plain_conv3d
from videoctx.layers.fused_attention import fused_attention
from videoctx.layers.neighborhood import neighborhood_average


class RelativePositions(nn.Module):
    """qᵢ·r_{j-i} along each axis, as additional channels of queries and keys, so that no N × M matrix is needed.

    Along an axis of size L, qᵢ·r_{j-i} for all j is a vector of L numbers, which is appended to the query. The one-hot
    vector of its index is appended to the key. Their dot product is the term of the pair.
    """

    def __init__(self, head_channels: int, *, max_size: tuple[int, int, int]) -> None:
        super().__init__()
        self.max_size = max_size
        self.embeddings = nn.ParameterList(torch.empty(2 * size - 1, head_channels) for size in max_size)
        for embedding in self.embeddings:
            nn.init.normal_(embedding, std=head_channels**-0.5)

    def forward(self, query: Tensor) -> tuple[Tensor, Tensor]:
        """Return additional channels of the queries (B, heads, T, H, W, T + H + W) and keys (T, H, W, T + H + W).

        Args:
            query: (B, heads, T, H, W, d).
        """
        sizes = query.shape[2:5]
        queries, keys = [], []
        for axis, (size, embedding) in enumerate(zip(sizes, self.embeddings, strict=True)):
            index = torch.arange(size, device=query.device)
            distance = index - index.unsqueeze(1)  # (L, L): j - i
            r = embedding[distance + (len(embedding) - 1) // 2]  # (L, L, d)
            along = query.movedim(2 + axis, -2)  # (B, heads, …, L, d)
            queries.append(torch.einsum("...id,ijd->...ij", along, r).movedim(-2, 2 + axis))  # (B, heads, T, H, W, L)
            one_hot = F.one_hot(index, size).to(query.dtype)  # (L, L)
            shape = [size if other == axis else 1 for other in range(3)]
            keys.append(one_hot.reshape(*shape, size).expand(*sizes, size))  # (T, H, W, L)
        return torch.cat(queries, dim=-1), torch.cat(keys, dim=-1)

    def extra_repr(self) -> str:
        return f"max_size={self.max_size}"


class SelfAttention3d(nn.Module):
    """Multi-head self-attention on every `stride`-th position: (B, C, T, H, W) → (B, values, T / stride, …)."""

    def __init__(
        self,
        channels: int,
        *,
        key_channels: int,
        value_channels: int,
        num_heads: int,
        stride: tuple[int, int, int],
        relative: bool,
        max_size: tuple[int, int, int],
    ) -> None:
        super().__init__()
        self.widths = (key_channels, key_channels, value_channels)
        self.num_heads = num_heads
        self.stride = stride
        self.max_size = max_size
        self.qkv = plain_conv3d(channels, sum(self.widths), kernel_size=(1, 1, 1))
        self.positions = RelativePositions(key_channels // num_heads, max_size=max_size) if relative else None
        self.project = plain_conv3d(value_channels, value_channels, kernel_size=(1, 1, 1))  # W_O

    def forward(self, x: Tensor) -> Tensor:
        s_t, s_h, s_w = self.stride
        x = x[:, :, ::s_t, ::s_h, ::s_w]
        sizes = x.shape[2:]
        x = halve_until(x, self.max_size)
        z = self.project(self._attend(*self.qkv(x).split(self.widths, dim=1)))
        return z if z.shape[2:] == sizes else F.interpolate(z, size=sizes, mode="trilinear", align_corners=False)

    def _attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Query, key and value, each (B, heads · d, T, H, W) → (B, values, T, H, W)."""
        sizes = query.shape[2:]
        query, key, value = (part.unflatten(1, (self.num_heads, -1)).movedim(2, -1) for part in (query, key, value))
        scale = query.shape[-1] ** -0.5
        if self.positions is not None:
            queries, keys = self.positions(query)
            query = torch.cat([query, queries], dim=-1)  # (B, heads, T, H, W, d + T + H + W)
            key = torch.cat([key, keys.expand(*key.shape[:-1], -1)], dim=-1)
        heads = fused_attention(
            *(part.flatten(2, 4) for part in (query, key, value)), scale=scale
        )  # (B, heads, N, d_v)
        return heads.transpose(2, 3).flatten(1, 2).unflatten(2, sizes)

    def extra_repr(self) -> str:
        return f"num_heads={self.num_heads}, stride={self.stride}, max_size={self.max_size}"


class AttentionAugmentedConv3d(nn.Module):
    """Convolution and self-attention, concatenated along the channels: (B, C_in, T, H, W) → (B, C_out, T / stride, …).

    The defaults are those of the paper's AA-ResNets.

    Args:
        groups: groups of the convolution. Attention sees all channels.
        num_heads: heads of attention. The channels of keys and values are rounded down to a multiple of it, and each
            head has at least 1.
        key_ratio: κ, channels of q and k relative to `out_channels`.
        value_ratio: υ, channels of v, and so of attention in the output, relative to `out_channels`.
        min_key_channels: least number of channels of a head's keys, which overrides `key_ratio`.
        relative: add the learned vectors r of relative positions. Without them attention does not depend on positions.
        max_size: largest grid along time, height and width that attention runs on. After the stride, a longer axis is
            halved until it fits. The cost of attention grows with the square of the grid.

    Raises:
        ValueError: an even `kernel_size`, a ratio or number out of range, attention that leaves no channel for the
            convolution, or a convolution that `groups` does not divide.

    >>> import torch
    >>> conv = AttentionAugmentedConv3d(64, 64, stride=(1, 2, 2))
    >>> conv.conv.out_channels  # 8 channels come from attention
    56
    >>> conv(torch.zeros(2, 64, 4, 8, 8)).shape
    torch.Size([2, 64, 4, 4, 4])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel_size: tuple[int, int, int] = (1, 3, 3),
        stride: tuple[int, int, int] = (1, 1, 1),
        groups: int = 1,
        num_heads: int = 8,
        key_ratio: float = 0.2,
        value_ratio: float = 0.1,
        min_key_channels: int = 20,
        relative: bool = True,
        max_size: tuple[int, int, int] = (8, 16, 16),
    ) -> None:
        for name, value in (
            ("num_heads", num_heads),
            ("min_key_channels", min_key_channels),
            ("max_size", min(max_size)),
        ):
            if value < 1:
                raise ValueError(f"{name} is {value}; expected at least 1")
        for name, ratio in (("key_ratio", key_ratio), ("value_ratio", value_ratio)):
            if not ratio > 0:
                raise ValueError(f"{name} is {ratio}; expected more than 0")
        if any(size % 2 == 0 for size in kernel_size):
            raise ValueError(f"kernel_size is {tuple(kernel_size)}; expected odd numbers, to stay on attention's grid")
        key_channels = num_heads * max(int(key_ratio * out_channels / num_heads), min_key_channels)
        value_channels = num_heads * max(int(value_ratio * out_channels / num_heads), 1)
        conv_channels = out_channels - value_channels
        if conv_channels < 1:
            raise ValueError(
                f"attention takes {value_channels} of {out_channels} channels and leaves the convolution none; expected"
                f" a smaller value_ratio than {value_ratio:g}, or fewer heads than {num_heads}"
            )
        if in_channels % groups or conv_channels % groups:
            raise ValueError(
                f"groups is {groups}, which does not divide the convolution's {in_channels} channels in and"
                f" {conv_channels} out; attention has the other {value_channels} of {out_channels}"
            )
        super().__init__()
        self.conv = plain_conv3d(in_channels, conv_channels, kernel_size=kernel_size, stride=stride, groups=groups)
        self.attention = SelfAttention3d(
            in_channels,
            key_channels=key_channels,
            value_channels=value_channels,
            num_heads=num_heads,
            stride=(*stride,),
            relative=relative,
            max_size=(*max_size,),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.conv(x), self.attention(x)], dim=1)


def halve_until(x: Tensor, max_size: tuple[int, int, int]) -> Tensor:
    """Average-pool the axes that are longer than `max_size`, with kernel 3 and stride 2, until none is."""
    while any(longer := [size > limit for size, limit in zip(x.shape[2:], max_size, strict=True)]):
        x = neighborhood_average(x, [2 if long else 1 for long in longer])
    return x
