"""`videoctx score`, `compare`, `results` and `pool` on synthetic runs: output, files and errors."""

import csv
import json
import os

import numpy as np
import pytest

from tests.each_case import each_case
from tests.evaluation.synthetic_scores import random_run, synthetic_scores, write_run
from videoctx.cli import main
from videoctx.evaluation.evaluation_result import EvaluationResult
from videoctx.evaluation.run_folders import SCORES_FILE
from videoctx.evaluation.scores import read_run
from videoctx.evaluation.view_subset import Views, choose_views


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def refused(capsys):
    """Run a command that fails, and return its one line on stderr without the name of the program."""

    def refused(*arguments: object) -> str:
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        assert stop.value.code == 2
        (line,) = capsys.readouterr().err.splitlines()
        return line.removeprefix("videoctx: ")

    return refused


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


# score ----------------------------------------------------------------------------------------------------------------


def test_score_writes_table_and_curve(tmp_path, capsys):
    stored = synthetic_scores(tmp_path, *random_run(0), failed=(2,))
    main(["score", str(tmp_path)])
    rows = rows_of(tmp_path / "views.csv")
    assert [(row["clips"], row["crops"], row["grid"]) for row in rows] == [
        (str(clips), crops, "nearest" if clips == 3 else "exact") for crops in ("1", "3") for clips in (1, 2, 3, 4)
    ]
    assert [row["stored_clips"] for row in rows[:4]] == ["0", "0 2", "0 1 3", "0 1 2 3"]
    for row in rows:
        views = Views(int(row["clips"]), int(row["crops"]))
        summary = EvaluationResult(choose_views(stored, views).scores).summary()
        for name in ("video_top1", "video_top5", "video_mean_class", "video_ece"):
            assert float(row[name]) == pytest.approx(summary[name], abs=1e-6)
            assert float(row[f"{name}_high"]) == pytest.approx(summary["intervals_95"][name][1], abs=1e-6)
    assert (tmp_path / "views.png").read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr().out
    assert "40 videos, 1 failed; mean of probabilities" in printed
    assert "nearest: the tested clips" in printed
    assert f"table and curve: {tmp_path / 'views.csv'}, {tmp_path / 'views.png'}" in printed
    assert sorted(path.name for path in tmp_path.iterdir()) == [SCORES_FILE, "views.csv", "views.png"]


def test_score_of_all_views_equals_the_result(tmp_path):
    stored = synthetic_scores(tmp_path / "run", *random_run(0))
    (tmp_path / "out").mkdir()
    main(["score", str(tmp_path / "run"), "--views", "4x3", "--output", str(tmp_path / "out")])
    (row,) = rows_of(tmp_path / "out" / "views.csv")
    assert float(row["video_top1"]) == EvaluationResult(stored).summary()["video_top1"]
    assert [path.name for path in (tmp_path / "run").iterdir()] == [SCORES_FILE]


@each_case("average", ["probabilities", "logits"])
def test_score_by_average(tmp_path, average):
    stored = synthetic_scores(tmp_path, *random_run(3, num_videos=200))
    main(["score", str(tmp_path), "--views", "4x3", "--average", average])
    (row,) = rows_of(tmp_path / "views.csv")
    wanted = {name: EvaluationResult(stored, name).summary()["video_ece"] for name in ("probabilities", "logits")}
    assert float(row["video_ece"]) == pytest.approx(wanted[average], abs=1e-6)
    assert abs(wanted["probabilities"] - wanted["logits"]) > 0.01


def test_score_by_clip(tmp_path, capsys):
    stored = synthetic_scores(tmp_path, *random_run(0))
    main(["score", str(tmp_path), "--views", "4x3", "1x1", "--level", "clip"])
    rows = rows_of(tmp_path / "views.csv")
    assert [column for column in rows[0] if column.startswith(("clip_", "video_"))] == [
        "clip_top1", "clip_top1_low", "clip_top1_high", "clip_top5", "clip_top5_low", "clip_top5_high"
    ]  # fmt: skip
    assert float(rows[0]["clip_top1"]) == pytest.approx(EvaluationResult(stored).summary()["clip_top1"], abs=1e-6)
    assert "clip@1" in capsys.readouterr().out


