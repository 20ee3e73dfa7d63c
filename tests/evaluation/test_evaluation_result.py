"""A run evaluated by its scores: as the accuracy online has it, and as loops over views count it."""

import csv
import json

import numpy as np
import pytest
import torch

from tests.evaluation.synthetic_scores import random_run, synthetic_scores
from videoctx.evaluation.accuracy import VideoAccuracy
from videoctx.evaluation.evaluation_result import EvaluationResult
from videoctx.evaluation.result_files import write_classes, write_confusion


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def online(stored):
    """What `validate` would say of the same views."""
    accuracy = VideoAccuracy()
    probabilities = torch.tensor(stored.scores).float().softmax(dim=1)
    given = (stored.video, stored.labels, stored.views_expected)
    accuracy.update(probabilities, *map(torch.tensor, given))
    return accuracy.compute()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("num_classes", [2, 4, 7])
def test_the_summary_is_what_is_said_online(tmp_path, seed, num_classes):
    run = random_run(seed, num_classes=num_classes)
    run[0][7, 1, 1, 0] = np.nan
    stored = synthetic_scores(tmp_path, *run, failed=(0, 13))
    summary = EvaluationResult(stored).summary()
    for name, value in online(stored)._asdict().items():
        assert summary[name] == value, name
    assert summary["num_undecided"] == 1
    assert summary["num_failed"] == 2
    assert (summary["views"], summary["average"]) == ([4, 3], "probabilities")


def test_equal_scores_go_to_the_lower_class_online_too(tmp_path):
    """Two views that say the opposite: their mean is a tie, which class 0 wins."""
    logits = np.zeros((2, 2, 1, 3))
    logits[:, 0, 0, 0] = logits[:, 1, 0, 1] = 2.0
    stored = synthetic_scores(tmp_path, logits, np.array([0, 1]))
    summary = EvaluationResult(stored).summary()
    assert (summary["video_top1"], summary["clip_top1"]) == (0.5, 0.5)
    assert online(stored)[:2] == (0.5, 0.5)


@pytest.mark.parametrize("average", ["probabilities", "logits"])
def test_metrics_equal_loops(tmp_path, average):
    logits, labels = random_run(5)
    stored = synthetic_scores(tmp_path, logits, labels, failed=(3,))
    right, right_views, of_class = [], 0, {}
    for video, label in enumerate(labels):
        views = torch.tensor(logits[video]).reshape(-1, 7)
        mean = views.softmax(dim=1).mean(dim=0) if average == "probabilities" else views.mean(dim=0)
        right.append(video != 3 and int(mean.argmax()) == label)
        right_views += 0 if video == 3 else int((views.argmax(dim=1) == label).sum())
        of_class.setdefault(label, []).append(right[-1])
    summary = EvaluationResult(stored, average).summary()
    assert summary["video_top1"] == sum(right) / 40
    assert summary["clip_top1"] == right_views / (40 * 12)
    wanted = np.mean([np.mean(values) for values in of_class.values()])
    assert summary["video_mean_class"] == pytest.approx(wanted)


def test_the_two_averages_differ(tmp_path):
    """Two hesitant views against one that is sure: sums of logits follow the sure one."""
    logits = np.array([[[[0.0, 0.4]], [[0.0, 0.4]], [[2.0, 0.0]]]])
    stored = synthetic_scores(tmp_path, logits, np.array([0]))
    views = torch.tensor(logits).reshape(3, 2)
    assert stored.averages("probabilities")[0, 0] == pytest.approx(views.softmax(1).mean(0)[0].item(), rel=1e-3)
    assert stored.averages("logits")[0, 0] == pytest.approx(views.mean(0).softmax(0)[0].item(), rel=1e-3)


def test_intervals_hold_their_metric_and_follow_from_the_scores(tmp_path):
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


def test_the_clip_interval_is_over_videos_and_not_over_views(tmp_path):
    """Views of a video are not independent: where they all agree, the interval is the videos' own."""
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


def test_the_line_for_people(tmp_path):
    logits = np.zeros((4, 1, 1, 2))
    logits[..., 0] = 1
    logits[1, ..., 1] = np.nan
    evaluation_result = EvaluationResult(synthetic_scores(tmp_path, logits, np.array([0, 0, 0, 1]), failed=(0,)))
    line = evaluation_result.describe()
    assert line.startswith("4 videos, 4 views, 1 failed, 1 with NaN from the network: clip top-1 25.00% (0.00 – ")


# Tables ---------------------------------------------------------------------------------------------------------------


def test_tables_of_classes(tmp_path):
    logits = np.full((5, 1, 1, 3), -1.0)
    for video, answer in enumerate((0, 1, 1, 2, 0)):
        logits[video, ..., answer] = 1
    stored = synthetic_scores(tmp_path, logits, np.array([0, 0, 1, 1, 1]), class_names=["a, b", "c", "d"], failed=(4,))
    evaluation_result = EvaluationResult(stored)
    write_classes(evaluation_result, tmp_path / "classes.csv")
    write_confusion(evaluation_result, tmp_path / "confusion.csv")
    assert [tuple(row.values()) for row in rows_of(tmp_path / "classes.csv")] == [
        ("a, b", "2", "1", "0.500000"),
        ("c", "3", "1", "0.333333"),
        ("d", "0", "0", ""),
    ]
    assert [tuple(row.values()) for row in rows_of(tmp_path / "confusion.csv")] == [
        ("a, b", "a, b", "1"),
        ("a, b", "c", "1"),
        ("c", "", "1"),  # failed: no answer
        ("c", "c", "1"),
        ("c", "d", "1"),
    ]


def test_a_table_that_cannot_be_written_leaves_nothing(tmp_path):
    evaluation_result = EvaluationResult(synthetic_scores(tmp_path / "run", *random_run(0, num_videos=2)))
    (tmp_path / "classes.csv").mkdir()
    with pytest.raises(OSError, match=r"classes\.csv"):
        write_classes(evaluation_result, tmp_path / "classes.csv")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["classes.csv", "run"]
