"""Metrics compared with loops, torchmetrics and results by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional.classification import (
    binary_auroc,
    multiclass_accuracy,
    multiclass_calibration_error,
    multiclass_confusion_matrix,
    multilabel_average_precision,
)

from tests.each_case import each_case
from videoctx.evaluation.bootstrap import NUM_RESAMPLES, estimates, resampled
from videoctx.evaluation.metrics import (
    area_under_roc,
    average_precisions,
    calibration_error,
    confusion,
    mean_average_precision,
    mean_class_accuracy,
    share,
)
from videoctx.evaluation.ranking import UNRANKED, best_classes, label_ranks


def once(num_videos):
    return np.ones((1, num_videos))


def ranks(scores, labels):
    return label_ranks(torch.from_numpy(scores), torch.from_numpy(labels)).numpy()


def random_scores(seed, num_videos=60, num_classes=6):
    rng = np.random.default_rng(seed)
    scores = torch.tensor(rng.normal(size=(num_videos, num_classes)) * 2).softmax(dim=1).numpy()
    return scores, rng.integers(0, num_classes, num_videos)


# Ranks ----------------------------------------------------------------------------------------------------------------


def test_ranks_by_hand():
    scores = np.array([[0.5, 0.3, 0.2], [0.2, 0.4, 0.4], [0.4, 0.4, 0.2], [np.nan, 0.5, 0.5], [0.9, 0.1, 0.0]])
    assert ranks(scores, np.array([1, 2, 0, 1, -1])).tolist() == [1, 1, 0, UNRANKED, UNRANKED]


@given(st.integers(0, 2**32), st.integers(1, 5), st.integers(1, 6))
@settings(max_examples=50, deadline=None)
def test_ranks_equal_a_stable_sort(seed, distinct, num_classes):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, distinct, (20, num_classes)) / 8
    labels = rng.integers(0, num_classes, 20)
    for row, label, rank in zip(scores.tolist(), labels.tolist(), ranks(scores, labels).tolist(), strict=True):
        assert sorted(range(num_classes), key=lambda index: -row[index]).index(label) == rank


@each_case("most", [1, 5])
def test_top_k_equals_torchmetrics(most):
    scores, labels = random_scores(0)
    ours = share(ranks(scores, labels) < most, np.ones(60), once(60))
    theirs = multiclass_accuracy(torch.tensor(scores), torch.tensor(labels), 6, average="micro", top_k=most)
    assert ours[0] == pytest.approx(theirs.item())


def test_share_of_nothing_is_zero():
    assert share(np.zeros(3), np.zeros(3), once(3)).tolist() == [0]


# Per class ------------------------------------------------------------------------------------------------------------


def test_mean_class_accuracy_by_hand():
    labels, correct = np.array([0, 0, 0, 2, 2, -1]), np.array([True, True, False, True, False, True])
    assert mean_class_accuracy(correct, labels, once(6))[0] == (2 / 3 + 1 / 2) / 2  # class 1 has no video
    assert mean_class_accuracy(np.ones(1, dtype=bool), np.array([-1]), once(1)).tolist() == [0]


@each_case("seed", range(3))
def test_mean_class_accuracy_and_confusion_equal_torchmetrics(seed):
    scores, labels = random_scores(seed)
    ours = mean_class_accuracy(scores.argmax(axis=1) == labels, labels, once(60))[0]
    given = torch.tensor(scores), torch.tensor(labels)
    assert ours == pytest.approx(multiclass_accuracy(*given, 6, average="macro").item())
    counts = confusion(scores, labels)
    assert (counts[:, :6] == multiclass_confusion_matrix(*given, 6).numpy()).all()
    assert not counts[:, 6].any()


def test_confusion_of_a_video_without_a_prediction():
    scores = np.array([[np.nan, np.nan], [0.5, 0.5], [0.1, 0.9]])
    assert confusion(scores, np.array([1, 1, -1])).tolist() == [[0, 0, 0], [1, 0, 1]]


# Two classes ----------------------------------------------------------------------------------------------------------


@each_case("seed", range(3))
@each_case("distinct", [4, 1000])
def test_area_under_roc_equals_torchmetrics(seed, distinct):
    """Also on a resample: a video that counts twice is there twice."""
    rng = np.random.default_rng(seed)
    second = rng.integers(0, distinct, 50) / distinct
    scores, labels = np.stack([1 - second, second], axis=1), rng.integers(0, 2, 50)
    counts = rng.integers(0, 3, 50)
    ours = area_under_roc(scores, labels, np.stack([np.ones(50), counts]))
    for found, videos in zip(ours, (np.arange(50), np.repeat(np.arange(50), counts)), strict=True):
        theirs = binary_auroc(torch.tensor(second[videos]), torch.tensor(labels[videos]))
        assert found == pytest.approx(theirs.item(), abs=1e-6)
    assert area_under_roc(scores[:, ::-1], 1 - labels, once(50))[0] == pytest.approx(ours[0])


def test_a_video_without_a_prediction_loses_all_pairs_of_the_area_under_roc():
    scores = np.array([[0.9, 0.1], [np.nan, np.nan], [0.2, 0.8], [np.nan, np.nan], [0.0, 1.0]])
    labels = np.array([0, 0, 1, 1, -1])
    assert area_under_roc(scores, labels, once(5)).tolist() == [1 / 4]  # of four pairs, that of the first and third
    assert area_under_roc(scores[1::2], labels[1::2], once(2)).tolist() == [0]
    assert np.isnan(area_under_roc(scores[:2], labels[:2], once(2))).all()  # one class has no video


def test_resamples_without_a_class_do_not_count():
    scores, labels = np.array([[0.9, 0.1], [0.4, 0.6], [0.3, 0.7]]), np.array([0, 1, 1])
    found = estimates(lambda weights: {"video_auc": area_under_roc(scores, labels, weights)}, 3, bounds=(0, 1))
    assert found["video_auc"] == (1.0, (1.0, 1.0))


# Calibration ----------------------------------------------------------------------------------------------------------


def test_calibration_error_by_hand():
    confidence = np.array([0.95, 0.95, 0.55, 0.58, np.nan])
    correct = np.array([True, False, True, True, False])
    # bins of 1/15: the first two are together, 0.5 right at 0.95; 0.55 and 0.58 are in one of their own
    wanted = (2 * abs(0.5 - 0.95) + 2 * abs(1 - 0.565)) / 4
    assert calibration_error(confidence, correct, once(5))[0] == pytest.approx(wanted)


def test_bins_include_their_upper_end():
    confidence, correct = np.array([1 / 3, 0.34, 1.0]), np.array([True, False, True])
    assert calibration_error(confidence, correct, once(3), num_bins=3)[0] == pytest.approx((2 / 3 + 0.34) / 3)


@each_case("seed", range(4))
def test_calibration_error_equals_torchmetrics(seed):
    scores, labels = random_scores(seed)
    ours = calibration_error(scores.max(axis=1), scores.argmax(axis=1) == labels, once(60))[0]
    theirs = multiclass_calibration_error(torch.tensor(scores), torch.tensor(labels), 6, n_bins=15, norm="l1")
    assert ours == pytest.approx(theirs.item(), abs=1e-6)


# Several labels -------------------------------------------------------------------------------------------------------


def charades(scores, labels):
    """Return the average precision of every class, in loops as in the official evaluation."""
    precisions = []
    for index in range(scores.shape[1]):
        order = sorted(range(len(scores)), key=lambda video: -scores[video, index])
        right, found = 0, []
        for place, video in enumerate(order, start=1):
            if labels[video, index]:
                right += 1
                found.append(right / place)
        precisions.append(sum(found) / len(found) if found else np.nan)
    return precisions


def test_average_precision_by_hand():
    scores = np.array([[0.9], [0.8], [0.7], [0.6]])
    labels = np.array([[True], [False], [True], [False]])
    assert average_precisions(scores, labels, once(4))[0, 0] == pytest.approx((1 + 2 / 3) / 2)


def test_videos_of_equal_score_count_together():
    scores, labels = np.array([[0.5], [0.5], [0.1]]), np.array([[True], [False], [True]])
    assert average_precisions(scores, labels, once(3))[0, 0] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert average_precisions(scores[[1, 0, 2]], labels[[1, 0, 2]], once(3))[0, 0] == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_failed_video_comes_last():
    scores = np.array([[0.9, 0.1], [np.nan, np.nan], [0.5, 0.8]])
    labels = np.array([[False, True], [True, False], [True, False]])
    precisions = average_precisions(scores, labels, once(3))[0]
    assert precisions.tolist() == pytest.approx([(1 / 2 + 2 / 3) / 2, 1 / 2])


def average_precision(scores, labels):
    """Return Σ (Rₙ - Rₙ₋₁) Pₙ over the distinct scores, as scikit-learn's `average_precision_score` defines it."""
    result, recall = 0.0, 0.0
    for threshold in sorted(set(scores), reverse=True):
        shown = [label for score, label in zip(scores, labels, strict=True) if score >= threshold]
        result += (sum(shown) / sum(labels) - recall) * sum(shown) / len(shown)
        recall = sum(shown) / sum(labels)
    return result


