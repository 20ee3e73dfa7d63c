"""The files of scores: round trips with failures and several ranks, and files that are refused.

The files hold logarithms of probabilities; what is computed from them equals what is computed from the logits.
"""

import csv
import json
import re

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from tests.each_case import each_case
from tests.evaluation.synthetic_scores import random_run, synthetic_scores, write_run
from videoctx.batch import ClipBatch, Failure, View
from videoctx.evaluation.result_files import write_predictions
from videoctx.evaluation.scores import (
    SCORES_FILE,
    ScoreError,
    ScoreWriter,
    merge_scores,
    read_run,
    read_scores,
    score_schema,
)

CLASSES = ["dance, slowly", "jump", "run"]
COLUMNS = ["row", "video", "label", "clip", "start_frame", "crop", "scores", "views_expected", "failure"]
READ, FAILED = ({"views_expected": 2, "failure": why} for why in (None, "the file is empty"))


def batch_of(*videos: tuple[int, str, int, list[View] | str]) -> ClipBatch:
    """Return a batch of videos, each given as (row, path, label, number of views or reason of the failure)."""
    views = [
        (position, view) for position, video in enumerate(videos) if video[3] != str(video[3]) for view in video[3]
    ]
    return ClipBatch(
        clips=torch.empty(len(views), 0),
        video=torch.tensor([position for position, _ in views], dtype=torch.int64),
        labels=torch.tensor([label for _, _, label, _ in videos], dtype=torch.int64),
        paths=[path for _, path, _, _ in videos],
        rows=[row for row, *_ in videos],
        views=[view for _, view in views],
        views_expected=torch.full(
            (len(videos),), max([len(video[3]) for video in videos if video[3] != str(video[3])], default=2)
        ),
        failures={i: Failure(path, why) for i, (_, path, _, why) in enumerate(videos) if isinstance(why, str)},
    )


