"""Results computed from scores equal those of validation, and loops over views."""

import csv
import json

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import multiclass_f1_score, multiclass_precision, multiclass_recall

from tests.each_case import each_case
from tests.evaluation.synthetic_scores import random_run, synthetic_scores
from videoctx.evaluation.accuracy import VideoAccuracy
from videoctx.evaluation.evaluation_result import EvaluationResult
from videoctx.evaluation.result_files import write_classes, write_confusion


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def online(stored):
    """Return the accuracy that `videoctx validate` computes from the same views."""
    accuracy = VideoAccuracy(len(stored.class_names))
    probabilities = torch.tensor(stored.scores).float().softmax(dim=1)
    given = (stored.video, stored.labels, stored.views_expected)
    accuracy.update(probabilities, *map(torch.tensor, given))
    return accuracy.compute()


@each_case("seed", range(4))
@each_case("num_classes", [2, 4, 7])
def test_summary_equals_validation(tmp_path, seed, num_classes):
    run = random_run(seed, num_classes=num_classes)
    run[0][7, 1, 1, 0] = np.nan
    stored = synthetic_scores(tmp_path, *run, failed=(0, 13))
    summary = EvaluationResult(stored).summary()
    for name, value in online(stored)._asdict().items():
        assert summary.get(name) == value, name
    assert summary["num_undecided"] == 1
    assert summary["num_failed"] == 2
    assert (summary["views"], summary["average"]) == ([4, 3], "probabilities")


def test_ties_go_to_the_lower_class_in_validation_too(tmp_path):
    """The mean of two opposite views is a tie, which goes to class 0."""
    logits = np.zeros((2, 2, 1, 3))
    logits[:, 0, 0, 0] = logits[:, 1, 0, 1] = 2.0
    stored = synthetic_scores(tmp_path, logits, np.array([0, 1]))
    summary = EvaluationResult(stored).summary()
    assert (summary["video_top1"], summary["clip_top1"]) == (0.5, 0.5)
    assert online(stored)[:2] == (0.5, 0.5)


@each_case("average", ["probabilities", "logits"])
def test_metrics_equal_loops(tmp_path, average):
    logits, labels = random_run(5)
    stored = synthetic_scores(tmp_path, logits, labels, failed=(3,))
    correct, correct_views, of_class = [], 0, {}
    for video, label in enumerate(labels):
        views = torch.tensor(logits[video]).reshape(-1, 7)
        mean = views.softmax(dim=1).mean(dim=0) if average == "probabilities" else views.mean(dim=0)
        correct.append(video != 3 and int(mean.argmax()) == label)
        correct_views += 0 if video == 3 else int((views.argmax(dim=1) == label).sum())
        of_class.setdefault(label, []).append(correct[-1])
    summary = EvaluationResult(stored, average).summary()
    assert summary["video_top1"] == sum(correct) / 40
    assert summary["clip_top1"] == correct_views / (40 * 12)
    wanted = np.mean([np.mean(values) for values in of_class.values()])
    assert summary["video_mean_class"] == pytest.approx(wanted)


@each_case("num_classes", [2, 5, 6])
def test_top5_only_with_more_than_five_classes_and_auc_with_two(tmp_path, num_classes):
    result = EvaluationResult(synthetic_scores(tmp_path, *random_run(1, num_classes=num_classes), failed=(2,)))
    summary = result.summary()
    assert {name for name in summary if "top5" in name} == ({"clip_top5", "video_top5"} if num_classes > 5 else set())
    assert ("top-5" in result.describe()) == (num_classes > 5)
    assert ("video_auc" in summary) == ("AUC" in result.describe()) == (num_classes == 2)


def test_two_classes_of_which_one_has_no_video_have_no_auc(tmp_path):
    logits, _ = random_run(1, num_classes=2)
    assert "video_auc" not in EvaluationResult(synthetic_scores(tmp_path, logits, np.zeros(40, dtype=int))).estimates


@each_case("seed", range(3))
def test_precision_recall_and_f1_equal_torchmetrics(tmp_path, seed):
    """A video without a prediction is of a class of its own there."""
    result = EvaluationResult(synthetic_scores(tmp_path, *random_run(seed, num_videos=20), failed=(3, 4)))
    scores, labels = result.video_scores, torch.tensor(result.view_scores.labels)
    predictions = torch.tensor(np.where(np.isnan(scores[:, 0]), 7, np.nan_to_num(scores).argmax(axis=1)))
    for metric, field in (
        (multiclass_recall, "value"),
        (multiclass_precision, "precision"),
        (multiclass_f1_score, "f1"),
    ):
        theirs = metric(predictions, labels, 8, average="none")[:7].tolist()
        ours = [getattr(one, field) or 0 for one in result.per_class]  # torchmetrics gives 0 where none is defined
        assert ours == pytest.approx(theirs), field
    never = [one for one in result.per_class if not one.num_predicted]
    assert all(one.precision is None for one in never)


