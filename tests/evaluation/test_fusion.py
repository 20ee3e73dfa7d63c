"""Fused runs: averages by hand, whatever the order of classes and videos, and runs that cannot be fused."""

import json
from dataclasses import replace

import numpy as np
import pytest

from tests.each_case import each_case
from tests.evaluation.synthetic_scores import random_run, synthetic_scores, write_run
from videoctx.cli import main
from videoctx.evaluation.evaluation_result import EvaluationResult
from videoctx.evaluation.fusion import fuse
from videoctx.evaluation.run_folders import SCORES_FILE
from videoctx.evaluation.scores import ScoreError, read_run, read_scores
from videoctx.evaluation.view_scores import sigmoid, softmax

NAMES = ["a", "b"]


@pytest.fixture
def runs(tmp_path):
    (first, labels), (second, _) = (random_run(seed, num_videos=8, views=(2, 3), num_classes=4) for seed in (0, 1))
    return [
        synthetic_scores(tmp_path / name, logits, labels) for name, logits in zip(NAMES, (first, second), strict=True)
    ]


def test_a_training_without_a_test_is_told_to_be_tested_first(tmp_path):
    run = tmp_path / "my run"
    (run / "checkpoints").mkdir(parents=True)
    for name in ("training_card.json", "checkpoints/best.ckpt"):
        (run / name).touch()
    line = f"first: videoctx test -c '{run}/config.yaml' --ckpt_path '{run}/checkpoints/best.ckpt'"
    with pytest.raises(ScoreError, match=f"a training that has not been tested; {line}$"):
        read_run(run)


def test_the_weighted_mean_of_probabilities_by_hand(runs):
    found = fuse(runs, NAMES, weights=[1, 1.5]).scores
    assert found.shape == (2, 3)
    for view in range(len(found.video)):
        expected = [
            (1 * p + 1.5 * q) / 2.5
            for p, q in zip(*(np.exp(run.scores[view].astype(float)) for run in runs), strict=True)
        ]
        np.testing.assert_allclose(np.exp(found.scores[view].astype(float)), expected, rtol=3e-3)
    mean = (EvaluationResult(runs[0]).video_scores + 1.5 * EvaluationResult(runs[1]).video_scores) / 2.5
    np.testing.assert_allclose(EvaluationResult(found).video_scores, mean, rtol=3e-3)


def test_equal_weights_and_only_their_ratio(runs):
    same = fuse(runs, NAMES).scores.scores
    assert np.array_equal(same, fuse(runs, NAMES, weights=[3, 3]).scores.scores)
    only_first = fuse(runs, NAMES, weights=[2, 0]).scores.scores
    np.testing.assert_allclose(only_first.astype(float), runs[0].scores.astype(float), atol=5e-3)


def test_the_mean_of_logits(runs):
    found = fuse(runs, NAMES, weights=[1, 3], average="logits").scores
    expected = softmax((runs[0].scores.astype(float) + 3 * runs[1].scores.astype(float)) / 4)
    np.testing.assert_allclose(np.exp(found.scores.astype(float)), expected, rtol=5e-3)


def test_several_labels(tmp_path):
    rng = np.random.default_rng(0)
    labels = rng.random((5, 3)) < 0.5
    pair = [synthetic_scores(tmp_path / name, rng.normal(size=(5, 1, 1, 3)), labels) for name in NAMES]
    found = fuse(pair, NAMES, weights=[1, 3]).scores
    expected = (sigmoid(pair[0].scores.astype(float)) + 3 * sigmoid(pair[1].scores.astype(float))) / 4
    np.testing.assert_allclose(sigmoid(found.scores.astype(float)), expected, rtol=3e-3)
    assert EvaluationResult(found).estimates["video_map"].value > 0


def test_classes_and_videos_in_another_order_are_matched_by_name(runs, tmp_path):
    classes, videos = np.array([2, 0, 3, 1]), np.array([5, 1, 0, 7, 2, 3, 6, 4])
    (logits, labels) = random_run(1, num_videos=8, views=(2, 3), num_classes=4)
    _, labels = random_run(0, num_videos=8, views=(2, 3), num_classes=4)
    other = synthetic_scores(
        tmp_path / "shuffled",
        logits[videos][..., classes],
        np.argsort(classes)[labels[videos]],
        class_names=[f"class {index}" for index in classes],
        paths=[f"{index}.mp4" for index in videos],
    )
    found, expected = fuse([runs[0], other], NAMES), fuse(runs, NAMES).scores
    assert found.notes == ["b: its classes come in another order, and were matched by name"]
    assert (found.scores.class_names, found.scores.paths) == (expected.class_names, expected.paths)
    assert np.array_equal(found.scores.labels, expected.labels)
    assert np.array_equal(found.scores.scores, expected.scores)