def test_score_of_several_labels(tmp_path, refused):
    rng = np.random.default_rng(0)
    write_run(tmp_path, rng.normal(size=(20, 2, 3, 4)), rng.random((20, 4)) < 0.4)
    main(["score", str(tmp_path)])
    assert 0 < float(rows_of(tmp_path / "views.csv")[0]["video_map"]) < 1
    assert "level is 'clip', but videos with several labels" in refused("score", tmp_path, "--level", "clip")


def test_score_errors(tmp_path, refused):
    run = write_run(tmp_path / "run", *random_run(0))
    assert refused("score", tmp_path).endswith(
        "no scores.parquet in there; expected the folder of a run of `videoctx test`"
    )
    assert "views are '4by3'; expected clips x crops" in refused("score", run, "--views", "1x1", "4by3")
    assert "views 10x3 are not among those tested, 4x3" in refused("score", run, "--views", "10x3")
    assert "average" in refused("score", run, "--average", "votes")
    assert f"{tmp_path / 'nowhere'}: no such folder" in refused("score", run, "--output", tmp_path / "nowhere")
    assert "veiws" in refused("score", run, "--veiws", "1x1")
    all_failed = write_run(tmp_path / "failed", *random_run(0, num_videos=2), failed=(0, 1))
    assert "all 2 videos have failed: there are no views to evaluate by" in refused("score", all_failed)
    (run / SCORES_FILE).write_bytes((run / SCORES_FILE).read_bytes()[:-20])
    assert "not a Parquet file, or a truncated one" in refused("score", run)
    assert [path.name for path in run.iterdir()] == [SCORES_FILE]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_score_into_a_read_only_folder(tmp_path, refused):
    run = write_run(tmp_path / "run", *random_run(0))
    run.chmod(0o555)
    try:
        assert "Permission denied" in refused("score", run)
    finally:
        run.chmod(0o755)
    assert [path.name for path in run.iterdir()] == [SCORES_FILE]


def test_score_with_a_full_disk_leaves_nothing(tmp_path, refused):
    run = write_run(tmp_path / "run", *random_run(0))
    (run / "views.png").mkdir()
    assert "views.png" in refused("score", run, "--views", "1x1")
    assert sorted(path.name for path in run.iterdir()) == [SCORES_FILE, "views.csv", "views.png"]


# compare --------------------------------------------------------------------------------------------------------------


def test_compare(tmp_path, capsys):
    logits, labels = random_run(0, num_videos=120)
    first = write_run(tmp_path / "first", logits, labels)
    better = logits.copy()
    better[np.arange(120), ..., labels] += 1
    second = write_run(tmp_path / "second", better, labels)
    main(["compare", str(first), str(second), "--classes", "2"])
    lines = capsys.readouterr().out.splitlines()
    (line,) = [line for line in lines if "video@1" in line]
    _, _, before, after, gain, _ = (cell.strip() for cell in line.split("│"))
    values = [EvaluationResult(synthetic_scores(tmp_path / name, run, labels)).summary()["video_top1"]
              for name, run in (("a", logits), ("b", better))]  # fmt: skip
    assert before.startswith(f"{values[0]:.2%} (")
    assert after.startswith(f"{values[1]:.2%} (")
    assert gain.startswith(f"{values[1] - values[0]:+.2%} (+")
    (mcnemar,) = [line for line in lines if line.startswith("McNemar: ")]
    only_first, only_second = (int(word) for word in mcnemar.split() if word.isdigit())
    assert only_second - only_first == round(120 * (values[1] - values[0]))
    assert float(mcnemar.rpartition("p = ")[2]) < 0.01
    assert len([line for line in lines if line.startswith("│ class ")]) == 2


def test_compare_by_fewer_views(tmp_path, capsys):
    logits, labels = random_run(0)
    first, second = write_run(tmp_path / "a", logits, labels), write_run(tmp_path / "b", logits[:, :2], labels)
    main(["compare", str(first), str(second)])
    assert "first, 4x3" in (printed := capsys.readouterr().out)
    assert "second, 2x3" in printed
    main(["compare", str(first), str(second), "--views", "1x1"])
    printed = capsys.readouterr().out
    assert "first, 1x1" in printed
    assert "0 videos correct only in the first, 0 only in the second; p = 1" in printed  # clip 0 of both


