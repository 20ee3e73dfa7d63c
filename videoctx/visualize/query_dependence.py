"""How much the attention of a block depends on the query.

Cao, Xu, Lin, Wei, Hu: "GCNet: Non-local Networks Meet Squeeze-Excitation Networks and Beyond" (ICCVW 2019, arXiv
1904.11492), section 3.2: the mean distance between the positions of a clip, over all pairs,

    1/N² Σᵢ Σⱼ dist(vᵢ, vⱼ),   cosine distance (1 - cos(vᵢ, vⱼ)) / 2
                               Jensen-Shannon divergence ½ Σₖ (vᵢₖ log 2vᵢₖ / (vᵢₖ + vⱼₖ) + vⱼₖ log 2vⱼₖ / (vᵢₖ + vⱼₖ))

where v is the block's input, its output before the fusion, or the attention map. In the paper, input distances of 0.35
came with output and attention distances below 0.06: all positions of a Non-local block had the same context.

Differs from the paper: a zero vector has no direction, so its pairs do not count. Where positions attend within their
frame or their pixel over time, the pairs are within it too. The divergence, in nats (at most log 2), is defined for
attention that is a distribution. It needs every pair, so for groups of more than `max_queries` queries it is estimated,
without bias, from a random sample of the queries.
"""

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass

import torch
from torch import Tensor

from videoctx.visualize.attention import Attention, BlockTrace, grouped
from videoctx.visualize.uniform_map import uniform_rows

QUERIES_AT_ONCE = 1024


@dataclass(frozen=True, slots=True)
class QueryDependence:
    """Mean distances between the positions of one clip. NaN where a distance is not defined.

    Args:
        input, output, attention: cosine distances, from 0 (all equal) to 1.
        divergence: the Jensen-Shannon divergence of attention that is a distribution, in nats.
        uniform: the share of the maps that weigh all places alike (`videoctx.visualize.uniform_map`).
    """

    input: float
    output: float
    attention: float
    divergence: float
    uniform: float


def query_dependence(trace: BlockTrace, *, max_queries: int = 256, seed: int = 0) -> QueryDependence:
    """Measure the distances of one block for one clip.

    Args:
        trace: of the block.
        max_queries: how many queries of a group the Jensen-Shannon divergence takes at most; 2 or more.
        seed: of the sample of queries.
    """
    attention = trace.attention
    output = trace.output.expand(-1, -1, *attention.queries.sizes)
    of_input, of_output = (
        _mean([mean_cosine_distance(group) for group in grouped(features, attention.within)])
        for features in (trace.input, output)
    )
    if not attention.depends_on_query:
        divergence_of_one = 0.0 if attention.is_distribution else math.nan
        return QueryDependence(of_input, of_output, 0.0, divergence_of_one, float(attention.is_uniform((0, 0, 0))))
    generator = torch.Generator().manual_seed(seed)
    cosine, divergence, uniform = [], [], []
    for group in range(attention.num_groups):
        distance, share = _attention_distance(attention, group)
        cosine.append(distance)
        uniform.append(share)
        if attention.is_distribution:
            sample = torch.randperm(attention.group_size, generator=generator)[:max_queries]
            divergence.append(mean_divergence(attention.rows(group, sample), num_queries=attention.group_size))
    return QueryDependence(of_input, of_output, _mean(cosine), _mean(divergence), _mean(uniform))


def mean_cosine_distance(vectors: Tensor) -> float:
    """Return the mean of (1 - cos) / 2 over all pairs of the vectors that are not zero.

    For unit vectors uᵢ it is (1 - |mean u|²) / 2, so that no pair has to be formed.

    Args:
        vectors: (n, d).

    Returns:
        0 to 1; NaN where all vectors are zero.

    Example:
        >>> mean_cosine_distance(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
        0.5
    """
    total, count = _unit_sum(vectors)
    return _distance(total, count)


def mean_divergence(distributions: Tensor, *, num_queries: int) -> float:
    """Estimate the mean Jensen-Shannon divergence over all pairs of `num_queries` distributions.

    The divergence of a query from itself is zero, and one pair in `num_queries` is such a pair. The mean of the other
    pairs is estimated by that of the given ones.

    Args:
        distributions: (n, M), a sample of the distributions.
        num_queries: how many distributions there are.

    Returns:
        The divergence in nats, 0 to log 2; NaN where one distribution of several is given.
    """
    p = distributions.double()
    count = len(p)
    if count < 2:
        return 0.0 if num_queries == 1 else math.nan
    entropy = _entropy(p)  # (n,)
    total = 0.0
    for i in range(count - 1):
        others = p[i + 1 :]
        of_pair = _entropy((others + p[i]) / 2) - (entropy[i + 1 :] + entropy[i]) / 2
        total += 2 * float(of_pair.sum())
    return max(total / (count * (count - 1)) * (num_queries - 1) / num_queries, 0.0)


def summarize(clips: Sequence[QueryDependence]) -> tuple[QueryDependence, QueryDependence]:
    """Return the mean over the clips of different videos, and its standard error.

    The standard error is the sample's standard deviation / √(number of clips); NaN for fewer than two clips. Clips in
    which a distance is NaN do not count.
    """
    means, errors = [], []
    for values in zip(*map(astuple, clips), strict=True):
        known = torch.tensor([value for value in values if not math.isnan(value)], dtype=torch.float64)
        means.append(float(known.mean()) if len(known) else math.nan)
        errors.append(float(known.std() / len(known) ** 0.5) if len(known) > 1 else math.nan)
    return QueryDependence(*means), QueryDependence(*errors)


def _attention_distance(attention: Attention, group: int) -> tuple[float, float]:
    """Return the mean cosine distance of the maps of a group, and the share of uniform maps.

    They are computed from `QUERIES_AT_ONCE` maps at a time.
    """
    total, count, num_uniform = torch.zeros(()), 0, 0
    for queries in torch.arange(attention.group_size).split(QUERIES_AT_ONCE):
        rows = attention.rows(group, queries)
        of_part, count_of_part = _unit_sum(rows)
        total, count = total.to(of_part.device) + of_part, count + count_of_part
        num_uniform += int(uniform_rows(rows).sum())
    return _distance(total, count), num_uniform / attention.group_size


def _unit_sum(vectors: Tensor) -> tuple[Tensor, int]:
    """Return the sum (d,) of the unit vectors of those vectors (n, d) that are not zero, and how many they are."""
    vectors = vectors.double()
    lengths = vectors.norm(dim=1)
    directed = lengths > 0
    return (vectors[directed] / lengths[directed, None]).sum(dim=0), int(directed.sum())


def _distance(unit_sum: Tensor, count: int) -> float:
    if count == 0:
        return math.nan
    return max(0.0, float(1 - (unit_sum / count).square().sum()) / 2)


def _entropy(p: Tensor) -> Tensor:
    """Return the entropy in nats of distributions: (n, M) → (n,)."""
    return -torch.special.xlogy(p, p).sum(dim=1)


def _mean(values: Sequence[float]) -> float:
    """Return the mean of the values that are not NaN."""
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan
