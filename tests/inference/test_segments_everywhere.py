"""A network that was trained on segments, as for Something-Something: whatever uses it takes the same frames."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.each_case import each_case
from tests.something_set import make_something
from tests.tiny_set import write_config
from videoctx.cli import main
from videoctx.inference.classifier import load
from videoctx.inference.frame_clips import frame_offsets
from videoctx.visualize.clip_on_video import Query, read_clip

OPTIONS = [
    *("--data.test_split=val", "--data.clips.sampling=segments", "--data.clips.grid=tsm", "--data.clips.clip_len=8"),
    *("--data.train.flip_probability=0", "--data.train.crop_scales=[1.0,0.75]"),
    *("--data.test.protocol=tsm", "--data.test.views=[2,3]", "--trainer.max_epochs=1"),
]
MIDDLE = [3, 11, 18, 26, 33, 41, 48, 56]  # of 60 frames in eight parts


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The folder with the runs of `fit` and of `test`; `videos` has the set."""
    folder = tmp_path_factory.mktemp("something")
    (folder / "videos").mkdir()
    manifest = make_something(folder / "videos")
    config = write_config(folder / "config.yaml", manifest=manifest, runs=folder)
    name = "--trainer.logger.init_args.name"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["videoctx"])
        main(["fit", "-c", str(config), *OPTIONS, f"{name}=fit"])
        last = folder / "fit" / "checkpoints" / "last.ckpt"
        main(["test", "-c", str(config), *OPTIONS, f"{name}=test", f"--ckpt_path={last}"])
    return folder


@pytest.fixture(scope="module")
def trained(runs):
    return load(runs / "fit" / "checkpoints" / "last.ckpt")


def test_the_views_of_the_test_are_those_of_the_formula(runs):
    table = pq.read_table(runs / "test" / "scores.parquet").to_pydict()
    by_video = {}
    for path, start in zip(table["video"], table["start_frame"], strict=True):
        by_video.setdefault(Path(path).name, []).append(start)
    # the middle of the first part, then its start, in three crops each
    assert by_video == {"5.mp4": [3] * 3 + [0] * 3, "6.mp4": [1] * 3 + [0] * 3, "7.mp4": [0] * 6}
    data = json.loads((runs / "test" / "card.json").read_text())["data"]
    assert (data["sampling"], data["grid"], data["clip_placement"]) == ("segments", "tsm", "part_middle_then_start")


def test_a_video_with_fewer_frames_than_segments_fails_if_that_is_asked(runs, monkeypatch):
    monkeypatch.setattr("sys.argv", ["videoctx"])
    last = runs / "fit" / "checkpoints" / "last.ckpt"
    options = [*OPTIONS, "--data.clips.short_videos=refuse", "--trainer.logger.init_args.name=refuse"]
    main(["test", "-c", str(runs / "config.yaml"), *options, f"--ckpt_path={last}"])
    table = pq.read_table(runs / "refuse" / "scores.parquet").to_pydict()
    failures = {
        Path(path).name: reason for path, reason in zip(table["video"], table["failure"], strict=True) if reason
    }
    assert list(failures) == ["7.mp4"]
    assert failures["7.mp4"].startswith("5 frames, but a clip takes one of each of 8 parts; expected short_videos")


@each_case(
    ("options", "line"),
    [
        (
            ["--data.test.protocol=nonlocal", "--data.clips.grid=null"],
            "clips.grid nonlocal has no formula for clips.sampl",
        ),
        (
            ["--data.test.views=[3,3]"],
            "3 clips per video; expected 1 to 2 with clips.sampling segments, clips.grid tsm",
        ),
        (["--data.test.val_views=[3,1]"], "3 clips per video; expected 1 to 2 with clips.sampling segments"),
        (
            ["--data.clips.target_fps=30"],
            "clips.target_fps is 30 with clips.sampling segments, whose frames are spread",
        ),
        (
            ["--data.test.fixed_size_px=[20,40]"],
            "test.fixed_size_px is [20, 40] with crop_size_px 28; expected height and",
        ),
    ],
)
def test_options_that_exclude_each_other_are_one_line(runs, capsys, monkeypatch, options, line):
    monkeypatch.setattr("sys.argv", ["videoctx"])
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main(["fit", "-c", str(runs / "config.yaml"), *OPTIONS, *options])
    assert stop.value.code == 2
    (found,) = capsys.readouterr().err.splitlines()
    assert line in found


def test_the_checkpoint_has_the_values_in_effect(trained):
    made = trained.preprocessing
    assert (made.sampling, made.grid, made.clip_len, made.target_fps) == ("segments", "tsm", 8, None)
    assert (made.crops, made.long_side, made.antialias, made.views) == ("quarters", "down", True, (2, 3))
    assert repr(trained).endswith("2 classes, 8-segment clips, 2x3 views, cpu)")


def test_predictions_take_these_views_or_others_that_the_formula_has(runs, trained):
    path = str(runs / "videos" / "5.mp4")
    assert sum(probability for _, probability in trained.predict(path)) == pytest.approx(1, abs=1e-3)
    assert trained.features(path).shape[0] == 6
    with pytest.raises(ValueError, match=r"3 clips per video; expected 1 to 2 with clips\.sampling segments"):
        trained.predict(path, views="3x1")


def test_attention_is_shown_on_the_clip_of_the_whole_video(runs, trained):
    path = str(runs / "videos" / "5.mp4")
    assert read_clip(path, trained.preprocessing).indices.tolist() == MIDDLE
    query = Query(x=32, y=24, frame=40)
    clip = read_clip(path, trained.preprocessing, query=query)
    assert clip.indices.tolist() == MIDDLE
    assert clip.input_position(query)[0] == 5  # frame 41


def test_a_timeline_takes_frames_at_the_interval(trained):
    assert frame_offsets(trained.preprocessing, 12.0).tolist() == list(2 * np.arange(8))