@given(st.integers(0, 2**32), st.integers(0, 12), st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_order_of_videos_changes_no_metric(seed, num_failed, distinct):
    """Many scores are equal, and some videos failed, which are the last of every class together."""
    rng = np.random.default_rng(seed)
    scores, multi = rng.integers(0, distinct, (24, 5)) / 7, rng.random((24, 5)) < 0.3
    labels, views = rng.integers(0, 5, 24), rng.integers(1, 9, 24)
    failed = rng.permutation(24)[:num_failed]
    scores[failed, rng.integers(0, 5, num_failed)] = np.nan  # NaN of one class is enough
    precisions = average_precisions(scores, multi, once(24))[0]
    known = np.where(np.isin(np.arange(24), failed)[:, None], -np.inf, scores)
    for index in np.flatnonzero(multi.any(axis=0)):
        wanted = average_precision(known[:, index].tolist(), multi[:, index].tolist())
        assert precisions[index] == pytest.approx(wanted), index

    def metrics(order):
        some, label = scores[order], labels[order]
        correct = ranks(some, label) == 0
        return {
            "average precision": average_precisions(some, multi[order], once(24)),
            "mAP": mean_average_precision(some, multi[order], once(24)),
            "top-3": share(ranks(some, label) < 3, views[order], once(24)),
            "mean class": mean_class_accuracy(correct, label, once(24)),
            "calibration": calibration_error(some.max(axis=1), correct, once(24)),
            "confusion": confusion(some, label),
        }

    for name, value in metrics(rng.permutation(24)).items():
        np.testing.assert_array_equal(value, metrics(np.arange(24))[name], err_msg=name)


def test_no_videos_have_no_average_precision():
    assert np.isnan(average_precisions(np.zeros((0, 2)), np.zeros((0, 2), dtype=bool), once(0))).all()


def test_nan_has_no_rank():
    with pytest.raises(ValueError, match="1 of 3 scores are NaN"):
        best_classes(np.array([0.2, np.nan, 0.1]), 2)


@given(st.integers(0, 2**32))
@settings(max_examples=25, deadline=None)
def test_mean_average_precision_equals_charades(seed):
    rng = np.random.default_rng(seed)
    scores, labels = rng.random((30, 5)), rng.random((30, 5)) < 0.15
    labels[:, 4] = False  # never shown: does not count
    wanted = charades(scores, labels)
    np.testing.assert_allclose(average_precisions(scores, labels, once(30))[0], wanted)
    mean = np.nanmean(wanted) if labels.any() else 0
    assert mean_average_precision(scores, labels, once(30))[0] == pytest.approx(mean)


def test_mean_average_precision_equals_torchmetrics():
    rng = np.random.default_rng(0)
    scores, labels = rng.integers(0, 12, (50, 4)) / 12, rng.random((50, 4)) < 0.3  # many are equal
    theirs = multilabel_average_precision(torch.tensor(scores), torch.tensor(labels).long(), 4)
    assert mean_average_precision(scores, labels, once(50))[0] == pytest.approx(theirs.item(), abs=1e-6)


# Weights and intervals ------------------------------------------------------------------------------------------------


@each_case("seed", range(5))
def test_weights_equal_repeated_videos(seed):
    rng = np.random.default_rng(seed)
    scores, labels = random_scores(seed)
    multi = rng.random((60, 6)) < 0.3
    weights = rng.multinomial(60, np.full(60, 1 / 60), size=3).astype(float)
    correct = scores.argmax(axis=1) == labels
    views = rng.integers(1, 9, 60)
    found = {
        "share": share(correct, views, weights),
        "class": mean_class_accuracy(correct, labels, weights),
        "calibration": calibration_error(scores.max(axis=1), correct, weights),
        "precision": mean_average_precision(scores, multi, weights),
    }
    for draw in range(3):
        drawn = np.repeat(np.arange(60), weights[draw].astype(int))
        ones = once(len(drawn))
        assert found["share"][draw] == pytest.approx(share(correct[drawn], views[drawn], ones)[0])
        assert found["class"][draw] == pytest.approx(mean_class_accuracy(correct[drawn], labels[drawn], ones)[0])
        confidence = scores.max(axis=1)[drawn]
        assert found["calibration"][draw] == pytest.approx(calibration_error(confidence, correct[drawn], ones)[0])
        assert found["precision"][draw] == pytest.approx(mean_average_precision(scores[drawn], multi[drawn], ones)[0])


def test_resamples_have_all_videos_and_depend_on_the_seed(monkeypatch):
    parts = list(resampled(50))
    weights = np.concatenate(parts)
    assert weights.shape == (NUM_RESAMPLES, 50)
    assert (weights.sum(axis=1) == 50).all()
    assert abs(weights.mean(axis=0) - 1).max() < 0.15
    assert weights.var() == pytest.approx(1 - 1 / 50, abs=0.02)  # of a binomial
    assert (np.concatenate(list(resampled(50))) == weights).all()
    assert not (np.concatenate(list(resampled(50, seed=1))) == weights).all()
    monkeypatch.setattr("videoctx.evaluation.bootstrap.COUNTS_AT_ONCE", 1200)
    assert len(list(resampled(50))) == 42
    assert (np.concatenate(list(resampled(50))) == weights).all()


def test_interval_equals_the_binomial_one():
    """Of 400 videos 100 are correct. The normal approximation gives 25 ± 4.24 %."""
    correct = np.arange(400) < 100
    estimate = estimates(lambda weights: {"top1": share(correct, np.ones(400), weights)}, 400)["top1"]
    assert estimate.value == 0.25
    assert estimate.interval == pytest.approx((0.25 - 0.0424, 0.25 + 0.0424), abs=0.006)


def test_interval_contains_a_metric_that_is_biased_on_resamples(monkeypatch):
    monkeypatch.setattr("videoctx.evaluation.bootstrap.NUM_RESAMPLES", 250)  # four times as fast
    rng = np.random.default_rng(0)
    labels = rng.random((300, 150)) < 0.04
    scores = rng.normal(size=(300, 150)) + 1.2 * labels

    def metrics(weights):
        return {"video_map": mean_average_precision(scores, labels, weights)}

    value, interval = estimates(metrics, 300)["video_map"]
    drawn = np.concatenate([metrics(weights)["video_map"] for weights in resampled(300)])
    assert np.percentile(drawn, 2.5) > value  # the percentiles alone would not contain it
    assert interval.low < value < interval.high
    assert interval.high - interval.low == pytest.approx(np.subtract(*np.percentile(drawn, (97.5, 2.5))))


def test_interval_is_within_bounds():
    confidence, correct = np.full(30, 0.6), np.arange(30) < 17

    def metrics(weights):
        return {"video_ece": calibration_error(confidence, correct, weights)}

    value, interval = estimates(metrics, 30, bounds=(0, 1))["video_ece"]
    assert estimates(metrics, 30)["video_ece"].interval.low < 0 == interval.low < value < interval.high
