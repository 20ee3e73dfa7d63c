"""The scores of every view on disk: what is written comes back, failures and all, from however many ranks."""

import csv
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from videoctx.batch import ClipBatch, Failure, View
from videoctx.evaluation.scores import ScoreWriter, merge_scores, write_predictions

CLASSES = ["dance, slowly", "jump", "run"]
COLUMNS = ["row", "video", "label", "start_frame", "crop", "scores", "failure"]


def batch_of(*videos: tuple[int, str, int, list[View] | str]) -> ClipBatch:
    """Videos as (row, path, label, views or why it failed)."""
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
        views_expected=torch.full((len(videos),), 2),
        failures={i: Failure(path, why) for i, (_, path, _, why) in enumerate(videos) if isinstance(why, str)},
    )


def random_scores(batch: ClipBatch, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(len(batch.views), len(CLASSES), generator=generator).softmax(dim=1)


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
        {"row": 0, "video": "a.mp4", "label": 2, "start_frame": 0, "crop": 0, "failure": None},
        {"row": 0, "video": "a.mp4", "label": 2, "start_frame": 8, "crop": 2, "failure": None},
        {"row": 1, "video": "b.mp4", "label": 1, "start_frame": None, "crop": None, "failure": "the file is empty"},
        {"row": 2, "video": "c.mp4", "label": -1, "start_frame": 3, "crop": 1, "failure": None},
    ]
    assert str(table.schema.field("scores").type.value_type) == "halffloat"
    read = table["scores"].to_pylist()
    assert read.pop(2) is None
    np.testing.assert_array_equal(np.array(read), scores.half().double().numpy())


@pytest.mark.parametrize("batch", [batch_of(), batch_of((0, "a.mp4", 0, "broken"), (1, "b.mp4", 1, "broken too"))])
def test_a_batch_without_views(tmp_path, batch):
    write(tmp_path / "scores.parquet", batch)
    assert pq.read_table(tmp_path / "scores.parquet")["failure"].to_pylist() == ["broken", "broken too"][: len(batch)]


def test_a_file_stands_there_only_when_it_is_whole(tmp_path):
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


def test_an_aborted_writer_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        abort(tmp_path / "scores.parquet")
    assert list(tmp_path.iterdir()) == []


def test_an_aborted_writer_leaves_the_file_before_it(tmp_path):
    path = tmp_path / "scores.parquet"
    write(path, batch_of((7, "before.mp4", 0, [View(0, 0)])))
    with pytest.raises(KeyboardInterrupt):
        abort(path)
    assert pq.read_table(path)["video"].to_pylist() == ["before.mp4"]


def test_merged_parts_are_in_the_order_of_rows_clips_and_crops(tmp_path):
    views = [View(start, crop) for start in (0, 9) for crop in (0, 1)]
    videos = [(row, f"{9 - row}.mp4", row % 3, "broken" if row == 3 else views[::-1]) for row in range(5)]
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
    write_predictions(folder / "scores.parquet", folder / "predictions.csv", **arguments)
    with (folder / "predictions.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file)), scores.half().double().numpy()


@pytest.mark.parametrize(("num_best", "expected"), [({}, 3), ({"num_best": 2}, 2), ({"num_best": 9}, 3)])
def test_predictions_are_the_best_means(tmp_path, num_best, expected):
    batch = batch_of(
        (0, "a.mp4", -1, [View(0, 0), View(4, 0), View(8, 0)]),
        (1, "b.mp4", -1, "damaged, or so"),
        (2, "c.mp4", 0, [View(0, 0)]),
    )
    rows, scores = predictions_of(tmp_path, batch, **num_best)
    assert list(rows[0]) == [
        "video",
        *[f"{what}_{rank}" for rank in range(1, expected + 1) for what in ("class", "probability")],
        "failure",
    ]
    for row, mean in ((rows[0], scores[:3].mean(axis=0)), (rows[2], scores[3])):
        best = sorted(range(3), key=lambda index: -mean[index])[:expected]
        assert [row[f"class_{rank}"] for rank in range(1, expected + 1)] == [CLASSES[index] for index in best]
        assert [row[f"probability_{rank}"] for rank in range(1, expected + 1)] == [f"{mean[i]:.4f}" for i in best]
    assert [row["failure"] for row in rows] == ["", "damaged, or so", ""]
    assert {value for key, value in rows[1].items() if key not in ("video", "failure")} == {""}
    assert [row["video"] for row in rows] == ["a.mp4", "b.mp4", "c.mp4"]


def test_two_rows_of_one_path_are_two_videos(tmp_path):
    """Two stretches of one file have the same path, and perhaps the same first frame."""
    batch = batch_of((0, "a.mp4", 0, [View(0, 0)]), (1, "a.mp4", 1, [View(0, 0)]), (2, "a.mp4", 2, "broken"))
    rows, scores = predictions_of(tmp_path, batch)
    assert [row["video"] for row in rows] == ["a.mp4"] * 3
    assert [row["class_1"] for row in rows] == [CLASSES[scores[0].argmax()], CLASSES[scores[1].argmax()], ""]
    assert [row["probability_1"] for row in rows[:2]] == [f"{part.max():.4f}" for part in scores]
    assert rows[2]["failure"] == "broken"
