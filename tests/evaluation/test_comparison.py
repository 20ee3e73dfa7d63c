"""Comparisons of two runs: paired differences by hand, and runs that cannot be compared."""

import numpy as np
import pytest
from scipy.stats import binom

from tests.each_case import each_case
from tests.evaluation.synthetic_scores import random_run, synthetic_scores
from videoctx.evaluation.comparison import Comparison, McNemar
from videoctx.evaluation.evaluation_result import EvaluationResult


def evaluated(folder, *arguments, **options):
    return EvaluationResult(synthetic_scores(folder, *arguments, **options))


def logits_of(labels, correct, *, num_classes=3):
    """Return logits whose best class is the label where `correct`, and the next class elsewhere."""
    logits = np.zeros((len(labels), 1, 1, num_classes))
    predictions = np.where(correct, labels, (labels + 1) % num_classes)
    logits[np.arange(len(labels)), ..., predictions] = 3.0
    return logits


@each_case(
    ("only_first", "only_second", "p_value"),
    [(0, 0, 1.0), (1, 0, 1.0), (0, 5, 2 / 32), (1, 7, 2 * 9 / 256), (5, 5, 1.0), (10, 2, 2 * (1 + 12 + 66) / 4096)],
)
def test_mcnemar_by_hand(only_first, only_second, p_value):
    assert McNemar(only_first, only_second).p_value == pytest.approx(p_value)


def test_mcnemar_of_many_videos():
    assert McNemar(400, 500).p_value == pytest.approx(2 * binom.cdf(400, 900, 0.5))


@pytest.fixture
def comparison(tmp_path):
    """Of eight videos, the first run predicts 0 1 2 3 correctly, the second 0 1 4 5 6."""
    labels = np.array([0, 0, 1, 1, 1, 2, 2, 2])
    first = logits_of(labels, np.isin(np.arange(8), [0, 1, 2, 3]))
    second = logits_of(labels, np.isin(np.arange(8), [0, 1, 4, 5, 6]))
    return Comparison(evaluated(tmp_path / "first", first, labels), evaluated(tmp_path / "second", second, labels))


def test_comparison_by_hand(comparison):
    assert comparison.mcnemar == McNemar(only_first=2, only_second=3)
    gain = comparison.gains["video_top1"]
    assert gain.value == pytest.approx(1 / 8)
    assert gain.interval.low < 0 < gain.interval.high
    moves = [(move.name, move.num_videos, move.first, move.second) for move in comparison.class_differences()]
    assert moves == [
        ("class 2", 3, 0, pytest.approx(2 / 3)),
        ("class 1", 3, pytest.approx(2 / 3), pytest.approx(1 / 3)),
    ]
    assert [move.name for move in comparison.class_differences(1)] == ["class 2"]


def test_run_compared_with_itself(tmp_path):
    run = random_run(0)
    comparison = Comparison(evaluated(tmp_path / "a", *run), evaluated(tmp_path / "b", *run))
    assert all((gain.value, *gain.interval) == (0, 0, 0) for gain in comparison.gains.values())
    assert comparison.mcnemar.p_value == 1
    assert comparison.class_differences() == []


def test_videos_are_paired_in_any_order(tmp_path):
    """Two rows of one path are paired in their order."""
    first, labels = random_run(0)
    second, _ = random_run(1)
    second[np.arange(40), ..., labels] += 1.5
    paths = [f"{index // 2}.mp4" for index in range(40)]
    straight = Comparison(
        evaluated(tmp_path / "a", first, labels, paths=paths), evaluated(tmp_path / "b", second, labels, paths=paths)
    )
    order = np.arange(40).reshape(20, 2)[np.random.default_rng(0).permutation(20)].ravel()
    mixed = evaluated(tmp_path / "c", second[order], labels[order], paths=[paths[index] for index in order])
    shuffled = Comparison(straight.first, mixed)
    assert shuffled.mcnemar == straight.mcnemar
    assert shuffled.mcnemar.only_second > 0
    for name, gain in straight.gains.items():
        assert shuffled.gains[name].value == pytest.approx(gain.value)
        assert shuffled.gains[name].interval == pytest.approx(gain.interval)
    assert shuffled.class_differences() == straight.class_differences()


