"""The files of `videoctx test` on a few tiny videos: result, tables and card."""

import csv
import hashlib
import json

import pyarrow.parquet as pq
import pytest

from tests.tiny_runs import column, manifest_of, result_of
from tests.tiny_set import CLASSES, break_video
from videoctx.cli import main


@pytest.fixture(scope="module")
def tested(place):
    """A test of the trained network with 4 clips and 3 crops of five videos."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["videoctx"])
        arguments = [
            "--ckpt_path",
            str(place.last),
            "--data.test.views=[4,3]",
            "--trainer.logger.init_args.name=tested",
        ]
        main(["test", "-c", str(place.config), *arguments])
    return place.runs / "tested"


def card_of(run):
    return json.loads((run / "card.json").read_text())


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_result_can_be_computed_again_from_the_scores(place, run, tested, capsys):
    result = result_of(tested)
    assert (result["views"], result["average"], result["num_undecided"]) == ([4, 3], "probabilities", 0)
    main(["score", str(tested), "--views", "4x3", "2x1"])
    rows = rows_of(tested / "views.csv")
    for name in ("video_top1", "video_mean_class", "video_ece"):
        assert float(rows[0][name]) == pytest.approx(result[name], abs=1e-6)
        assert float(rows[0][f"{name}_low"]) == pytest.approx(result["intervals_95"][name][0], abs=1e-6)
        assert float(column(tested, f"test/{name}")[0]) == pytest.approx(result[name], rel=1e-6)  # the log
    assert [(row["stored_clips"], row["grid"]) for row in rows] == [("0 1 2 3", "exact"), ("0 3", "exact")]
    fewer = run("test", "--ckpt_path", place.last, "--data.test.views=[2,1]")
    for name in ("video_top1", "video_ece"):
        assert float(rows[1][name]) == pytest.approx(result_of(fewer)[name], abs=1e-3)  # float16, in other batches
    capsys.readouterr()
    main(["compare", str(tested), str(fewer), "--views", "2x1"])
    assert "McNemar: 0 videos correct only in the first, 0 only in the second; p = 1" in capsys.readouterr().out


def test_classes_and_confusion_files(tested):
    classes = rows_of(tested / "classes.csv")
    assert [(row["class"], row["videos"]) for row in classes] == list(zip(CLASSES, "221", strict=True))
    correct = sum(int(row["correct"]) for row in classes)
    assert correct == 5 * result_of(tested)["video_top1"]
    confusion = rows_of(tested / "confusion.csv")
    assert sum(int(row["videos"]) for row in confusion) == 5
    assert sum(int(row["videos"]) for row in confusion if row["label"] == row["prediction"]) == correct


def test_card_of_a_test(place, run, tested, copy, capsys):
    break_video(copy / "test1.mp4", "empty")
    first = card_of(tested)
    second = card_of(run("test", "--ckpt_path", place.last, manifest_of(copy), "--seed_everything=3"))
    assert first["videos"] == {"listed": 5, "evaluated": 5, "failed": 0}
    assert second["videos"] == {"listed": 5, "evaluated": 5, "failed": 1}
    assert first["data"]["manifest_sha256"] == second["data"]["manifest_sha256"]  # a copy elsewhere
    assert (first["data"]["seed"], second["data"]["seed"], second["seed"]) == (0, 3, 3)
    data = first["data"]
    assert (data["manifest"], data["split"]) == (str(place.videos / "manifest.csv"), "test")
    assert (data["protocol"], data["views"], data["clip_placement"]) == ("videoctx", [4, 3], "ends_or_middle")
    assert (data["clip_len"], data["frame_interval"], data["short_side_px"], data["crop_size_px"]) == (4, 2, 32, 28)
    assert (data["decoder"], data["frames"]) == ("auto", "rgb")
    assert first["checkpoint"]["sha256"] == hashlib.sha256(place.last.read_bytes()).hexdigest()
    assert first["device"] == "cpu"
    assert f"made of: manifest {data['manifest_sha256'][:12]}, videoctx 2x3, checkpoint " in capsys.readouterr().out


def test_card_of_a_test_of_some_videos(place, run, capsys):
    folder = run("test", "--ckpt_path", place.last, "--trainer.limit_test_batches=1", "--data.test_split=train")
    assert card_of(folder)["videos"] == {"listed": 6, "evaluated": 2, "failed": 0}
    assert "2 of 6 videos" in capsys.readouterr().out


def test_card_of_predictions(place, run):
    folder = run("predict", "--ckpt_path", place.last)
    assert card_of(folder)["videos"] == {"listed": 5, "evaluated": 5, "failed": 0}
    assert not (folder / "results.json").exists()


# Protocols: 20 frames at 10 per second, clips of 4 frames ------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "views", "starts"),
    [
        ("pyslowfast", "[2,3]", [0, 8]),  # W = 2 · 4 · 10 / 30: (20 - 2.67) / 2 = 8.67
        ("torchvision", "[2,1]", [0, 17]),  # 30 frames at 15 per second; the last clip from 26, which is frame 17.33
    ],
)
def test_scores_are_of_the_clips_of_the_protocol(place, run, name, views, starts):
    folder = run("test", "--ckpt_path", place.last, f"--data.test.protocol={name}", f"--data.test.views={views}")
    table = pq.read_table(folder / "scores.parquet")
    assert sorted(set(table["start_frame"].to_pylist())) == starts
    assert card_of(folder)["data"]["protocol"] == name


def test_unknown_protocol_and_its_unknown_crops_are_refused(place, refused):
    assert "pyslowfast" in refused("test", "--ckpt_path", place.last, "--data.test.protocol=slowfast")
    line = refused("test", "--ckpt_path", place.last, "--data.test.protocol=torchvision")
    assert "3 crops per clip; expected 1 with data.test.crops middle_rounded, or even" in line
