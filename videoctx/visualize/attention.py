"""What the positions of a clip attend to, block by block.

A block shows its attention if there is a reader here for its context modeling; nothing in the block knows of it, and
the map is computed again from the block's input, so that the network may run by fused attention.

| block                  | map of a query                                                          |
|------------------------|-------------------------------------------------------------------------|
| `NonLocal`             | f(xᵢ, xⱼ) / C(x)                                                        |
| `DisentangledNonLocal` | the pairwise and the unary softmax, added: each sums to one             |
| `DoubleAttention`      | Σₖ softmaxₖ(ρ(xᵢ)) softmaxⱼ(θₖ(xⱼ)): the two softmaxes multiplied       |
| `SimplifiedNonLocal`, `GlobalContext` | softmaxⱼ(w·xⱼ), the same for all                         |
| `CBAM`                 | the gate of its spatial half, sigmoid, the same for all                 |

The others have no map over positions: they weigh channels (Squeeze-Excitation, Gather-Excite), numbers (compact
Non-local) or rows, columns and frames (bilinear transforms).
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention:
    """What each query of one clip attends to.

    Queries that choose among the same keys are a group: all of them, those of a frame, or those of a column through
    time.

    Args:
        queries: the grid of the positions that attend.
        keys: the grid of what they attend to.
        within: what a group is.
        rows: group and queries in it (n,) → their weights over the group's keys (n, M).
        is_distribution: the weights of a query are not negative and sum to one.
        depends_on_query: else all queries share one map.
    """

    queries: Grid
    keys: Grid
    rows: Callable[[int, Tensor], Tensor]
    within: Literal["spacetime", "space", "time"] = "spacetime"
    is_distribution: bool = True
    depends_on_query: bool = True

    @property
    def num_groups(self) -> int:
        frames, height, width = self.queries.sizes
        return {"spacetime": 1, "space": frames, "time": height * width}[self.within]

    @property
    def group_size(self) -> int:
        """Queries of a group."""
        frames, height, width = self.queries.sizes
        return {"spacetime": frames * height * width, "space": height * width, "time": frames}[self.within]

    @property
    def num_keys(self) -> int:
        """Keys of a group: what a query chooses among."""
        frames, height, width = self.keys.sizes
        return {"spacetime": frames * height * width, "space": height * width, "time": frames}[self.within]

    def seen_from(self, query: Sizes) -> Tensor:
        """The weights over all keys, (T', H', W'), of the query at (t, y, x); zero on what it does not see."""
        (t, y, x), (_, height, width) = query, self.queries.sizes
        weights = torch.zeros(self.keys.sizes)
        if self.within == "spacetime":
            row = self.rows(0, torch.tensor([(t * height + y) * width + x]))
            return row.reshape(self.keys.sizes).cpu()
        if self.within == "space":
            weights[t] = self.rows(t, torch.tensor([y * width + x])).reshape(self.keys.sizes[1:]).cpu()
        else:
            weights[:, y, x] = self.rows(y * width + x, torch.tensor([t])).reshape(-1).cpu()
        return weights


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """One block at work on one clip."""

    input: Tensor  # x (1, C, T, H, W)
    output: Tensor  # before the fusion, (1, C, T, H, W) or the same for all positions, (1, C, 1, 1, 1)
    attention: Attention

    def strongest_query(self) -> Sizes:
        """The position (t, y, x) to which the block adds most: the greatest length of its output before the fusion."""
        lengths = self.output.float().norm(dim=1)[0].expand(self.attention.queries.sizes)
        return tuple(map(int, torch.unravel_index(lengths.argmax(), lengths.shape)))


def attending_blocks(net: nn.Module) -> dict[str, ContextBlock]:
    """The blocks whose attention can be shown, in the network's order: `res4.5` where it is in a slot of that block."""
    return {
        _short(name): block
        for name, block in net.named_modules()
        if isinstance(block, ContextBlock) and type(block.context) in READERS
    }


def find_block(net: nn.Module, name: str | None = None) -> str:
    """The name of a block that attends: the last one by default.

    Raises:
        ValueError: there is none of that name, or none at all.
    """
    known = list(attending_blocks(net))
    if not known:
        raise ValueError("the network has no block with an attention map; expected --method gradcam, which needs none")
    if name is not None and _short(name) not in known:
        raise ValueError(f"no block {name!r} with an attention map; expected one of {', '.join(known)}")
    return known[-1] if name is None else _short(name)


@torch.no_grad()
def watch(net: nn.Module, clip: Tensor, names: list[str] | None = None) -> dict[str, Watched]:
    """Run a network on one clip (1, 3, T, H, W) and look at its attending blocks; all of them by default.

    Raises:
        ValueError: a block sees something else than one clip: the network puts frames or parts of it into the batch.
    """
    blocks = attending_blocks(net)
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
    watched = {}
    for name, block in chosen.items():
        x = inputs[name]
        if x.ndim != 5 or len(x) != 1:
            raise ValueError(
                f"block {name} sees {tuple(x.shape)}; expected one clip (1, C, T, H, W), not frames or parts of it"
            )
        attention = READERS[type(block.context)](block, x, trace.grid_of(x))
        watched[name] = Watched(input=x, output=outputs[name], attention=attention)
    return watched


def _keep_input(inputs: dict[str, Tensor], name: str) -> Callable:
    return lambda _, args: inputs.__setitem__(name, args[0].clone())  # a later layer may work in place


def _keep_output(outputs: dict[str, Tensor], name: str) -> Callable:
    return lambda _, __, output: outputs.__setitem__(name, output)


def _short(name: str) -> str:
    return name.replace(".after_add", "").replace(".after_1x1", "")


# Readers: block, its input (1, C, T, H, W), the input's grid → its attention ------------------------------------------


def _pairwise(block: ContextBlock, x: Tensor, grid: Grid) -> Attention:
    layer: PairwiseAttention = block.context
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
    layer: DisentangledAttention = block.context
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
    layer: GatherAndDistribute = block.context
    gather = layer.over_positions(layer.theta(x).flatten(2))[0]  # (n, N)
    distribute = layer.over_maps(layer.rho(x).flatten(2))[0]  # (n, N)
    return Attention(queries=grid, keys=grid, rows=lambda _, queries: distribute[:, queries].T @ gather)


def _global(block: ContextBlock, x: Tensor, grid: Grid) -> Attention:
    layer: AttentionPooling = block.context
    weights = layer.softmax(layer.key(x).flatten(2))[0]  # (1, N)
    return _shared(weights, grid)


def _spatial_gate(block: ContextBlock, x: Tensor, grid: Grid) -> Attention:
    weights = block.transform(block.context(x)).sigmoid().flatten(2)[0]  # (1, N)
    return replace(_shared(weights, grid), is_distribution=False)


READERS: dict[type[nn.Module], Callable[[ContextBlock, Tensor, Grid], Attention]] = {
    PairwiseAttention: _pairwise,
    DisentangledAttention: _disentangled,
    GatherAndDistribute: _double,
    AttentionPooling: _global,
    ChannelPooling: _spatial_gate,
}


def _shared(weights: Tensor, grid: Grid) -> Attention:
    """One map (1, N) for all queries."""
    return Attention(
        queries=grid, keys=grid, rows=lambda _, queries: weights.expand(len(queries), -1), depends_on_query=False
    )


def grouped(x: Tensor, within: str) -> Tensor:
    """The positions by group, as `Attention` numbers them: (1, C, T, H, W) → (groups, positions of a group, C)."""
    x = x[0].movedim(0, -1)  # (T, H, W, C)
    if within == "space":
        return x.flatten(1, 2)  # (T, H·W, C)
    if within == "time":
        return x.flatten(1, 2).transpose(0, 1)  # (H·W, T, C)
    return x.flatten(0, 2).unsqueeze(0)  # (1, T·H·W, C)