def test_the_two_averages_differ(tmp_path):
    """Two views with low confidence against one with high confidence, which the mean of the logits follows."""
    logits = np.array([[[[0.0, 0.4]], [[0.0, 0.4]], [[2.0, 0.0]]]])
    stored = synthetic_scores(tmp_path, logits, np.array([0]))
    views = torch.tensor(logits).reshape(3, 2)
    assert stored.averages("probabilities")[0, 0] == pytest.approx(views.softmax(1).mean(0)[0].item(), rel=1e-3)
    assert stored.averages("logits")[0, 0] == pytest.approx(views.mean(0).softmax(0)[0].item(), rel=1e-3)


def test_intervals_contain_their_metric_and_are_reproducible(tmp_path):
    stored = synthetic_scores(tmp_path, *random_run(0), failed=(1,))
    summary = EvaluationResult(stored).summary()
    intervals = summary["intervals_95"]
    assert set(intervals) == {
        "clip_top1", "clip_top5", "video_top1", "video_top5", "video_mean_class", "video_ece"
    }  # fmt: skip
    for name, (low, high) in intervals.items():
        assert low < high
        assert low <= summary[name] <= high
    assert json.loads(json.dumps(summary)) == EvaluationResult(stored).summary()


def test_clip_interval_is_over_videos(tmp_path):
    """Views of a video are not independent. Where they are equal, the interval is that of the videos."""
    logits, labels = random_run(2, num_videos=100, views=(1, 1))
    estimates = EvaluationResult(synthetic_scores(tmp_path, np.repeat(logits, 9, axis=1), labels)).estimates
    assert estimates["clip_top1"] == estimates["video_top1"]


def test_all_videos_failed(tmp_path):
    stored = synthetic_scores(tmp_path, *random_run(0, num_videos=3), failed=(0, 1, 2))
    summary = EvaluationResult(stored).summary()
    assert (summary["video_top1"], summary["video_top5"], summary["num_failed"]) == (0, 0, 3)
    assert summary["num_views"] == 36
    assert online(stored)._asdict().items() <= summary.items()


def test_several_labels(tmp_path):
    rng = np.random.default_rng(0)
    labels = rng.random((30, 4)) < 0.4
    logits = rng.normal(size=(30, 2, 1, 4)) + 1.5 * labels[:, None, None]
    evaluation_result = EvaluationResult(synthetic_scores(tmp_path, logits, labels, failed=(2,)))
    summary = evaluation_result.summary()
    assert 0.6 < summary["video_map"] < 1
    assert "video_top1" not in summary
    assert "mAP" in evaluation_result.describe()
    write_classes(evaluation_result, tmp_path / "classes.csv")
    rows = rows_of(tmp_path / "classes.csv")
    assert [int(row["videos"]) for row in rows] == labels.sum(axis=0).tolist()
    mean = np.mean([float(row["average_precision"]) for row in rows])
    assert mean == pytest.approx(summary["video_map"], abs=1e-6)


def test_description_in_one_line(tmp_path):
    logits = np.zeros((4, 1, 1, 2))
    logits[..., 0] = 1
    logits[1, ..., 1] = np.nan
    evaluation_result = EvaluationResult(synthetic_scores(tmp_path, logits, np.array([0, 0, 0, 1]), failed=(0,)))
    line = evaluation_result.describe()
    assert line.startswith("4 videos, 4 views, 1 failed, 1 with NaN from the network: clip top-1 25.00% (0.00 – ")


# Tables ---------------------------------------------------------------------------------------------------------------


def test_classes_and_confusion_files(tmp_path):
    logits = np.full((5, 1, 1, 3), -1.0)
    for video, prediction in enumerate((0, 1, 1, 2, 0)):
        logits[video, ..., prediction] = 1
    stored = synthetic_scores(tmp_path, logits, np.array([0, 0, 1, 1, 1]), class_names=["a, b", "c", "d"], failed=(4,))
    evaluation_result = EvaluationResult(stored)
    write_classes(evaluation_result, tmp_path / "classes.csv")
    write_confusion(evaluation_result, tmp_path / "confusion.csv")
    assert [tuple(row.values()) for row in rows_of(tmp_path / "classes.csv")] == [
        ("a, b", "2", "1", "1", "0.500000", "1.000000", "0.666667"),
        ("c", "3", "2", "1", "0.333333", "0.500000", "0.400000"),
        ("d", "0", "1", "0", "", "0.000000", "0.000000"),
    ]
    assert [tuple(row.values()) for row in rows_of(tmp_path / "confusion.csv")] == [
        ("a, b", "a, b", "1"),
        ("a, b", "c", "1"),
        ("c", "", "1"),  # failed: no prediction
        ("c", "c", "1"),
        ("c", "d", "1"),
    ]


def test_file_that_cannot_be_written_leaves_nothing(tmp_path):
    evaluation_result = EvaluationResult(synthetic_scores(tmp_path / "run", *random_run(0, num_videos=2)))
    (tmp_path / "classes.csv").mkdir()
    with pytest.raises(OSError, match=r"classes\.csv"):
        write_classes(evaluation_result, tmp_path / "classes.csv")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["classes.csv", "run"]