def test_pairing_narrows_the_interval(tmp_path):
    """The second run differs from the first in few videos, so the interval of its gain is narrow."""
    labels = np.arange(200) % 3
    correct = np.random.default_rng(0).random(200) < 0.5
    more = correct | (np.arange(200) < 12)
    first, second = (
        evaluated(tmp_path / name, logits_of(labels, of), labels) for name, of in (("a", correct), ("b", more))
    )
    comparison = Comparison(first, second)
    gain = comparison.gains["video_top1"]
    low, high = second.estimates["video_top1"].interval
    assert gain.interval.high - gain.interval.low < (high - low) / 2
    assert gain.interval.low > 0


def test_video_that_failed_in_one_run_is_incorrect_there(tmp_path):
    labels = np.array([0, 1, 2])
    first = evaluated(tmp_path / "a", logits_of(labels, np.ones(3, dtype=bool)), labels, failed=(1,))
    second = evaluated(tmp_path / "b", logits_of(labels, np.ones(3, dtype=bool)), labels)
    assert Comparison(first, second).mcnemar == McNemar(0, 1)


def test_several_labels(tmp_path):
    rng = np.random.default_rng(0)
    labels = rng.random((40, 3)) < 0.4
    labels[:, 2] = False
    logits = rng.normal(size=(40, 1, 1, 3))
    better = logits + 2 * labels[:, None, None]
    comparison = Comparison(evaluated(tmp_path / "a", logits, labels), evaluated(tmp_path / "b", better, labels))
    assert comparison.gains["video_map"].interval.low > 0
    assert {move.name for move in comparison.class_differences()} == {"class 0", "class 1"}


# Other manifests ------------------------------------------------------------------------------------------------------

PATHS = [f"{index}.mp4" for index in range(6)]


def refusal(tmp_path, **second) -> str:
    logits, labels = random_run(0, num_videos=6, num_classes=3)
    arguments = {"logits": logits, "labels": labels, "paths": PATHS} | second
    first = evaluated(tmp_path / "a", logits, labels, paths=PATHS)
    with pytest.raises(ValueError, match="the runs are over different manifests: ") as refused:
        Comparison(first, evaluated(tmp_path / "b", **arguments))
    return str(refused.value).partition("manifests: ")[2]


def test_other_videos_are_refused(tmp_path):
    found = refusal(tmp_path, paths=["0.mp4", "1.mp4", "x.mp4", "y.mp4", "4.mp4", "z.mp4"])
    wanted = "3 only in the first (2.mp4, 3.mp4, 5.mp4), 3 only in the second (x.mp4, y.mp4, z.mp4)"
    assert found == f"other videos: {wanted}"


def test_repeated_video_is_refused(tmp_path):
    found = refusal(tmp_path, paths=[*PATHS[:5], "0.mp4"])
    assert found == "other videos: 1 only in the first (5.mp4), 1 only in the second (0.mp4 (again))"


def test_other_labels_are_refused(tmp_path):
    _, labels = random_run(0, num_videos=6, num_classes=3)
    found = refusal(tmp_path, labels=np.where(np.arange(6) < 2, (labels + 1) % 3, labels))
    assert found == "other labels: of 2 videos (0.mp4, 1.mp4)"


def test_other_classes_are_refused(tmp_path):
    found = refusal(tmp_path, class_names=["class 0", "class 2", "jump"])
    assert found == "other classes: 1 only in the first (class 1), 1 only in the second (jump)"


def test_classes_in_another_order_are_refused(tmp_path):
    assert (
        refusal(tmp_path, class_names=["class 0", "class 2", "class 1"]) == "other classes: the same in another order"
    )


def test_several_labels_against_one_are_refused(tmp_path):
    assert "only in the second may a video have several" in refusal(tmp_path, labels=np.zeros((6, 3), dtype=bool))
