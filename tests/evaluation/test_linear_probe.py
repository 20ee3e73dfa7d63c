"""A linear probe against a fit by hand, the choice of its penalty, and files of features that cannot be probed."""

import json

import numpy as np
import pytest
from scipy.optimize import minimize

from tests.each_case import each_case
from videoctx.batch import View
from videoctx.cli import main
from videoctx.evaluation.feature_file import FeatureWriter, VideoFeatures, read_features
from videoctx.evaluation.linear_probe import choose_by_cross_validation, fit_probe, group_folds
from videoctx.evaluation.probed_features import probe_features

CLASSES = ["clap", "run", "wave"]


def loss_by_hand(weight, bias, vectors, labels, penalty):
    total = 0.0
    for vector, label in zip(vectors, labels, strict=True):
        logits = [sum(w * x for w, x in zip(row, vector, strict=True)) + b for row, b in zip(weight, bias, strict=True)]
        total += np.log(sum(np.exp(logit) for logit in logits)) - logits[label]
    return total / len(vectors) + penalty / 2 * sum(w * w for row in weight for w in row)


@pytest.mark.parametrize("shape", [(12, 2), (5, 7)])  # more vectors than numbers, and fewer
def test_the_probe_has_the_least_loss(shape):
    rng = np.random.default_rng(0)
    vectors, labels, penalty = rng.normal(size=shape) * 3 + 1, rng.integers(0, 3, shape[0]), 0.05
    centered = vectors - vectors.mean(axis=0)
    centered /= np.sqrt((centered**2).sum(axis=1).mean())

    def loss(parameters):
        weight, bias = parameters[:-3].reshape(3, -1), parameters[-3:]
        return loss_by_hand(weight, bias, centered, labels, penalty)

    expected = minimize(loss, np.zeros(3 * shape[1] + 3), method="BFGS", options={"gtol": 1e-6}).x
    logits = centered @ expected[:-3].reshape(3, -1).T + expected[-3:]
    logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
    found = fit_probe(vectors, labels, 3, penalty=penalty).log_probabilities(vectors)
    np.testing.assert_allclose(found, logits, atol=1e-4)


def test_no_group_is_divided_and_the_folds_are_about_as_large():
    groups = [f"recording {number}" for number in (0, 0, 0, 1, 2, 2, 3, 4, 5, 5, 6) for _ in range(2)]
    folds = group_folds(groups)
    assert all(len({fold for fold, name in zip(folds, groups, strict=True) if name == group}) == 1 for group in groups)
    assert np.bincount(folds).max() - np.bincount(folds).min() <= 4
    with pytest.raises(ValueError, match="of one group"):
        choose_by_cross_validation(np.zeros((2, 1)), np.array([0, 1]), ["a", "a"], 2)


def test_a_penalty_that_remembers_recordings_is_not_chosen():
    """The vectors tell which recording they are of, and so its class, and in one number they tell the class itself."""
    rng = np.random.default_rng(0)
    groups = [f"{number}" for number in range(12) for _ in range(4)]
    labels = np.array([number % 2 for number in range(12) for _ in range(4)])
    own = np.eye(12)[[int(group) for group in groups]] * 6
    shared = (labels[:, None] * 2.0 - 1 + rng.normal(size=(48, 1))) * 1.0
    vectors = np.hstack([own, shared])
    chosen = choose_by_cross_validation(vectors, labels, groups, 2)
    leaking = choose_by_cross_validation(vectors, labels, [str(index) for index in range(48)], 2)
    assert leaking.accuracy == 1
    assert chosen.accuracy < 0.95
    assert chosen.penalty > leaking.penalty


def features(path, *, splits=("train", "val", "test"), change=None, views=2, groups=True):
    """Write features that tell the classes apart, and a video that failed in each split."""
    rng = np.random.default_rng(0)
    videos = []
    for split in splits:
        for index in range(12):
            name = CLASSES[index % 3]
            vectors = np.eye(3)[index % 3] * 4 + rng.normal(size=(views, 3))
            group = f"{split} {index // 3}" if groups else None
            where = [View(8 * view, 0) for view in range(views)]
            videos.append(VideoFeatures(f"{split}{index}.mp4", name, split, group, where, vectors.astype(np.float32)))
        videos.append(VideoFeatures(f"{split}-broken.mp4", "run", split, None, failure="the file is empty"))
    if change:
        videos = change(videos)
    with FeatureWriter(path, {"network": "ResNet3D", "clip_placement": "from_start"}) as writer:
        for video in videos:
            writer.write(video)
    return read_features(path)


def test_views_are_averaged_and_a_failed_video_is_incorrect(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    features(tmp_path / "features.npz")
    run = tmp_path / "run"
    main(["probe", str(tmp_path / "features.npz"), "-o", str(run)])
    printed = capsys.readouterr()
    assert "1 videos of split 'train' could not be read, and are left out (train-broken.mp4)" in printed.out
    assert "chosen on 'val'" in printed.out
    assert "13 videos, 26 views, 1 failed" in printed.out
    assert "counted as incorrect: test-broken.mp4: the file is empty" in printed.err
    result = json.loads((run / "results.json").read_text())
    assert 0.8 < result["video_top1"] <= 12 / 13
    assert result["num_parameters"] == 3 * 3 + 3
    for command in (["results", str(run)], ["compare", str(run), str(run)], ["report", str(run)], ["score", str(run)]):
        main(command)


def test_without_validation_the_groups_are_not_divided(tmp_path):
    table = features(tmp_path / "features.parquet", splits=("train", "test"))
    assert "over 4 groups" in probe_features(table).notes[-1]
    table = features(tmp_path / "features.parquet", splits=("train", "test"), groups=False)
    assert "over 12 files, as no column groups recordings" in probe_features(table).notes[-1]
    assert not [note for note in probe_features(table, penalty=0.1).notes if "chosen" in note]


def relabeled(label):
    def change(videos):
        return [VideoFeatures(v.path, label, v.split, v.group, v.views, v.vectors, v.failure) for v in videos]

    return change


@each_case(
    ("arguments", "change", "line"),
    [
        ({"test": "tset"}, None, "no video of split 'tset'; its splits are test, train, val"),
        ({"train": "fit"}, None, "no video of split 'fit'"),
        ({}, relabeled(None), r"39 videos have no label \(test-broken.mp4, test0.mp4, test1.mp4, …\)"),
        ({}, relabeled("run|jump"), r"videos have several labels \(run\|jump\); a probe takes one per video"),
        ({}, relabeled("run"), "all training videos show 'run'; expected two classes or more"),
    ],
)
def test_features_that_cannot_be_probed_are_one_line(tmp_path, arguments, change, line):
    table = features(tmp_path / "features.parquet", change=change)
    with pytest.raises(ValueError, match=line):
        probe_features(table, **arguments)


def test_a_class_without_training_videos_is_reported(tmp_path):
    def change(videos):
        return [video for video in videos if video.split == "test" or video.label != "wave"]

    table = features(tmp_path / "features.parquet", change=change)
    probed = probe_features(table)
    assert "1 classes have no training video (wave)" in probed.notes
    assert probed.scores.class_names == CLASSES
