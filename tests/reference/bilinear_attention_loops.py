"""Slow truth for the bilinear attentional transform: loops over frames, rows, columns and channels, on plain tensors.

Chi, Yuan, Mu, Wang: "Non-Local Neural Networks With Grouped Bilinear Attentional Transforms" (CVPR 2020), and what the
authors' code for video settles: how P, Q and T are predicted, and how they act on cells of several positions.

An image is a video of one frame whose frames are not mixed. All maps here are dicts from (t, h, w) to a vector.
"""

from functools import reduce
from itertools import product
from math import floor

import torch
from torch import Tensor

from tests.reference.context_loops import FeatureMap, Linear, each_sample, relu, softmax

BatchNorm = tuple[Tensor, Tensor, Tensor, Tensor]  # γ, β, mean and variance, as in evaluation
Convolution = tuple[Tensor, BatchNorm]  # weight (C_out, C_in), and the BatchNorm before the ReLU
Matrix = list[list[Tensor]]


def convolve(layer: Convolution, vector: Tensor) -> Tensor:
    weight, (gamma, beta, mean, variance) = layer
    return relu((weight @ vector - mean) / torch.sqrt(variance + 1e-5) * gamma + beta)


def sizes_of(x: FeatureMap) -> tuple[int, int, int]:
    return tuple(1 + max(position[axis] for position in x) for axis in range(3))


def resize(x: FeatureMap, axis: int, size: int) -> FeatureMap:
    """Linear along one axis, with the samples at the middles of equal intervals; the ends are repeated."""
    old = sizes_of(x)[axis]
    if size == old:
        return x
    resized = {}
    for position in x:
        if position[axis] != 0:
            continue
        for index in range(size):
            at = min(max((index + 0.5) * old / size - 0.5, 0), old - 1)
            low = floor(at)
            high = min(low + 1, old - 1)
            a, b = (x[(*position[:axis], source, *position[axis + 1 :])] for source in (low, high))
            resized[(*position[:axis], index, *position[axis + 1 :])] = a + (at - low) * (b - a)
    return resized


def matrices(predictor: Linear, features: list[Tensor], num_matrices: int, *, softmax_over: str) -> list[Matrix]:
    """From one vector (k,) for each of s places, s × s matrices of which the rows, or the columns, are softmaxes."""
    weight, bias = predictor
    size = len(features)
    by_feature = [place[c] for c in range(len(features[0])) for place in features]  # all places of the first, and so on
    logits = iter(weight @ torch.stack(by_feature) + bias)
    found = []
    for _ in range(num_matrices):
        matrix = [[next(logits) for _ in range(size)] for _ in range(size)]
        if softmax_over == "rows":
            found.append([softmax(row) for row in matrix])
        else:
            columns = [softmax([matrix[i][j] for i in range(size)]) for j in range(size)]
            found.append([[columns[j][i] for j in range(size)] for i in range(size)])
    return found


def strongest(vectors: list[Tensor]) -> Tensor:
    return reduce(torch.maximum, vectors)


def bilinear_attention(
    x: Tensor,
    *,
    reduce_to: Convolution,
    features: Convolution,
    rows: Linear,
    columns: Linear,
    frames: Linear | None,
    mix: Convolution,
    expand: Convolution,
    grid_size: int,
    temporal_grid_size: int,
    num_groups: int,
    num_temporal_groups: int,
) -> Tensor:
    """x + expand(mix(T P reduce_to(x) Q)), in evaluation: no dropout.

    Args:
        features: what P, Q and T are predicted from, by `rows`, `columns` and `frames`; None leaves the frames apart.
    """
    grid = (1 if frames is None else temporal_grid_size, grid_size, grid_size)

    def mix_space(x: FeatureMap, seen: FeatureMap) -> FeatureMap:
        num_frames, height, width = sizes_of(x)
        tall, wide = height // grid_size, width // grid_size  # of a cell
        y = {}
        for t in range(num_frames):
            frame = {(h, w): seen[t, h, w] for h, w in product(range(height), range(width))}
            by_row = [strongest([f for (h, _), f in frame.items() if h // tall == i]) for i in range(grid_size)]
            by_column = [strongest([f for (_, w), f in frame.items() if w // wide == j]) for j in range(grid_size)]
            p = matrices(rows, by_row, num_groups, softmax_over="rows")
            q = matrices(columns, by_column, num_groups, softmax_over="columns")
            for h, w in frame:
                values = []
                for channel in range(len(x[t, h, w])):
                    group = channel * num_groups // len(x[t, h, w])
                    value = 0.0
                    for i, j in product(range(grid_size), repeat=2):
                        source = x[t, i * tall + h % tall, j * wide + w % wide][channel]
                        value = value + p[group][h // tall][i] * source * q[group][j][w // wide]
                    values.append(value)
                y[t, h, w] = torch.stack(values)
        return y

    def mix_frames(x: FeatureMap, seen: FeatureMap) -> FeatureMap:
        span = sizes_of(x)[0] // temporal_grid_size
        by_span = []
        for i in range(temporal_grid_size):
            vectors = [vector for (t, _, _), vector in seen.items() if t // span == i]
            by_span.append(sum(vectors) / len(vectors))
        matrix = matrices(frames, by_span, num_temporal_groups, softmax_over="rows")
        y = {}
        for t, h, w in x:
            values = []
            for channel in range(len(x[t, h, w])):
                row = matrix[channel * num_temporal_groups // len(x[t, h, w])][t // span]
                sources = [x[i * span + t % span, h, w][channel] for i in range(temporal_grid_size)]
                values.append(sum(weight * source for weight, source in zip(row, sources, strict=True)))
            y[t, h, w] = torch.stack(values)
        return y

    def bilinear(x: FeatureMap) -> FeatureMap:
        sizes = sizes_of(x)
        for axis, cells in enumerate(grid):
            x = resize(x, axis, next(size for size in range(sizes[axis], 2 * sizes[axis]) if size % cells == 0))
        seen = {i: convolve(features, x_i) for i, x_i in x.items()}
        x = mix_space(x, seen)
        x = x if frames is None else mix_frames(x, seen)
        for axis in range(3):
            x = resize(x, axis, sizes[axis])
        return x

    def block(x: FeatureMap) -> FeatureMap:
        is_image = len(next(iter(x))) == 2
        video = {(0, *i) if is_image else i: x_i for i, x_i in x.items()}
        y = bilinear({i: convolve(reduce_to, x_i) for i, x_i in video.items()})
        z = {i: x_i + convolve(expand, convolve(mix, y[i])) for i, x_i in video.items()}
        return {i[1:] if is_image else i: z_i for i, z_i in z.items()}

    return each_sample(x, block)
