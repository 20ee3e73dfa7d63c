"""Distances between positions, compared with loops over all pairs, and their sampling."""

import math

import pytest
import torch
from torch import nn

from tests.each_case import each_case
from videoctx.layers import CBAM, GlobalContext, NonLocal, SqueezeExcitation
from videoctx.visualize.attention import trace_blocks
from videoctx.visualize.query_dependence import (
    QueryDependence,
    mean_cosine_distance,
    mean_divergence,
    query_dependence,
    summarize,
)

SIZES = (2, 4, 3)


def cosine_by_loops(vectors: list[list[float]]) -> float:
    total = count = 0
    for a in vectors:
        for b in vectors:
            lengths = math.sqrt(sum(x * x for x in a)) * math.sqrt(sum(x * x for x in b))
            if lengths > 0:
                total += (1 - sum(x * y for x, y in zip(a, b, strict=True)) / lengths) / 2
                count += 1
    return total / count if count else math.nan


def divergence_by_loops(distributions: list[list[float]]) -> float:
    total = 0.0
    for a in distributions:
        for b in distributions:
            for p, q in zip(a, b, strict=True):
                total += 0.5 * p * math.log(2 * p / (p + q)) if p > 0 else 0.0
                total += 0.5 * q * math.log(2 * q / (p + q)) if q > 0 else 0.0
    return total / len(distributions) ** 2


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@each_case("offset", [0.0, 5.0])
def test_cosine_distance_equals_the_loops(offset):
    vectors = draw(9, 4) + offset
    assert mean_cosine_distance(vectors) == pytest.approx(cosine_by_loops(vectors.tolist()), rel=1e-9)
    vectors[2] = vectors[5] = 0.0
    assert mean_cosine_distance(vectors) == pytest.approx(cosine_by_loops(vectors.tolist()), rel=1e-9)


def test_extremes_of_the_cosine_distance():
    assert mean_cosine_distance(torch.tensor([[1.0, 0], [-1.0, 0]])) == 0.5  # half of the pairs are with themselves
    assert mean_cosine_distance(torch.tensor([[1.0, 2], [3.0, 6], [0, 0]])) == pytest.approx(0, abs=1e-12)
    assert math.isnan(mean_cosine_distance(torch.zeros(3, 2)))


@each_case("temperature", [0.1, 3.0])
def test_divergence_equals_the_loops(temperature):
    p = (draw(8, 6) * temperature).softmax(dim=1)
    p[3] = torch.tensor([0, 0, 1.0, 0, 0, 0])
    assert mean_divergence(p, num_queries=8) == pytest.approx(divergence_by_loops(p.tolist()), rel=1e-9)


def test_extremes_of_the_divergence():
    assert mean_divergence(torch.eye(2), num_queries=2) == pytest.approx(math.log(2) / 2)
    assert mean_divergence(torch.ones(5, 4) / 4, num_queries=5) == pytest.approx(0, abs=1e-12)
    assert mean_divergence(torch.ones(1, 4) / 4, num_queries=1) == 0
    assert math.isnan(mean_divergence(torch.ones(1, 4) / 4, num_queries=9))


def test_divergence_of_a_sample_is_unbiased():
    p = (draw(40, 5) * 2).softmax(dim=1)
    exact = mean_divergence(p, num_queries=40)
    samples = []
    for seed in range(300):
        drawn = torch.randperm(40, generator=torch.Generator().manual_seed(seed))[:6]
        samples.append(mean_divergence(p[drawn], num_queries=40))
    samples = torch.tensor(samples)
    assert abs(samples.mean() - exact) < 4 * samples.std() / 300**0.5
    assert samples.std() / 300**0.5 < 0.02 * exact


# Blocks -----------------------------------------------------------------------------------------------------------


def watched(block: nn.Module):
    for index, parameter in enumerate(block.parameters()):
        parameter.data = draw(*parameter.shape, seed=index).float()
    return next(iter(trace_blocks(nn.Sequential(block.eval()), draw(1, 6, *SIZES, seed=9).float()).values()))


