"""Clip and video accuracy equal counts in loops, for any order, batches and failures."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.each_case import each_case
from videoctx.evaluation.accuracy import Accuracy, VideoAccuracy
from videoctx.evaluation.video_map import VideoMeanAveragePrecision
from videoctx.evaluation.view_scores import average_views


@dataclass(frozen=True)
class Video:
    label: int
    views: list[list[float]]  # K scores each; None: it could not be read
    views_expected: int


def reference(videos: list[Video], num_classes: int) -> Accuracy:
    clip_right = top1_right = top5_right = num_views = num_failed = 0
    for video in videos:
        num_views += video.views_expected
        if not video.views:
            num_failed += 1
            continue
        for view in video.views:
            clip_right += view.index(max(view)) == video.label
        means = [sum(scores) / len(video.views) for scores in zip(*video.views, strict=True)]
        ranking = sorted(range(len(means)), key=lambda index: -means[index])
        top1_right += video.label == ranking[0]
        top5_right += video.label in ranking[:5]
    return Accuracy(
        clip_top1=clip_right / num_views if num_views else 0,
        video_top1=top1_right / len(videos) if videos else 0,
        video_top5=None if num_classes <= 5 else top5_right / len(videos) if videos else 0,
        num_videos=len(videos),
        num_views=num_views,
        num_failed=num_failed,
    )


def update(accuracy: VideoAccuracy, videos: list[Video], num_classes: int, view_order=None) -> None:
    owners = [index for index, video in enumerate(videos) for _ in video.views]
    scores = [view for video in videos for view in video.views]
    order = list(range(len(owners))) if view_order is None else view_order(len(owners))
    accuracy.update(
        torch.tensor([scores[i] for i in order], dtype=torch.float64).reshape(-1, num_classes),
        torch.tensor([owners[i] for i in order], dtype=torch.int64),
        torch.tensor([video.label for video in videos], dtype=torch.int64),
        torch.tensor([video.views_expected for video in videos], dtype=torch.int64),
    )


def random_videos(seed: int, *, num_videos: int, num_classes: int, failing: float = 0.25) -> list[Video]:
    """Videos have different numbers of views. Their labels are often among the best, so no accuracy is near 0 or 1."""
    generator = torch.Generator().manual_seed(seed)

    def draw(size):
        return torch.rand(size, generator=generator)

    videos = []
    for _ in range(num_videos):
        label, num_views = int(draw(1) * num_classes), 1 + int(draw(1) * 4)
        logits = 2 * draw((num_views, num_classes))
        logits[:, label] += draw(1)
        views = logits.double().softmax(dim=1).tolist()
        videos.append(Video(label, [] if draw(1) < failing else views, num_views))
    return videos


def evaluate(batches: list[list[Video]], num_classes: int) -> Accuracy:
    accuracy = VideoAccuracy(num_classes)
    for videos in batches:
        update(accuracy, videos, num_classes)
    return accuracy.compute()


@each_case("num_classes", [1, 2, 3, 5, 6, 20])
@each_case("failing", [0, 0.3, 1])
def test_accuracy_equals_loops(num_classes, failing):
    videos = random_videos(num_classes, num_videos=60, num_classes=num_classes, failing=failing)
    assert evaluate([videos], num_classes) == reference(videos, num_classes)


def test_random_scores_have_three_different_accuracies():
    accuracy = evaluate([random_videos(0, num_videos=60, num_classes=20, failing=0.2)], 20)
    assert 0.1 < accuracy.clip_top1 < accuracy.video_top5 < 0.9
    assert len(set(accuracy[:3])) == 3


def test_views_are_averaged_and_do_not_vote():
    views = [[0.4, 0.3, 0.3], [0.4, 0.3, 0.3], [0.0, 0.9, 0.1]]  # two views of three are for class 0, the mean is not
    accuracy = evaluate([[Video(1, views, 3)]], 3)
    assert (accuracy.clip_top1, accuracy.video_top1) == (1 / 3, 1)


def test_failed_video_and_its_clips_count_as_incorrect():
    """The label is class 0, which is the best class of scores that are all zero."""
    readable = Video(0, [[0.9, 0.1]] * 6, 6)
    assert evaluate([[readable, Video(0, [], 6)]], 2) == Accuracy(
        0.5, 0.5, None, num_videos=2, num_views=12, num_failed=1
    )


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
@each_case("batches", [[], [[]], [[], []]])
def test_no_videos(batches):
    assert evaluate(batches, 3) == Accuracy(0, 0, None, num_videos=0, num_views=0, num_failed=0)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), cuts=st.lists(st.integers(0, 12), max_size=4), data=st.data())
def test_order_and_batches_do_not_matter(seed, cuts, data):
    videos = random_videos(seed, num_videos=12, num_classes=7)
    shuffled = data.draw(st.permutations(videos))
    bounds = [0, *sorted(cuts), len(videos)]
    batches = [shuffled[start:stop] for start, stop in pairwise(bounds)]
    assert evaluate(batches, 7) == evaluate([videos], 7)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), cut=st.integers(0, 12), data=st.data())
def test_order_and_batches_do_not_matter_with_several_labels(seed, cut, data):
    """Some videos could not be read, some got NaN, and some have equal scores."""
    rng = np.random.default_rng(seed)
    labels, scores = torch.tensor(rng.random((12, 4)) < 0.4), torch.tensor(rng.integers(0, 3, (12, 4)) / 2)
    scores[rng.random(12) < 0.2, 1] = torch.nan
    readable = rng.random(12) < 0.7

    def evaluated(*batches):
        metric = VideoMeanAveragePrecision()
        for batch in batches:
            views = [video for video in batch if readable[video]]
            owners = torch.tensor([batch.index(video) for video in views], dtype=torch.int64)
            metric.update(scores[views], owners, labels[batch], torch.ones(len(batch), dtype=torch.int64))
        return metric.compute()

    shuffled = data.draw(st.permutations(range(12)))
    assert evaluated(shuffled[:cut], shuffled[cut:]) == evaluated(list(range(12)))


def test_views_of_videos_may_be_mixed():
    videos = random_videos(3, num_videos=20, num_classes=7)
    accuracy = VideoAccuracy(7)
    update(accuracy, videos, 7, view_order=lambda n: torch.randperm(n, generator=torch.Generator().manual_seed(0)))
    assert accuracy.compute() == reference(videos, 7)


def test_reset():
    accuracy = VideoAccuracy(3)
    update(accuracy, random_videos(0, num_videos=5, num_classes=3), 3)
    accuracy.reset()
    videos = random_videos(1, num_videos=5, num_classes=3)
    update(accuracy, videos, 3)
    assert accuracy.compute() == reference(videos, 3)


def test_average_views():
    scores = torch.tensor([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0], [0.25, 0.75]])
    averages, num_views = average_views(scores, torch.tensor([2, 0, 2, 2]), 4)
    assert num_views.tolist() == [1, 0, 3, 0]
    assert averages.dtype == torch.float64
    torch.testing.assert_close(
        averages, torch.tensor([[0.5, 0.5], [0, 0], [1.25 / 3, 1.75 / 3], [0, 0]], dtype=torch.float64)
    )


def test_views_are_summed_in_double_precision():
    """In half precision, 2048 + 0.5 is 2048."""
    scores = torch.tensor([[2048.0], [0.5], [0.5], [0.5]], dtype=torch.float16)
    averages, _ = average_views(scores, torch.zeros(4, dtype=torch.int64), 1)
    assert averages.item() == 2049.5 / 4