def test_runs_with_different_views_are_fused_per_video(runs, tmp_path):
    logits, _ = random_run(1, num_videos=8, views=(5, 1), num_classes=4)
    other = synthetic_scores(tmp_path / "other", logits, runs[0].labels)
    found = fuse([runs[0], other], NAMES)
    assert found.notes == ["the runs have different views (2x3, 5x1), so they are fused per video"]
    mean = (EvaluationResult(runs[0]).video_scores + EvaluationResult(other).video_scores) / 2
    np.testing.assert_allclose(EvaluationResult(found.scores).video_scores, mean, rtol=3e-3)
    assert found.scores.shape == (1, 1)


def test_a_video_that_failed_in_one_run_has_failed(tmp_path):
    logits, labels = random_run(0, num_videos=6, views=(2, 1), num_classes=3)
    pair = [
        synthetic_scores(tmp_path / name, logits, labels, failed=failed)
        for name, failed in zip(NAMES, [(1, 4), (4, 5)], strict=True)
    ]
    found = fuse(pair, NAMES)
    assert found.notes == ["2 videos failed in some of the runs, and count as failed (1.mp4, 5.mp4)"]
    reason = "the file is empty"
    assert found.scores.failures == [None, f"a: {reason}", None, None, reason, f"b: {reason}"]
    assert sorted(set(found.scores.video.tolist())) == [0, 2, 3]


@each_case(
    ("change", "weights", "line"),
    [
        (None, [1, -1], "weights are 1 -1; expected 0 or more each, and not all 0"),
        (None, [0, 0], "weights are 0 0; expected 0 or more each"),
        (None, [1, float("nan")], "weights are 1 nan; expected 0 or more each"),
        (None, [1, 2, 3], "3 weights for 2 runs; expected one per run"),
        (
            "paths",
            None,
            r"a \(first\) and b \(second\): .*other videos: 1 only in the first \(0.mp4\), 1 only in the s",
        ),
        ("class_names", None, r"other classes: 1 only in the first \(class 0\), 1 only in the second \(run\)"),
        ("labels", None, r"other labels: of 1 videos \(0.mp4\)"),
        ("one", None, "1 run; expected two or more on the same videos"),
    ],
)
def test_runs_that_cannot_be_fused_are_one_line(runs, change, weights, line):
    first, second = runs
    if change == "paths":
        second = replace(second, paths=["other.mp4", *second.paths[1:]])
    elif change == "class_names":
        second = replace(second, class_names=["run", *second.class_names[1:]])
    elif change == "labels":
        second = replace(second, labels=np.array([(second.labels[0] + 1) % 4, *second.labels[1:]]))
    with pytest.raises(ValueError, match=line):
        fuse([first] if change == "one" else [first, second], NAMES, weights=weights)


def test_the_command_writes_a_run_that_every_tool_reads(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    labels = random_run(0, num_videos=10, views=(2, 1), num_classes=6)[1]
    for seed, name in enumerate(NAMES):
        write_run(tmp_path / name, random_run(seed, num_videos=10, views=(2, 1), num_classes=6)[0], labels, failed=(3,))
    first, second, fused = (str(tmp_path / name) for name in (*NAMES, "fused"))
    main(["fuse", first, second, "--weights", "1", "1.5", "-o", fused])
    assert "10 videos, 20 views, 1 failed" in capsys.readouterr().out
    expected = fuse([read_run(tmp_path / name) for name in NAMES], NAMES, weights=[1, 1.5]).scores
    found = read_scores(tmp_path / "fused" / SCORES_FILE)
    assert np.array_equal(found.scores, expected.scores)
    assert found.failures == expected.failures
    result = json.loads((tmp_path / "fused" / "results.json").read_text())
    assert result["video_top1"] == EvaluationResult(expected).estimates["video_top1"].value
    for command in (["results", fused], ["compare", first, fused], ["score", fused], ["report", fused]):
        main(command)
    with pytest.raises(SystemExit):
        main(["fuse", first, second, "-o", fused])
    assert "fused: exists already; expected a folder to create" in capsys.readouterr().err
    main(["fuse", first, second])
    assert "10 videos, 20 views, 1 failed" in capsys.readouterr().out