def positions(features: torch.Tensor) -> list[list[float]]:
    return [features[0, :, t, y, x].tolist() for t in range(2) for y in range(4) for x in range(3)]


def maps(seen) -> list[list[float]]:
    return [seen.attention.map_of((t, y, x)).flatten().tolist() for t in range(2) for y in range(4) for x in range(3)]


@each_case("affinity", ["gaussian", "embedded_gaussian", "dot_product", "concatenation"])
def test_non_local_block_equals_the_loops(affinity):
    seen = watched(NonLocal(6, affinity=affinity))
    found = query_dependence(seen)
    assert found.input == pytest.approx(cosine_by_loops(positions(seen.input)), rel=1e-5)
    assert found.output == pytest.approx(cosine_by_loops(positions(seen.output)), rel=1e-5)
    assert found.attention == pytest.approx(cosine_by_loops(maps(seen)), rel=1e-5)
    assert found.input > found.output > 0
    if affinity in ("gaussian", "embedded_gaussian"):
        assert found.divergence == pytest.approx(divergence_by_loops(maps(seen)), rel=1e-4)
    else:
        assert math.isnan(found.divergence)  # their weights are no distribution


@each_case("attend_over", ["space", "time"])
def test_pairs_are_within_a_group(attend_over):
    seen = watched(NonLocal(6, subsample="none", attend_over=attend_over))
    frame_of = {"space": lambda i: i // 12, "time": lambda i: i % 12}[attend_over]
    inputs, attention = positions(seen.input), maps(seen)
    groups = sorted({frame_of(i) for i in range(24)})

    def mean(measure, vectors) -> float:
        return sum(measure([v for i, v in enumerate(vectors) if frame_of(i) == group]) for group in groups) / len(
            groups
        )

    found = query_dependence(seen)
    assert found.input == pytest.approx(mean(cosine_by_loops, inputs), rel=1e-5)
    assert found.attention == pytest.approx(mean(cosine_by_loops, attention), rel=1e-5)
    assert found.divergence == pytest.approx(mean(divergence_by_loops, attention), rel=1e-4)


def test_shared_context_has_no_distance():
    found = query_dependence(watched(GlobalContext(6, ratio=0.5)))
    assert found.input > 0.1
    assert (found.output, found.attention, found.divergence) == pytest.approx((0, 0, 0), abs=1e-9)


def test_gate_is_not_a_distribution():
    assert math.isnan(query_dependence(watched(CBAM(6, ratio=0.5))).divergence)


def test_block_with_zero_output_has_no_output_distance():
    fresh = NonLocal(6).eval()  # γ = 0
    seen = trace_blocks(nn.Sequential(fresh), draw(1, 6, *SIZES).float())["0"]
    found = query_dependence(seen)
    assert math.isnan(found.output)
    assert found.input > 0


def test_fewer_queries_change_only_the_divergence():
    seen = watched(NonLocal(6))
    exact, few, again, other = (
        query_dependence(seen, max_queries=n, seed=s) for n, s in ((512, 0), (5, 0), (5, 0), (5, 1))
    )
    assert (few.input, few.output, few.attention) == (exact.input, exact.output, exact.attention)
    assert few == again
    assert len({exact.divergence, few.divergence, other.divergence}) == 3
    assert few.divergence == pytest.approx(exact.divergence, rel=0.7)


def test_squeeze_excitation_has_no_attention():
    assert trace_blocks(nn.Sequential(SqueezeExcitation(6, ratio=0.5).eval()), draw(1, 6, *SIZES).float()) == {}


def test_summary_over_videos():
    clips = [QueryDependence(0.1, 1.0, 0.0, math.nan, 1.0), QueryDependence(0.3, math.nan, 0.0, math.nan, 0.0)]
    mean, error = summarize(clips)
    assert mean.input == pytest.approx(0.2)
    assert error.input == pytest.approx(math.sqrt((0.01 + 0.01) / 1) / math.sqrt(2))
    assert (mean.output, mean.attention, error.attention) == (1.0, 0.0, 0.0)
    assert math.isnan(error.output)
    assert math.isnan(mean.divergence)
    assert mean.uniform == 0.5
