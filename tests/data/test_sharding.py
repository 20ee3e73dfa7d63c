"""Which rank reads what: in evaluation every video once, in training equal shares of a new order each epoch."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader, DistributedSampler

from videoctx.data.clips import Draw, collate
from videoctx.data.sharding import EvaluationSampler, TrainSampler

NUM_VIDEOS = st.integers(1, 60)
NUM_RANKS = st.integers(1, 9)


def evaluation(num_videos, num_ranks):
    return [EvaluationSampler(num_videos, num_ranks=num_ranks, rank=rank) for rank in range(num_ranks)]


def training(num_videos, num_ranks, *, seed=0, epoch=0):
    samplers = [TrainSampler(num_videos, num_ranks=num_ranks, rank=rank, seed=seed) for rank in range(num_ranks)]
    for sampler in samplers:
        sampler.set_epoch(epoch)
    return samplers


# ---------------------------------------------------------------- evaluation


@given(num_videos=NUM_VIDEOS, num_ranks=NUM_RANKS)
def test_evaluation_reads_every_video_exactly_once(num_videos, num_ranks):
    shares = [list(sampler) for sampler in evaluation(num_videos, num_ranks)]
    draws = [draw for share in shares for draw in share if draw is not None]
    assert sorted(draws) == [Draw(video, 0) for video in range(num_videos)]


@given(num_videos=NUM_VIDEOS, num_ranks=NUM_RANKS)
def test_evaluation_ranks_take_as_many_steps_and_end_with_nothing(num_videos, num_ranks):
    samplers = evaluation(num_videos, num_ranks)
    shares = [list(sampler) for sampler in samplers]
    assert {len(share) for share in shares} == {len(sampler) for sampler in samplers} == {-(-num_videos // num_ranks)}
    nothing = [share.count(None) for share in shares]
    assert sum(nothing) == len(shares) * len(shares[0]) - num_videos
    assert max(nothing) <= 1
    assert all(None not in share[:-1] for share in shares)


def test_evaluation_by_hand():
    first, second, third = (list(sampler) for sampler in evaluation(5, 3))
    assert first == [Draw(0), Draw(3)]
    assert second == [Draw(1), Draw(4)]
    assert third == [Draw(2), None]
    assert [list(sampler) for sampler in evaluation(1, 3)] == [[Draw(0)], [None], [None]]


def test_evaluation_does_not_change_with_the_epoch():
    sampler = EvaluationSampler(7, num_ranks=2, rank=1)
    before = list(sampler)
    sampler.set_epoch(3)
    assert list(sampler) == before


@pytest.mark.parametrize("samplers", [evaluation, training])
def test_the_samplers_are_of_the_type_that_lightning_leaves_in_place(samplers):
    assert all(isinstance(sampler, DistributedSampler) for sampler in samplers(5, 2))


def test_a_loader_makes_as_many_batches_on_every_rank():
    class Videos:
        def __getitem__(self, draw):
            return draw

    batches = [
        [batch.videos for batch in DataLoader(Videos(), batch_size=2, sampler=sampler, collate_fn=collate)]
        for sampler in evaluation(9, 4)
    ]
    assert [[len(batch) for batch in of_rank] for of_rank in batches] == [[2, 1], [2, 0], [2, 0], [2, 0]]


# ---------------------------------------------------------------- training


@given(num_videos=NUM_VIDEOS, num_ranks=NUM_RANKS, seed=st.integers(0, 2**32), epoch=st.integers(0, 100))
def test_training_shares_are_equal_and_hold_every_video(num_videos, num_ranks, seed, epoch):
    samplers = training(num_videos, num_ranks, seed=seed, epoch=epoch)
    shares = [list(sampler) for sampler in samplers]
    assert {len(share) for share in shares} == {len(sampler) for sampler in samplers} == {-(-num_videos // num_ranks)}
    assert {draw.epoch for share in shares for draw in share} == {epoch}
    times = Counter(draw.video for share in shares for draw in share)
    assert sorted(times) == list(range(num_videos))
    assert max(times.values()) - min(times.values()) <= 1


@given(
    num_videos=st.integers(12, 60), num_ranks=st.integers(1, 4), seed=st.integers(0, 1000), epoch=st.integers(0, 100)
)
def test_a_training_order_follows_from_seed_and_epoch(num_videos, num_ranks, seed, epoch):
    def order(seed, epoch):
        samplers = training(num_videos, num_ranks, seed=seed, epoch=epoch)
        return [[draw.video for draw in sampler] for sampler in samplers]

    assert order(seed, epoch) == order(seed, epoch)
    assert order(seed, epoch) != order(seed + 1, epoch)
    assert order(seed, epoch) != order(seed, epoch + 1)


def test_the_ranks_share_one_order():
    alone = list(training(12, 1, seed=3, epoch=4)[0])
    assert [draw.video for draw in alone] != list(range(12))
    first, second = (list(sampler) for sampler in training(12, 2, seed=3, epoch=4))
    assert first == alone[0::2]
    assert second == alone[1::2]


def test_set_epoch_gives_a_new_order():
    sampler = TrainSampler(20, num_ranks=1, rank=0, seed=0)
    orders = []
    for epoch in (0, 1, 0):
        sampler.set_epoch(epoch)
        orders.append([draw.video for draw in sampler])
    assert orders[0] == orders[2] != orders[1]
