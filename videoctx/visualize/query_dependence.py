"""How much a block's attention depends on who asks.

Cao, Xu, Lin, Wei, Hu: "GCNet: Non-local Networks Meet Squeeze-Excitation Networks and Beyond" (ICCVW 2019, arXiv
1904.11492), section 3.2: the mean distance between the positions of a clip, over all pairs,

    1/N² Σᵢ Σⱼ dist(vᵢ, vⱼ),   cosine distance (1 - cos(vᵢ, vⱼ)) / 2
                               Jensen-Shannon divergence ½ Σₖ (vᵢₖ log 2vᵢₖ / (vᵢₖ + vⱼₖ) + vⱼₖ log 2vⱼₖ / (vᵢₖ + vⱼₖ))

where v is the block's input, its output before the fusion, or the attention map. There, input distances of 0.35 came
with output and attention distances below 0.06: every position of a Non-local block saw the same context.

Ours: a vector of zeros has no direction, and the pairs with it do not count. Where positions attend within their frame
or column, the pairs are those of a frame or column. The divergence, in nats (at most log 2), is of attention that is a
distribution; it takes every pair, so that beyond `max_queries` queries of a group it is estimated, without bias, from
as many drawn at random.
"""

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass

import torch
from torch import Tensor

from videoctx.visualize.attention import Attention, Watched, grouped

QUERIES_AT_ONCE = 1024


@dataclass(frozen=True, slots=True)
class QueryDependence:
    """Mean distances between the positions of one clip; NaN where there is none.

    Args:
        input, output, attention: cosine distances, 0 (all alike) to 1.
        divergence: Jensen-Shannon, of attention that is a distribution.
    """

    input: float
    output: float
    attention: float
    divergence: float


def query_dependence(watched: Watched, *, max_queries: int = 256, seed: int = 0) -> QueryDependence:
    """Measure one block at work on one clip.

    Args:
        max_queries: of a group, whose pairs the Jensen-Shannon divergence takes; 2 or more.
        seed: of the draw.
    """
    attention = watched.attention
    output = watched.output.expand(-1, -1, *attention.queries.sizes)
    of_features = [
        _mean([mean_cosine_distance(group) for group in grouped(features, attention.within)])
        for features in (watched.input, output)
    ]
    if not attention.depends_on_query:
        return QueryDependence(*of_features, 0.0, 0.0 if attention.is_distribution else math.nan)
    generator = torch.Generator().manual_seed(seed)
    cosine, divergence = [], []
    for group in range(attention.num_groups):
        cosine.append(_attention_distance(attention, group))
        if attention.is_distribution:
            drawn = torch.randperm(attention.group_size, generator=generator)[:max_queries]
            divergence.append(mean_divergence(attention.rows(group, drawn), num_queries=attention.group_size))
    return QueryDependence(*of_features, _mean(cosine), _mean(divergence))


def mean_cosine_distance(vectors: Tensor) -> float:
    """Mean of (1 - cos) / 2 over all pairs of the vectors (n, d) that are not zero; NaN where all are.

    With unit vectors uᵢ it is (1 - |mean u|²) / 2: no pair is ever formed.
    """
    total, count = _unit_sum(vectors)
    return _distance(total, count)


def mean_divergence(distributions: Tensor, *, num_queries: int) -> float:
    """Mean Jensen-Shannon divergence in nats over all pairs of `num_queries` distributions, from those given (n, M).

    A pair of a query with itself, which has none, is one in `num_queries`; the others are estimated by those given.
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
    """Mean over clips of as many videos, and its standard error: the sample's deviation / √(number of videos).

    A measure that a clip does not have is left out of both; the error of fewer than two clips is NaN.
    """
    means, errors = [], []
    for values in zip(*map(astuple, clips), strict=True):
        known = torch.tensor([value for value in values if not math.isnan(value)], dtype=torch.float64)
        means.append(float(known.mean()) if len(known) else math.nan)
        errors.append(float(known.std() / len(known) ** 0.5) if len(known) > 1 else math.nan)
    return QueryDependence(*means), QueryDependence(*errors)


def _attention_distance(attention: Attention, group: int) -> float:
    """Mean cosine distance of a group's maps, made `QUERIES_AT_ONCE`."""
    parts = [_unit_sum(attention.rows(group, q)) for q in torch.arange(attention.group_size).split(QUERIES_AT_ONCE)]
    return _distance(sum(total for total, _ in parts), sum(count for _, count in parts))


def _unit_sum(vectors: Tensor) -> tuple[Tensor, int]:
    """Sum (d,) of the directions of those vectors (n, d) that have one, and how many they are."""
    vectors = vectors.double()
    lengths = vectors.norm(dim=1)
    directed = lengths > 0
    return (vectors[directed] / lengths[directed, None]).sum(dim=0), int(directed.sum())


def _distance(unit_sum: Tensor, count: int) -> float:
    if count == 0:
        return math.nan
    return max(0.0, float(1 - (unit_sum / count).square().sum()) / 2)


def _entropy(p: Tensor) -> Tensor:
    """Of distributions (n, M), in nats: (n,)."""
    return -torch.special.xlogy(p, p).sum(dim=1)


def _mean(values: Sequence[float]) -> float:
    """Of those that are numbers."""
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan
