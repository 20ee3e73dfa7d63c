"""Attention maps of context blocks: what each position of a clip attends to.

A function per kind of context modeling computes the map from the input of a block. The blocks contain no code for this,
and the network may run with fused attention.

| block                  | attention map of a query                                                |
|------------------------|-------------------------------------------------------------------------|
| `NonLocal`             | f(xᵢ, xⱼ) / C(x)                                                        |
| `DisentangledNonLocal` | the sum of the pairwise and the unary softmax                           |
| `DoubleAttention`      | Σₖ softmaxₖ(ρ(xᵢ)) softmaxⱼ(θₖ(xⱼ)): the product of the two softmaxes   |
| `SimplifiedNonLocal`, `GlobalContext` | softmaxⱼ(w·xⱼ), the same for all queries                 |
| `CBAM`                 | the sigmoid gate of its spatial part, the same for all queries          |

The other blocks have no map over positions: they weight channels (Squeeze-Excitation, Gather-Excite), single numbers
(compact Non-local) or rows, columns and frames (bilinear transforms).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from videoctx.layers.cbam import ChannelPooling
from videoctx.layers.context import AttentionPooling, ContextBlock
from videoctx.layers.disentangled_non_local import DisentangledAttention
from videoctx.layers.double_attention import GatherAndDistribute
from videoctx.layers.non_local import PairwiseAttention, SoftmaxAffinity, halve_resolution
from videoctx.visualize.grids import Grid, GridTrace, Sizes
from videoctx.visualize.uniform_map import is_uniform


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention:
    """The attention of one block for one clip.

    Queries with the same keys form a group: all queries, the queries of a frame, or those at one pixel over time.

    Args:
        queries: the grid of the positions that attend.
        keys: the grid of the positions that are attended to.
        rows: (group, queries (n,) in the group) → their weights over the M keys of the group, (n, M).
        within: what a group is: everything (`spacetime`), a frame (`space`), or a pixel over time (`time`).
        is_distribution: whether the weights of a query are not negative and sum to one.
        depends_on_query: whether queries have maps of their own; otherwise all queries share one map.
    """

    queries: Grid
    keys: Grid
    rows: Callable[[int, Tensor], Tensor]
    within: Literal["spacetime", "space", "time"] = "spacetime"
    is_distribution: bool = True
    depends_on_query: bool = True

    @property
    def num_groups(self) -> int:
        """The number of groups."""
        frames, height, width = self.queries.sizes
        return {"spacetime": 1, "space": frames, "time": height * width}[self.within]

    @property
    def group_size(self) -> int:
        """The number of queries of a group."""
        frames, height, width = self.queries.sizes
        return {"spacetime": frames * height * width, "space": height * width, "time": frames}[self.within]

    @property
    def num_keys(self) -> int:
        """The number of keys of a group."""
        frames, height, width = self.keys.sizes
        return {"spacetime": frames * height * width, "space": height * width, "time": frames}[self.within]

    def map_of(self, query: Sizes) -> Tensor:
        """Return the weights of a query over all keys.

        Args:
            query: its position (t, y, x) in the grid of queries.

        Returns:
            (T', H', W') on the CPU, zero outside the group of the query.
        """
        t, y, x = query
        row, weights = self.row_of(query), torch.zeros(self.keys.sizes)
        if self.within == "spacetime":
            return row.reshape(self.keys.sizes)
        if self.within == "space":
            weights[t] = row.reshape(self.keys.sizes[1:])
        else:
            weights[:, y, x] = row
        return weights

    def is_uniform(self, query: Sizes) -> bool:
        """Return whether a query weighs all keys of its group alike (`videoctx.visualize.uniform_map`)."""
        return is_uniform(self.row_of(query))

    def row_of(self, query: Sizes) -> Tensor:
        """Return the weights of a query (t, y, x) over the M keys of its group, (M,) on the CPU."""
        (t, y, x), (_, height, width) = query, self.queries.sizes
        group, index = {
            "spacetime": (0, (t * height + y) * width + x),
            "space": (t, y * width + x),
            "time": (y * width + x, t),
        }[self.within]
        return self.rows(group, torch.tensor([index]))[0].cpu()


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockTrace:
    """The input, output and attention of one block for one clip.

    Args:
        input: x (1, C, T, H, W).
        output: before the fusion, (1, C, T, H, W); or (1, C, 1, 1, 1), the same for all positions.
        attention: of the block.
    """

    input: Tensor
    output: Tensor
    attention: Attention

    def strongest_query(self) -> Sizes:
        """Return the position (t, y, x) at which the output before the fusion has the greatest norm."""
        norms = self.output.float().norm(dim=1)[0].expand(self.attention.queries.sizes)
        t, y, x = map(int, torch.unravel_index(norms.argmax(), norms.shape))
        return t, y, x


def attention_blocks(net: nn.Module) -> dict[str, ContextBlock]:
    """Return the blocks that have an attention map, in the network's order.

    A context block has the name of the residual block that it is in, such as `res4.5`.
    """
    return {
        _slot_name(name): block
        for name, block in net.named_modules()
        if isinstance(block, ContextBlock) and type(block.context) in MAP_FUNCTIONS
    }


def find_block(net: nn.Module, name: str | None = None) -> str:
    """Return the name of a block that has an attention map.

    Args:
        name: of the block; by default the last one that has a map.

    Raises:
        ValueError: there is no such block.
    """
    known = list(attention_blocks(net))
    if not known:
        raise ValueError("the network has no block with an attention map; expected --method gradcam, which needs none")
    if name is not None and _slot_name(name) not in known:
        raise ValueError(f"no block {name!r} with an attention map; expected one of {', '.join(known)}")
    return known[-1] if name is None else _slot_name(name)


@torch.no_grad()
def trace_blocks(net: nn.Module, clip: Tensor, names: list[str] | None = None) -> dict[str, BlockTrace]:
    """Run a network on one clip and return the attention of its blocks.

    Args:
        net: in evaluation mode.
        clip: (1, 3, T, H, W).
        names: of the blocks; by default all blocks that have an attention map.

    Raises:
        ValueError: the input of a block is not one clip, because the network moves frames or parts into the batch; or
            there is NaN or infinity in its input or output.

    Example:
        >>> from videoctx.layers import GlobalContext
        >>> net = nn.Sequential(GlobalContext(3, ratio=1.0)).eval()
        >>> attention = trace_blocks(net, torch.zeros(1, 3, 2, 4, 4))["0"].attention
        >>> attention.map_of((0, 0, 0)).shape
        torch.Size([2, 4, 4])
    """
    blocks = attention_blocks(net)
    chosen = {name: blocks[name] for name in (blocks if names is None else names)}
    inputs: dict[str, Tensor] = {}
    outputs: dict[str, Tensor] = {}
    hooks = []
    for name, block in chosen.items():
        hooks.append(block.register_forward_pre_hook(_keep_input(inputs, name)))
        hooks.append(block.transform.register_forward_hook(_keep_output(outputs, name)))
    try:
        with GridTrace(clip) as trace:
            net(clip)
    finally:
        for hook in hooks:
            hook.remove()
    traces = {}
    for name, block in chosen.items():
        x = inputs[name]
        if x.ndim != 5 or len(x) != 1:
            raise ValueError(
                f"the input of block {name} is {tuple(x.shape)}; expected one clip (1, C, T, H, W), not frames or parts"
            )
        if not (x.isfinite().all() and outputs[name].isfinite().all()):
            raise ValueError(f"block {name} gets or gives NaN or infinity for this clip; expected numbers")
        attention = MAP_FUNCTIONS[type(block.context)](block, x, trace.grid_of(x))
        traces[name] = BlockTrace(input=x, output=outputs[name], attention=attention)
    return traces


def _keep_input(inputs: dict[str, Tensor], name: str) -> Callable[..., None]:
    return lambda _, args: inputs.__setitem__(name, args[0].clone())  # a later layer may change it in place


def _keep_output(outputs: dict[str, Tensor], name: str) -> Callable[..., None]:
    return lambda _, __, output: outputs.__setitem__(name, output)


def _slot_name(name: str) -> str:
    """Return the name of a module without the slot in its residual block."""
    return name.replace(".after_add", "").replace(".after_1x1", "")


# Maps: block, its input (1, C, T, H, W), the grid of the input → attention -------------------------------------------


def _pairwise(block: ContextBlock, x: Tensor, grid: Grid) -> Attention:
    layer = block.context
    assert isinstance(layer, PairwiseAttention)
    phi = layer.phi(halve_resolution(x) if layer.subsample == "input" else x)
    phi = halve_resolution(phi) if layer.subsample == "keys" else phi
    theta, phi = (grouped(part, layer.attend_over) for part in (layer.theta(x), phi))

    @torch.no_grad()
    def rows(group: int, queries: Tensor) -> Tensor:
        return layer.affinity.weights(theta[group, queries].unsqueeze(0), phi[group : group + 1])[0]

    return Attention(
        queries=grid,
        keys=grid if layer.subsample == "none" else grid.halved(),
        rows=rows,
        within=layer.attend_over,
        is_distribution=isinstance(layer.affinity, SoftmaxAffinity),
    )


def _disentangled(block: ContextBlock, x: Tensor, grid: Grid) -> Attention:
    layer = block.context
    assert isinstance(layer, DisentangledAttention)
    source = halve_resolution(x) if layer.subsample == "input" else x
    theta, phi = (grouped(part, "spacetime") for part in (layer.theta(x), layer.phi(source)))
    theta, phi = (part - part.mean(dim=1, keepdim=True) for part in (theta, phi))
    unary = layer.unary.softmax(layer.unary.key(source).flatten(2))[0]  # (1, M)
    softmax = SoftmaxAffinity(scale=True)

    def rows(_: int, queries: Tensor) -> Tensor:
        return softmax.weights(theta[:, queries] / layer.pairwise.temperature, phi)[0] + unary

    keys = grid if layer.subsample == "none" else grid.halved()
    return Attention(queries=grid, keys=keys, rows=rows, is_distribution=False)


def _double(block: ContextBlock, x: Tensor, grid: Grid) -> Attention:
    layer = block.context
    assert isinstance(layer, GatherAndDistribute)
    gather = layer.over_positions(layer.theta(x).flatten(2))[0]  # (n, N)
    distribute = layer.over_maps(layer.rho(x).flatten(2))[0]  # (n, N)
    return Attention(queries=grid, keys=grid, rows=lambda _, queries: distribute[:, queries].T @ gather)


def _global(block: ContextBlock, x: Tensor, grid: Grid) -> Attention:
    layer = block.context
    assert isinstance(layer, AttentionPooling)
    weights = layer.softmax(layer.key(x).flatten(2))[0]  # (1, N)
    return _shared(weights, grid)


def _spatial_gate(block: ContextBlock, x: Tensor, grid: Grid) -> Attention:
    weights = block.transform(block.context(x)).sigmoid().flatten(2)[0]  # (1, N)
    return replace(_shared(weights, grid), is_distribution=False)


MAP_FUNCTIONS: dict[type[nn.Module], Callable[[ContextBlock, Tensor, Grid], Attention]] = {
    PairwiseAttention: _pairwise,
    DisentangledAttention: _disentangled,
    GatherAndDistribute: _double,
    AttentionPooling: _global,
    ChannelPooling: _spatial_gate,
}


def _shared(weights: Tensor, grid: Grid) -> Attention:
    """Return the attention in which all queries share one map (1, N)."""
    return Attention(
        queries=grid, keys=grid, rows=lambda _, queries: weights.expand(len(queries), -1), depends_on_query=False
    )


def grouped(x: Tensor, within: str) -> Tensor:
    """Sort positions by group, in the order of `Attention`: (1, C, T, H, W) → (groups, positions of a group, C)."""
    x = x[0].movedim(0, -1)  # (T, H, W, C)
    if within == "space":
        return x.flatten(1, 2)  # (T, H·W, C)
    if within == "time":
        return x.flatten(1, 2).transpose(0, 1)  # (H·W, T, C)
    return x.flatten(0, 2).unsqueeze(0)  # (1, T·H·W, C)
