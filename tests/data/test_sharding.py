"""Tests of the samplers: each rank's videos in evaluation and training, and the orders of training videos."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from videoctx.data.loading.dataset import SampleIndex
from videoctx.data.sampling.video_samplers import EvaluationSampler, Shuffled, ShuffledShards, TrainSampler, Weighted

NUM_VIDEOS = st.integers(1, 60)
NUM_RANKS = st.integers(1, 9)


def evaluation(num_videos, num_ranks):
    return [EvaluationSampler(num_videos, num_ranks=num_ranks, rank=rank) for rank in range(num_ranks)]


def training(order, num_ranks, *, seed=0, epoch=0):
    samplers = [TrainSampler(order, num_ranks=num_ranks, rank=rank, seed=seed) for rank in range(num_ranks)]
    for sampler in samplers:
        sampler.set_epoch(epoch)
    return samplers


# ---------------------------------------------------------------- evaluation


@given(num_videos=NUM_VIDEOS, num_ranks=NUM_RANKS)
def test_evaluation_reads_every_video_exactly_once(num_videos, num_ranks):
    shares = [list(sampler) for sampler in evaluation(num_videos, num_ranks)]
    indices = [index for share in shares for index in share if index is not None]
    assert sorted(indices) == [SampleIndex(video, 0) for video in range(num_videos)]


@given(num_videos=NUM_VIDEOS, num_ranks=NUM_RANKS)
def test_evaluation_ranks_have_equal_numbers_of_steps(num_videos, num_ranks):
    samplers = evaluation(num_videos, num_ranks)
    shares = [list(sampler) for sampler in samplers]
    assert {len(share) for share in shares} == {len(sampler) for sampler in samplers} == {-(-num_videos // num_ranks)}
    nothing = [share.count(None) for share in shares]
    assert sum(nothing) == len(shares) * len(shares[0]) - num_videos
    assert max(nothing) <= 1
    assert all(None not in share[:-1] for share in shares)


def test_evaluation_indices_computed_by_hand():
    first, second, third = (list(sampler) for sampler in evaluation(5, 3))
    assert first == [SampleIndex(0), SampleIndex(3)]
    assert second == [SampleIndex(1), SampleIndex(4)]
    assert third == [SampleIndex(2), None]
    assert [list(sampler) for sampler in evaluation(1, 3)] == [[SampleIndex(0)], [None], [None]]


# ---------------------------------------------------------------- training


@given(num_videos=NUM_VIDEOS, num_ranks=NUM_RANKS, seed=st.integers(0, 2**32), epoch=st.integers(0, 100))
def test_training_ranks_have_equal_shares_with_every_video(num_videos, num_ranks, seed, epoch):
    samplers = training(Shuffled(num_videos), num_ranks, seed=seed, epoch=epoch)
    shares = [list(sampler) for sampler in samplers]
    assert {len(share) for share in shares} == {len(sampler) for sampler in samplers} == {-(-num_videos // num_ranks)}
    indices = [index for share in shares for index in share]
    assert {index.epoch for index in indices} == {epoch}
    times = Counter(index.video for index in indices)
    assert sorted(times) == list(range(num_videos))
    assert max(times.values()) - min(times.values()) <= 1
    assert len(set(indices)) == len(indices)  # a repeated video has another repeat index


@given(
    num_videos=st.integers(12, 60), num_ranks=st.integers(1, 4), seed=st.integers(0, 1000), epoch=st.integers(0, 100)
)
def test_training_order_depends_on_seed_and_epoch(num_videos, num_ranks, seed, epoch):
    def order(seed, epoch):
        samplers = training(Shuffled(num_videos), num_ranks, seed=seed, epoch=epoch)
        return [[index.video for index in sampler] for sampler in samplers]

    assert order(seed, epoch) == order(seed, epoch)
    assert order(seed, epoch) != order(seed + 1, epoch)
    assert order(seed, epoch) != order(seed, epoch + 1)


def test_ranks_split_one_order():
    alone = list(training(Shuffled(12), 1, seed=3, epoch=4)[0])
    assert [index.video for index in alone] != list(range(12))
    first, second = (list(sampler) for sampler in training(Shuffled(12), 2, seed=3, epoch=4))
    assert first == alone[:6]
    assert second == alone[6:]


def test_set_epoch_changes_the_order():
    (sampler,) = training(Shuffled(20), 1)
    orders = []
    for epoch in (0, 1, 0):
        sampler.set_epoch(epoch)
        orders.append([index.video for index in sampler])
    assert orders[0] == orders[2] != orders[1]


@given(num_videos=NUM_VIDEOS, num_ranks=NUM_RANKS, weighted=st.booleans(), data=st.data())
def test_resumed_epoch_is_the_rest_and_the_next_is_complete(num_videos, num_ranks, weighted, data):
    order = Weighted(np.arange(1.0, num_videos + 1)) if weighted else Shuffled(num_videos)
    num_taken = data.draw(st.integers(0, -(-num_videos // num_ranks)))
    for rank in range(num_ranks):
        whole, resumed = (TrainSampler(order, num_ranks=num_ranks, rank=rank, seed=1) for _ in range(2))
        resumed.resume(epoch=5, num_taken=num_taken)
        for epoch, first in ((5, num_taken), (6, 0)):
            whole.set_epoch(epoch)
            resumed.set_epoch(epoch)
            assert list(resumed) == list(whole)[first:]


# ---------------------------------------------------------------- orders


def test_weighted_videos_are_sampled_in_proportion_to_their_weights():
    weights = np.array([0.0, 1, 2, 5] * 500)
    counts = np.bincount(np.arange(2000)[Weighted(weights).sample(np.random.default_rng(0))] % 4, minlength=4)
    assert counts[0] == 0
    assert counts[1:] / 2000 == pytest.approx(np.array([1, 2, 5]) / 8, abs=0.03)  # 2.7 standard deviations


def test_class_balanced_order_samples_classes_equally():
    labels = np.repeat([0, 2, 3], [1700, 250, 50])  # no video of class 1
    sampled = labels[Weighted.by_class(labels).sample(np.random.default_rng(0))]
    assert np.bincount(sampled) / 2000 == pytest.approx([1 / 3, 0, 1 / 3, 1 / 3], abs=0.03)


def test_repeats_of_a_video_are_counted_over_all_ranks():
    samplers = training(Weighted(np.array([1.0, 1, 1, 3])), 2, epoch=1)
    indices = [index for sampler in samplers for index in sampler]
    for video in range(4):
        repeats = [index.repeat for index in indices if index.video == video]
        assert repeats == list(range(len(repeats)))


def test_all_zero_weights_are_refused():
    with pytest.raises(ValueError, match="all weights are zero"):
        Weighted(np.zeros(3))


@given(sizes=st.lists(st.integers(1, 20), min_size=1, max_size=6), buffer=st.integers(1, 50), seed=st.integers(0, 99))
def test_each_shard_is_read_in_a_limited_range(sizes, buffer, seed):
    shards = np.repeat(np.arange(len(sizes)), sizes)
    order = ShuffledShards(shards, buffer).sample(np.random.default_rng(seed))
    assert sorted(order) == list(range(len(shards)))
    for shard in range(len(sizes)):  # no further apart than the shard's own length and the buffer before and behind
        places = np.flatnonzero(shards[order] == shard)
        assert places[-1] - places[0] < sizes[shard] + 2 * buffer


def test_shards_and_videos_in_shards_are_shuffled():
    shards = np.repeat(np.arange(5), 20)
    orders = [ShuffledShards(shards, 10).sample(np.random.default_rng(seed)) for seed in range(2)]
    assert (orders[0] != orders[1]).any()
    assert (np.diff(orders[0][shards[orders[0]] == 3]) < 0).any()
    assert [*dict.fromkeys(shards[orders[0]])] != [*dict.fromkeys(shards[orders[1]])]