def random_scores(batch: ClipBatch, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(len(batch.views), len(CLASSES), generator=generator).log_softmax(dim=1)


def write(path, *batches, class_names=CLASSES, seed=0):
    """The scores that were written."""
    scores = [random_scores(batch, seed + index) for index, batch in enumerate(batches)]
    with ScoreWriter(path, class_names) as writer:
        for batch, part in zip(batches, scores, strict=True):
            writer.write(batch, part)
    return torch.cat(scores)


def test_round_trip(tmp_path):
    path = tmp_path / "new folder" / "scores.parquet"
    first = batch_of((0, "a.mp4", 2, [View(0, 0), View(8, 2)]), (1, "b.mp4", 1, "the file is empty"))
    second = batch_of((2, "c.mp4", -1, [View(3, 1)]))
    scores = write(path, first, second)
    table = pq.read_table(path)
    assert table.column_names == COLUMNS
    assert json.loads(table.schema.metadata[b"class_names"]) == CLASSES
    assert table.drop_columns("scores").to_pylist() == [
        {"row": 0, "video": "a.mp4", "label": 2, "clip": 0, "start_frame": 0, "crop": 0, **READ},
        {"row": 0, "video": "a.mp4", "label": 2, "clip": 0, "start_frame": 8, "crop": 2, **READ},
        {"row": 1, "video": "b.mp4", "label": 1, "clip": None, "start_frame": None, "crop": None, **FAILED},
        {"row": 2, "video": "c.mp4", "label": -1, "clip": 0, "start_frame": 3, "crop": 1, **READ, "views_expected": 1},
    ]
    assert str(table.schema.field("scores").type.value_type) == "halffloat"
    read = table["scores"].to_pylist()
    assert read.pop(2) is None
    np.testing.assert_array_equal(np.array(read), scores.half().double().numpy())


@each_case("batch", [batch_of(), batch_of((0, "a.mp4", 0, "broken"), (1, "b.mp4", 1, "broken too"))])
def test_batch_without_views(tmp_path, batch):
    write(tmp_path / "scores.parquet", batch)
    assert pq.read_table(tmp_path / "scores.parquet")["failure"].to_pylist() == ["broken", "broken too"][: len(batch)]


def test_file_appears_when_the_writer_is_closed(tmp_path):
    path = tmp_path / "scores.parquet"
    writer = ScoreWriter(path, CLASSES)
    batch = batch_of((0, "a.mp4", 0, [View(0, 0)]))
    writer.write(batch, random_scores(batch))
    assert not path.exists()
    writer.close()
    assert [file.name for file in tmp_path.iterdir()] == ["scores.parquet"]


def abort(path):
    with ScoreWriter(path, CLASSES) as writer:
        batch = batch_of((0, "a.mp4", 0, [View(0, 0)]))
        writer.write(batch, random_scores(batch))
        raise KeyboardInterrupt


def test_aborted_writer_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        abort(tmp_path / "scores.parquet")
    assert list(tmp_path.iterdir()) == []


def test_aborted_writer_leaves_an_old_file(tmp_path):
    path = tmp_path / "scores.parquet"
    write(path, batch_of((7, "before.mp4", 0, [View(0, 0)])))
    with pytest.raises(KeyboardInterrupt):
        abort(path)
    assert pq.read_table(path)["video"].to_pylist() == ["before.mp4"]


def test_merged_files_are_sorted(tmp_path):
    views = [View(start, crop) for start in (0, 9) for crop in (0, 1)]
    unsorted = [views[1], views[0], views[3], views[2]]
    videos = [(row, f"{9 - row}.mp4", row % 3, "broken" if row == 3 else unsorted) for row in range(5)]
    parts = [tmp_path / f"scores-rank{rank}.parquet" for rank in (0, 1)]
    for rank, part in enumerate(parts):
        write(part, *(batch_of(video) for video in videos[rank::2]), seed=10 * rank)
    before = {}
    for part in parts:
        before |= {(r["row"], r["start_frame"], r["crop"]): r for r in pq.read_table(part).to_pylist()}
    merge_scores(parts, tmp_path / "scores.parquet")
    table = pq.read_table(tmp_path / "scores.parquet")
    order = [(row, *view) for row in (0, 1, 2) for view in views] + [(3, None, None)] + [(4, *view) for view in views]
    assert table.to_pylist() == [before[key] for key in order]
    assert json.loads(table.schema.metadata[b"class_names"]) == CLASSES
    assert [file.name for file in tmp_path.iterdir()] == ["scores.parquet"]


def predictions_of(folder, *batches, class_names=CLASSES, **arguments):
    scores = write(folder / "part.parquet", *batches, class_names=class_names)
    merge_scores([folder / "part.parquet"], folder / "scores.parquet")
    write_predictions(read_scores(folder / "scores.parquet"), folder / "predictions.csv", **arguments)
    with (folder / "predictions.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file)), scores.half().double().softmax(dim=1).numpy()


@each_case(("num_best", "expected"), [({}, 3), ({"num_best": 2}, 2), ({"num_best": 9}, 3)])
def test_predictions_file(tmp_path, num_best, expected):
    batch = batch_of(
        (0, "a.mp4", -1, [View(0, 0), View(4, 0), View(8, 0)]),
        (1, "b.mp4", -1, "damaged, or so"),
        (2, "c.mp4", 0, [View(0, 0), View(2, 0), View(4, 0)]),
    )
    rows, scores = predictions_of(tmp_path, batch, **num_best)
    assert list(rows[0]) == [
        "video",
        *[f"{what}_{rank}" for rank in range(1, expected + 1) for what in ("class", "probability")],
        "failure",
    ]
    for row, mean in ((rows[0], scores[:3].mean(axis=0)), (rows[2], scores[3:].mean(axis=0))):
        best = sorted(range(3), key=lambda index: -mean[index])[:expected]
        assert [row[f"class_{rank}"] for rank in range(1, expected + 1)] == [CLASSES[index] for index in best]
        assert [row[f"probability_{rank}"] for rank in range(1, expected + 1)] == [f"{mean[i]:.4f}" for i in best]
    assert [row["failure"] for row in rows] == ["", "damaged, or so", ""]
    assert {value for key, value in rows[1].items() if key not in ("video", "failure")} == {""}
    assert [row["video"] for row in rows] == ["a.mp4", "b.mp4", "c.mp4"]


def test_two_rows_of_one_path(tmp_path):
    """Two segments of one file have the same path, and perhaps the same first frame."""
    batch = batch_of((0, "a.mp4", 0, [View(0, 0)]), (1, "a.mp4", 1, [View(0, 0)]), (2, "a.mp4", 2, "broken"))
    rows, scores = predictions_of(tmp_path, batch)
    assert [row["video"] for row in rows] == ["a.mp4"] * 3
    assert [row["class_1"] for row in rows] == [CLASSES[scores[0].argmax()], CLASSES[scores[1].argmax()], ""]
    assert [row["probability_1"] for row in rows[:2]] == [f"{part.max():.4f}" for part in scores]
    assert rows[2]["failure"] == "broken"


def test_nan_is_no_prediction(tmp_path):
    batch = batch_of((0, "a.mp4", 0, [View(0, 0)]), (1, "b.mp4", 1, [View(0, 0)]))
    scores = torch.tensor([[0.0], [torch.nan]]).expand(2, 3)
    with ScoreWriter(tmp_path / "scores.parquet", CLASSES) as writer:
        writer.write(batch, scores)
    write_predictions(read_scores(tmp_path / "scores.parquet"), tmp_path / "predictions.csv")
    with (tmp_path / "predictions.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["failure"] for row in rows] == ["", "the network gives no finite numbers for it"]
    assert [row["class_1"] for row in rows] == [CLASSES[0], ""]


# Reading --------------------------------------------------------------------------------------------------------------


def test_read_scores(tmp_path):
    logits, labels = random_run(0, num_videos=5, views=(2, 3), num_classes=4)
    paths = ["b.mp4", "a.mp4", "a.mp4", "d.mp4", "e.mp4"]
    stored = synthetic_scores(tmp_path, logits, labels, paths=paths, failed=(1, 4), clip_placement="ends_or_middle")
    assert stored.class_names == ["class 0", "class 1", "class 2", "class 3"]
    assert stored.clip_placement == "ends_or_middle"
    assert stored.paths == paths
    assert stored.failures == [None, "the file is empty", None, None, "the file is empty"]
    assert stored.failed.tolist() == [False, True, False, False, True]
    assert stored.views_expected.tolist() == [6] * 5
    assert stored.labels.tolist() == labels.tolist()
    assert stored.shape == (2, 3)
    assert stored.video.tolist() == [0] * 6 + [2] * 6 + [3] * 6
    assert stored.clip.tolist() == [0, 0, 0, 1, 1, 1] * 3
    assert stored.crop.tolist() == [0, 1, 2] * 6
    wanted = torch.tensor(logits[[0, 2, 3]], dtype=torch.float32).log_softmax(dim=3).reshape(18, 4)
    assert (stored.scores == wanted.half().numpy()).all()


def test_clips_that_start_at_the_same_frame(tmp_path):
    """This is so in a video shorter than a clip, also after ranks are merged."""
    views = [View(0, crop) for _ in range(3) for crop in range(2)]
    write(tmp_path / "part.parquet", batch_of((1, "b.mp4", 0, views), (0, "a.mp4", 0, views)))
    merge_scores([tmp_path / "part.parquet"], tmp_path / "scores.parquet")
    stored = read_scores(tmp_path / "scores.parquet")
    assert stored.clip.tolist() == [0, 0, 1, 1, 2, 2] * 2
    assert stored.crop.tolist() == [0, 1] * 6


def test_several_labels(tmp_path):
    labels = np.array([[True, False, True], [False, False, False]])
    write_run(tmp_path, np.random.default_rng(0).normal(size=(2, 1, 1, 3)), labels)
    table = pq.read_table(tmp_path / SCORES_FILE)
    assert table["labels"].to_pylist() == [[0, 2], []]
    stored = read_scores(tmp_path / SCORES_FILE)
    assert stored.multi_label
    assert (stored.labels == labels).all()


@each_case("average", ["probabilities", "logits"])
def test_averages_equal_those_of_the_logits(tmp_path, average):
    """They are equal to the precision of float16. Logits of 10 would be off by 0.4 %."""
    logits, labels = random_run(1, num_videos=250, views=(3, 2))  # more than are averaged at once
    logits += 10
    averages = synthetic_scores(tmp_path, logits, labels, failed=(3, 249)).averages(average)
    views = torch.tensor(logits).reshape(250, 6, 7)
    wanted = views.softmax(dim=2).mean(dim=1) if average == "probabilities" else views.mean(dim=1).softmax(dim=1)
    assert np.isnan(averages[[3, 249]]).all()
    readable = np.setdiff1d(np.arange(250), [3, 249])
    np.testing.assert_allclose(averages[readable], wanted.numpy()[readable], rtol=2e-3)
    np.testing.assert_allclose(averages[readable].sum(axis=1), 1, rtol=1e-9)


@each_case("average", ["probabilities", "logits"])
def test_averages_of_sigmoids(tmp_path, average):
    logits = np.random.default_rng(0).normal(size=(4, 3, 1, 5)) * 3
    averages = synthetic_scores(tmp_path, logits, np.zeros((4, 5), dtype=bool)).averages(average)
    views = torch.tensor(logits)[:, :, 0]
    wanted = views.sigmoid().mean(dim=1) if average == "probabilities" else views.mean(dim=1).sigmoid()
    np.testing.assert_allclose(averages, wanted.numpy(), rtol=5e-3)


def test_probabilities_too_small_for_float16_differ(tmp_path):
    """exp(-30) and exp(-20) are 0 in float16, but their logarithms differ."""
    logits = np.array([[[[0.0, -20.0, -30.0]]]])
    (average,) = synthetic_scores(tmp_path, logits, np.array([0])).averages()
    assert average[1] == pytest.approx(np.exp(-20), rel=1e-2)
    assert average[2] == pytest.approx(np.exp(-30), rel=1e-2)


def test_video_with_nan_has_no_average(tmp_path):
    logits, labels = random_run(0, num_videos=3, views=(2, 1))
    logits[1, 0, 0, 2] = np.nan
    stored = synthetic_scores(tmp_path, logits, labels)
    for average in ("probabilities", "logits"):
        assert np.isnan(stored.averages(average)).all(axis=1).tolist() == [False, True, False]
    with pytest.raises(ScoreError, match=r"1 views of 1 videos got NaN from the network, the first of 1\.mp4"):
        read_run(tmp_path)


def test_minus_infinity_is_probability_zero(tmp_path):
    logits = np.array([[[[0.0, -np.inf]], [[-1.0, 0.0]]]])
    stored = synthetic_scores(tmp_path, logits, np.array([0]))
    assert stored.finite.all()
    assert stored.averages()[0, 1] == pytest.approx(np.exp(0) / (np.exp(-1) + 1) / 2, rel=1e-3)


# Files that are refused -----------------------------------------------------------------------------------------------


@pytest.fixture
def run_folder(tmp_path):
    return write_run(tmp_path / "run", *random_run(0, num_videos=4, views=(2, 1)))


def refusal(path) -> str:
    with pytest.raises(ScoreError) as refused:
        read_scores(path)
    (line,) = str(refused.value).splitlines()
    assert line.startswith(f"{path}: ")
    return line


def test_missing_file_is_refused(tmp_path):
    assert "no such file; `videoctx test` writes it" in refusal(tmp_path / SCORES_FILE)
    with pytest.raises(ScoreError, match=r"no scores.parquet in there; expected the folder of a run"):
        read_run(tmp_path)


@pytest.mark.parametrize("kept", [0, 3, 200, -8, -1])
def test_truncated_file_is_refused(run_folder, kept):
    content = (run_folder / SCORES_FILE).read_bytes()
    (run_folder / SCORES_FILE).write_bytes(content[:kept])
    assert "not a Parquet file, or a truncated one" in refusal(run_folder / SCORES_FILE)


def rewrite(path, change):
    table = change(pq.read_table(path))
    pq.write_table(table, path)


def test_damaged_file_is_refused(run_folder):
    content = bytearray((run_folder / SCORES_FILE).read_bytes())
    content[20:300] = bytes(280)
    (run_folder / SCORES_FILE).write_bytes(bytes(content))
    assert "truncated" in refusal(run_folder / SCORES_FILE)


@pytest.mark.parametrize(
    ("metadata", "found"),
    [({}, "no format"), ({b"format": b"1", b"class_names": b"[]"}, "format 1"), ({b"format": b"3"}, "format 3")],
)
def test_other_version_is_refused(run_folder, metadata, found):
    rewrite(run_folder / SCORES_FILE, lambda table: table.replace_schema_metadata(metadata))
    assert f"the scores have {found}, this version reads 2; test again" in refusal(run_folder / SCORES_FILE)


def test_other_columns_are_refused(run_folder):
    rewrite(run_folder / SCORES_FILE, lambda table: table.drop_columns("crop"))
    assert "expected row int32, video string, label int32, clip int16" in refusal(run_folder / SCORES_FILE)


@pytest.mark.parametrize("rows", [slice(0, 7), slice(1, 8), slice(0, 8, 2)])
def test_missing_views_are_refused(run_folder, rows):
    """For example, the file of a rank was truncated."""
    rewrite(run_folder / SCORES_FILE, lambda table: table.take(list(range(8))[rows]))
    assert re.search(r"\d\.mp4 has \d of 2 views; test again", refusal(run_folder / SCORES_FILE))


def test_predictions_are_refused_as_a_test(tmp_path):
    write_run(tmp_path, *random_run(0, num_videos=2)[:1], labels=np.array([-1, -1]))
    with pytest.raises(ScoreError, match="2 videos have no label; expected a run of `videoctx test`"):
        read_run(tmp_path)


def test_full_disk_leaves_nothing(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    part = tmp_path / "part.parquet"
    write(part, batch_of((0, "a.mp4", 0, [View(0, 0)])))
    monkeypatch.setattr("pyarrow.parquet.write_table", full)
    with pytest.raises(OSError, match="No space left"):
        merge_scores([part], tmp_path / SCORES_FILE)
    assert list(tmp_path.iterdir()) == [part]


def test_schema_of_many_classes():
    schema = score_schema(CLASSES, clip_placement="from_start")
    assert schema.names == COLUMNS
    assert schema.metadata[b"clip_placement"] == b"from_start"
    assert b"clip_placement" not in score_schema(CLASSES).metadata