def test_compare_errors(tmp_path, refused):
    logits, labels = random_run(0, num_videos=3)
    first = write_run(tmp_path / "first", logits, labels)
    second = write_run(tmp_path / "second", logits, labels, paths=["0.mp4", "1.mp4", "x.mp4"])
    assert refused("compare", first, second) == (
        "the runs are over different manifests: other videos: 1 only in the first (2.mp4), 1 only in the second (x.mp4)"
    )
    assert "no scores.parquet in there" in refused("compare", first, tmp_path)


# results --------------------------------------------------------------------------------------------------------------


def test_results_with_and_without_several_labels(tmp_path, capsys):
    counts = {"num_parameters": 1_500_000, "num_videos": 4, "num_views": 8, "num_failed": 1}
    for name, metrics in (
        ("kinetics", {"clip_top1": 0.5, "video_top1": 0.625, "video_top5": 0.75}),
        ("charades", {"video_map": 0.25}),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "results.json").write_text(json.dumps(counts | metrics))
    main(["results", str(tmp_path)])
    rows = [
        [cell.strip() for cell in line.split("│")[1:-1]]
        for line in capsys.readouterr().out.splitlines()
        if "1.50M" in line
    ]
    assert rows == [
        ["charades", "1.50M", "4", "8", "1", "", "", "", "25.0%"],
        ["kinetics", "1.50M", "4", "8", "1", "50.0%", "62.5%", "75.0%", ""],
    ]


@each_case(
    ("content", "message"),
    [
        ('{"num_videos": 4, ', "not a result, or a truncated one"),
        ('{"num_videos": 4}', "it lacks num_failed, num_parameters, num_views"),
        ("[1]", "it lacks num_failed"),
    ],
)
def test_files_that_are_not_results_are_refused(tmp_path, refused, content, message):
    (tmp_path / "results.json").write_text(content)
    assert message in refused("results", tmp_path)


# pool -----------------------------------------------------------------------------------------------------------------


def folds(tmp_path, num_videos=40, num_folds=3, **options):
    """Return the folders of a run over all videos, and of runs that share its scores, one per fold."""
    logits, labels = random_run(0, num_videos=num_videos)
    paths = [f"{index}.mp4" for index in range(num_videos)]
    write_run(tmp_path / "all", logits, labels, paths=paths, **options)
    written = []
    for fold in range(num_folds):
        here = np.arange(fold, num_videos, num_folds)
        failed = tuple(int(np.flatnonzero(here == index)[0]) for index in options.get("failed", ()) if index in here)
        names = [paths[index] for index in here]
        written.append(write_run(tmp_path / f"fold {fold}", logits[here], labels[here], paths=names, failed=failed))
    return tmp_path / "all", written


def test_pooled_folds_are_one_run(tmp_path, capsys):
    whole, parts = folds(tmp_path, failed=(4, 7))
    main(["pool", *map(str, parts), "--output", str(tmp_path / "pooled")])
    assert "40 videos, 480 views, 2 failed" in capsys.readouterr().out
    of_all, pooled = (EvaluationResult(read_run(folder)) for folder in (whole, tmp_path / "pooled"))
    assert sorted(pooled.view_scores.paths) == sorted(of_all.view_scores.paths)
    for name, estimate in pooled.estimates.items():
        assert estimate.value == pytest.approx(of_all.estimates[name].value, abs=1e-12)
    main(["compare", str(whole), str(tmp_path / "pooled")])
    assert "0 videos correct only in the first, 0 only in the second" in capsys.readouterr().out


def test_pool_errors(tmp_path, refused):
    _, parts = folds(tmp_path)
    logits, labels = random_run(1, num_videos=3)
    names = ["x.mp4", "y.mp4", "z.mp4"]
    others = write_run(tmp_path / "others", logits, labels, paths=names, class_names=list("abcdefg"))
    fewer = write_run(tmp_path / "fewer", logits[:, :2], labels, paths=names)
    output = tmp_path / "pooled"
    assert refused("pool", parts[0], parts[0], "--output", output).endswith("expected runs over different videos")
    for other in (others, fewer):
        assert f"{other / SCORES_FILE}: other classes, labels or views than" in refused(
            "pool", parts[0], other, "--output", output
        )
        assert "no such file" in refused("pool", parts[0], tmp_path / "nowhere", "--output", output)
    assert not output.exists()
    output.mkdir()
    assert "exists" in refused("pool", *parts, "--output", output)
