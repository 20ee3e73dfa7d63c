"""The command line from end to end on a few tiny videos: the files of a run, and the errors of bad input."""

import csv
import errno
import io
import json
import math
import os
import shutil
import subprocess
import sys
import zipfile
from contextlib import redirect_stdout
from pathlib import Path

import pytest
import torch
import yaml

from tests.each_case import each_case
from tests.tiny_runs import Place, column, manifest_of, result_of, scores_of
from tests.tiny_set import CLASSES, break_video
from videoctx.cli import main

# The files of a run -----------------------------------------------------------------------------------------------


def test_fit(place):
    folder = place.runs / "trained"
    assert {path.name for path in (folder / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    assert torch.load(place.last)["class_names"] == CLASSES
    accuracies = [float(value) for value in column(folder, "val/video_top1")]
    assert len(accuracies) == 4
    best = torch.load(folder / "checkpoints" / "best.ckpt")
    assert accuracies[best["epoch"]] == max(accuracies)
    assert len(column(folder, "train/loss")) == 8  # two batches of three an epoch
    assert yaml.safe_load((folder / "config.yaml").read_text())["model"]["net"]["init_args"]["width"] == 2


def test_the_last_checkpoint_is_that_of_the_last_epoch(run):
    """Nothing is learned, so the first epoch is the best."""
    folder = run("fit", "--model.optimizer.init_args.lr=0", "--trainer.max_epochs=3")
    epochs = {name: torch.load(folder / "checkpoints" / f"{name}.ckpt")["epoch"] for name in ("best", "last")}
    assert epochs == {"best": 0, "last": 2}


def test_a_run_without_validation_keeps_its_last_checkpoint(run):
    folder = run("fit", "--data.val_split=null", "--trainer.max_epochs=2")
    assert torch.load(folder / "checkpoints" / "best.ckpt")["epoch"] == 1
    assert yaml.safe_load((folder / "config.yaml").read_text())["checkpoint"]["monitor"] is None


def test_class_weights_of_the_manifest(run):
    """The training split has two videos of each class."""
    plain, balanced, other = (
        column(run("fit", "--trainer.max_epochs=1", *weights, name=f"-{len(weights)}"), "train/loss")
        for weights in (
            [],
            ["--model.class_weights=balanced"],
            ["--model.class_weights=[1, 5, 1]", "--seed_everything=0"],
        )
    )
    assert [float(loss) for loss in balanced] == pytest.approx([float(loss) for loss in plain], rel=1e-5)
    assert other != plain


def test_the_config_of_a_run_repeats_it(place, run):
    again = run("fit", "-c", place.runs / "trained" / "config.yaml")
    assert column(again, "train/loss") == column(place.runs / "trained", "train/loss")


@pytest.fixture(scope="module")
def tested(place) -> tuple[Path, str]:
    """The folder of a run of `test`, and what it printed."""
    arguments = ["-c", str(place.config), "--ckpt_path", str(place.last), "--trainer.logger.init_args.name=test_cli"]
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()) as printed:
        patch.setattr("sys.argv", ["videoctx"])
        main(["test", *arguments])
    return place.runs / "test_cli", printed.getvalue()


def test_test(place, tested):
    folder, printed = tested
    result, rows = result_of(folder), scores_of(folder)
    assert (result["num_videos"], result["num_views"], result["num_failed"]) == (5, 5 * 2 * 3, 0)
    assert result["checkpoint"] == str(place.last)
    assert [(row["row"], row["start_frame"], row["crop"]) for row in rows] == [
        (video, start, crop) for video in range(5) for start in (0, 20 - (4 - 1) * 2 - 1) for crop in range(3)
    ]
    correct = [row["scores"].index(max(row["scores"])) == row["label"] for row in rows]
    assert result["clip_top1"] == sum(correct) / 30
    assert [row["label"] for row in rows[::6]] == [0, 1, 2, 0, 1]
    assert f"5 videos, 30 views, 0 failed: clip top-1 {result['clip_top1']:.2%}" in printed
    assert str(folder / "scores.parquet") in printed


def test_classes_in_another_order_give_the_same_result(place, tested, run, copy, capsys):
    (copy / "classes.txt").write_text("".join(f"{name}\n" for name in reversed(CLASSES)))
    folder = run("test", f"--model.weights={place.last}", manifest_of(copy))
    assert "the rows of its classifier were brought to the order of the data" in capsys.readouterr().out
    for name in ("clip_top1", "video_top1"):
        assert result_of(folder)[name] == result_of(tested[0])[name], name
    assert [row["label"] for row in scores_of(folder)[::6]] == [2, 1, 0, 2, 1]


def test_validate_is_a_test_of_the_validation_split(place, run):
    views = "[2,1]"
    validated = run("validate", "--ckpt_path", place.last, f"--data.test.val_views={views}", name="-val")
    tested = run("test", "--ckpt_path", place.last, f"--data.test.views={views}", "--data.test_split=val", name="-test")
    for name in ("clip_top1", "video_top1"):
        assert column(validated, f"val/{name}") == column(tested, f"test/{name}") != []


def test_predict_needs_no_labels(place, run, copy, tested):
    rows = "".join(f"test{index}.mp4,,test\n" for index in range(5))
    (copy / "manifest.csv").write_text(f"path,label,split\n{rows}")
    break_video(copy / "test1.mp4", "empty")
    folder = run("predict", "--ckpt_path", place.last, manifest_of(copy))
    with (folder / "predictions.csv").open() as file:
        predictions = list(csv.DictReader(file))
    assert [Path(row["video"]).name for row in predictions] == [f"test{index}.mp4" for index in range(5)]
    scores = scores_of(tested[0])
    for index, row in enumerate(predictions):
        if index == 1:
            assert (row["class_1"], row["failure"]) == ("", "the file is empty")
            continue
        views = [[math.exp(score) for score in view["scores"]] for view in scores[6 * index :][:6]]
        mean = [sum(column) / 6 for column in zip(*views, strict=True)]
        assert row["class_1"] == CLASSES[mean.index(max(mean))]
        assert float(row["probability_1"]) == pytest.approx(max(mean), abs=1e-3)  # float16 on disk


def test_results_are_a_table(tested, capsys, monkeypatch):
    folder, _ = tested
    result = result_of(folder)
    monkeypatch.setenv("COLUMNS", "300")
    capsys.readouterr()
    main(["results", str(folder.parent)])
    lines = capsys.readouterr().out.splitlines()
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in lines]
    (cells,) = [row for row in rows if row[0].endswith(folder.name)]
    assert cells[1:] == [
        f"{result['num_parameters'] / 1e6:.2f}M",
        "5",
        "30",
        "0",
        *(f"{result[name]:.1%}" for name in ("clip_top1", "video_top1")),
    ]


def test_a_control_is_named_wherever_its_numbers_are_shown(place, tested, run, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    folder = run("test", "--ckpt_path", place.last, "--data.test.frame_order=shuffled")
    assert "control: frames shuffled" in capsys.readouterr().out
    assert json.loads((folder / "card.json").read_text())["data"]["frame_order"] == "shuffled"
    main(["results", str(folder), str(tested[0])])
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in capsys.readouterr().out.splitlines()]
    assert {row[1] for row in rows if row[0].endswith((folder.name, tested[0].name))} == {"frames shuffled", ""}
    main(["report", str(folder)])
    assert "This test is a control: frames shuffled." in (folder / "report.html").read_text()
    run("validate", "--ckpt_path", place.last, "--data.test.frame_order=still", name="-val")
    assert "control: still frame; 3 videos, 3 views" in capsys.readouterr().out


@pytest.mark.parametrize("num_workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_resumed_run_continues_as_if_it_had_not_stopped(run, num_workers):
    """Order, clips, augmentation, dropout and learning rate are those of the second epoch, to the last digit."""
    schedule = "--model.schedule.init_args"
    arguments = [
        f"--data.loading.num_workers={num_workers}",
        "--model.schedule=videoctx.tasks.WarmupCosine",
        f"{schedule}.warmup_epochs=0.5",
        f"{schedule}.end_factor=0.1",
        "--data.batch_size=2",
        "--checkpoint.save_top_k=-1",
        "--checkpoint.filename={epoch}",
    ]
    whole = run("fit", *arguments, name="-whole")
    rest = run("fit", *arguments, "--ckpt_path", whole / "checkpoints" / "epoch=0.ckpt", name="-rest")
    losses = column(whole, "train/loss")
    assert len(set(losses)) == 6
    assert column(rest, "train/loss") == losses[3:]
    assert column(rest, "val/clip_top1") == column(whole, "val/clip_top1")[1:]
    ends = [torch.load(folder / "checkpoints" / "last.ckpt")["state_dict"] for folder in (whole, rest)]
    for name, tensor in ends[0].items():
        assert torch.equal(ends[1][name], tensor), name


@pytest.mark.parametrize("num_workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_run_that_resumes_inside_an_epoch_reads_the_rest_of_it(run, num_workers):
    arguments = [f"--data.loading.num_workers={num_workers}", "--data.batch_size=1"]
    every = ["--checkpoint.every_n_train_steps=2", "--checkpoint.monitor=null", "--checkpoint.save_top_k=-1"]
    whole = run("fit", *arguments, *every, "--checkpoint.filename={step}", name="-whole")
    losses = column(whole, "train/loss")
    assert len(set(losses)) == 12
    for step in (2, 6, 8):  # in the first epoch, at its end, in the second
        rest = run("fit", *arguments, "--ckpt_path", whole / "checkpoints" / f"step={step}.ckpt", name=f"-{step}")
        assert column(rest, "train/loss") == losses[step:]


def test_a_run_resumes_inside_an_epoch_only_with_the_same_batches(run, capsys):
    every = ["--checkpoint.every_n_train_steps=2", "--checkpoint.monitor=null", "--checkpoint.filename=two"]
    whole = run("fit", "--data.batch_size=1", *every, "--trainer.max_epochs=1", "--trainer.limit_train_batches=3")
    with pytest.raises(SystemExit):
        run("fit", "--data.batch_size=2", "--ckpt_path", whole / "checkpoints" / "two.ckpt", name="-rest")
    assert "in the middle of an epoch, with batch_size 1, num_ranks 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ("--seed_everything=1", False),
        *(pytest.param(f"--data.loading.num_workers={count}", True, marks=pytest.mark.slow) for count in (1, 2)),
    ],
)
def test_losses_depend_on_the_seed_and_not_on_the_workers(run, change, same):
    first, second = (run("fit", "--trainer.max_epochs=1", *more, name=f"-{len(more)}") for more in ([], [change]))
    assert (column(first, "train/loss") == column(second, "train/loss")) == same


# Videos that cannot be read ---------------------------------------------------------------------------------------

BROKEN = {
    "missing": "No such file or directory",
    "empty": "the file is empty",
    "truncated": "the file has no index",
    "text": "expected a video",
}


@pytest.mark.parametrize("num_workers", [0, 2])
def test_unreadable_videos_count_as_incorrect_and_are_listed(place, run, copy, tested, caplog, capsys, num_workers):
    whole = scores_of(tested[0])
    for index, how in enumerate(BROKEN, start=1):
        break_video(copy / f"test{index}.mp4", how)
    capsys.readouterr()
    folder = run("test", "--ckpt_path", place.last, manifest_of(copy), f"--data.loading.num_workers={num_workers}")
    result, rows = result_of(folder), scores_of(folder)
    correct = [row["scores"].index(max(row["scores"])) == row["label"] for row in whole[:6]]
    assert (result["num_videos"], result["num_views"], result["num_failed"]) == (5, 30, 4)
    assert result["clip_top1"] == sum(correct) / 30
    assert result["video_top1"] in (0, 1 / 5)
    assert "video_top5" not in result  # of three classes
    assert [row["scores"] for row in rows[:6]] == [row["scores"] for row in whole[:6]]
    assert "5 videos, 30 views, 4 failed" in capsys.readouterr().out
    for index, (row, reason) in enumerate(zip(rows[6:], BROKEN.values(), strict=True), start=1):
        assert (row["row"], row["scores"], row["start_frame"]) == (index, None, None)
        assert reason in row["failure"]
        assert caplog.text.count(f"counted as incorrect: {copy / f'test{index}.mp4'}: {row['failure']}") == 1


def test_unreadable_training_videos_are_left_out_and_logged(run, copy, caplog):
    for index, how in enumerate(BROKEN):
        break_video(copy / f"train{index}.mp4", how)
    folder = run("fit", manifest_of(copy), "--data.train.max_failed_fraction=0.67", "--data.batch_size=1")
    for index, reason in enumerate(BROKEN.values()):
        (line,) = [line for line in caplog.messages if str(copy / f"train{index}.mp4") in line]  # once, not every epoch
        assert line.startswith("left out of training: ")
        assert reason in line
    assert len(set(column(folder, "train/loss"))) == 2 * 2  # two readable videos, two epochs
    assert (folder / "checkpoints" / "last.ckpt").is_file()


@pytest.mark.parametrize("num_workers", [0, 2])
def test_too_many_unreadable_training_videos_end_the_run(copy, refused, num_workers):
    for index in (1, 4):
        break_video(copy / f"train{index}.mp4", "text")
    line = refused(
        "fit", manifest_of(copy), "--data.train.max_failed_fraction=0.17", f"--data.loading.num_workers={num_workers}"
    )
    assert "2 of 6 training videos cannot be read, more than max_failed_fraction 0.17 accepts" in line
    assert all(str(copy / f"train{index}.mp4") in line for index in (1, 4))


def test_a_clip_longer_than_its_video_is_a_failure_on_request(place, run, caplog):
    longer = ["--data.clips.clip_len=11", "--ckpt_path", place.last]  # spans 21 of 20 frames
    assert result_of(run("test", *longer, name="-wrap"))["num_failed"] == 0
    folder = run("test", *longer, "--data.clips.short_videos=refuse", name="-refuse")
    assert result_of(folder)["num_failed"] == 5
    assert "20 frames, but a clip of 11, 2 apart, spans 21; expected short_videos 'wrap'" in caplog.text
    assert (
        result_of(run("test", "--data.clips.clip_len=10", *longer[1:], "--data.clips.short_videos=refuse"))[
            "num_failed"
        ]
        == 0
    )


def test_training_on_clips_longer_than_all_videos_is_refused(place, refused):
    line = refused("fit", "--data.clips.clip_len=11", "--data.clips.short_videos=refuse")
    assert str(place.videos / "train") in line
    assert "expected short_videos 'wrap' or 'repeat_last', or a shorter clip" in line


# Input that cannot be used ----------------------------------------------------------------------------------------


@each_case(
    ("change", "parts"),
    [
        ({"train0.mp4,blue_up": "train0.mp4,purple"}, ["manifest.csv, line 2: label 'purple'", "blue_up, green_down"]),
        (
            {"train0.mp4,blue_up": "train0.mp4,"},
            ["manifest.csv, line 2: the label is empty; expected a class (blue_up"],
        ),
        ({",train,": ",training,"}, ["manifest.csv: no row has split 'train'", "test, training, val"]),
        ({",val,": ",validation,"}, ["manifest.csv: no row has split 'val'", "test, train, validation"]),
        ({"path,label": "file,label"}, ["manifest.csv: the header lacks path; expected columns path, label, split"]),
    ],
)
def test_a_bad_manifest(place, copy, refused, change, parts):
    text = (place.videos / "manifest.csv").read_text()
    for old, new in change.items():
        assert old in text
        text = text.replace(old, new)
    (copy / "manifest.csv").write_text(text)
    line = refused("fit", manifest_of(copy))
    assert all(part in line for part in parts), line


@each_case(
    ("name", "text", "parts"),
    [
        ("manifest.csv", "", ["manifest.csv: the header lacks path, label, split; expected columns"]),
        ("manifest.csv", "path,label,split\n", ["manifest.csv: the manifest has no rows"]),
        ("manifest.csv", None, ["manifest.csv: cannot read the manifest (No such file or directory)"]),
        ("classes.txt", "", ["classes.txt: no class names; expected one per line"]),
        ("classes.txt", None, ["classes.txt: cannot read the class names (No such file or directory); expected"]),
    ],
)
def test_an_empty_or_missing_manifest_or_class_file(place, copy, refused, name, text, parts):
    for other in ("manifest.csv", "classes.txt"):
        shutil.copy(place.videos / other, copy / other)
    (copy / name).unlink()
    if text is not None:
        (copy / name).write_text(text)
    line = refused("fit", manifest_of(copy))
    assert all(part in line for part in parts), line


def test_a_single_class_is_refused(copy, refused):
    manifest = copy / "manifest.csv"
    manifest.write_text(manifest.read_text().replace("green_down", "blue_up").replace("red_still", "blue_up"))
    (copy / "classes.txt").write_text("blue_up\n")
    assert refused("fit", manifest_of(copy)).startswith("there is one class, 'blue_up': every clip would be correct")


def test_a_manifest_in_a_missing_folder(refused, tmp_path):
    """The error names the manifest, not only the class file beside it."""
    assert f"{tmp_path / 'nowhere' / 'manifest.csv'}" in refused("fit", manifest_of(tmp_path / "nowhere"))


NL_AT = ["--model.net.init_args.context=videoctx.layers.NonLocal", "--model.net.init_args.context_at"]


@pytest.mark.slow
@each_case(
    ("arguments", "parts"),
    [
        # options
        (["--data.batchsize=2"], ["data.batchsize", "batch_size"]),
        (["--data.train.crop_siz_px=2"], ["data.train.crop_siz_px", "train.crop_size_px"]),
        (["--data.clip_length=2"], ["data.clip_length", "clips.clip_len"]),
        (["--datta.batch_size=2"], ["datta.batch_size", "data"]),
        (["--model.label_smothing=0.1"], ["model.label_smothing", "label_smoothing"]),
        (["--model.net.init_args.widht=2"], ["model.net", "'widht'", "--model.net.help"]),
        (["--trainer.epochs=2"], ["trainer.epochs", "max_epochs"]),
        (["--data.seed=3"], ["data.seed", "seed_everything"]),
        # values
        (["--data.batch_size=none"], ["data.batch_size is none; expected a whole number"]),
        (["--data.clips.short_videos=loop"], ["data.clips.short_videos", "'wrap', 'repeat_last', 'refuse'", "loop"]),
        (["--data.batch_size=0"], ["batch_size is 0; expected 1 or more"]),
        (["--data.test.batch_size=0"], ["test.batch_size is 0; expected 1 or more"]),
        (["--data.clips.clip_len=0"], ["clip_len is 0; expected 1 or more"]),
        (["--data.test.val_views=[0,1]"], ["val_views is [0, 1]; expected clips and crops"]),
        (["--data.train.max_failed_fraction=1.5"], ["max_failed_fraction is 1.5; expected 0 to 1"]),
        (
            ["--data.train.crop_size_px=36"],
            ["short_side_px is 32 to 40 with crop_size_px 36; expected crop_size_px <= least"],
        ),
        (["--data.test.crop_size_px=36"], ["test.short_side_px is 32 with crop_size_px 36; expected"]),
        (["--model.net.init_args.depth=20"], ["depth", "18, 34, 50, 101, 152", "20"]),
        (["--model.net=videoctx.models.ResNet"], ["model.net", "videoctx.models.ResNet", "no attribute"]),
        (
            ["--model.schedule=videoctx.tasks.WarmupCosine", "--model.schedule.init_args.warmup_epochs=2"],
            ["warmup_epochs is 2, 4 steps, but the run has 4; expected less than 2 epochs"],
        ),
        (
            ["--model.schedule=videoctx.tasks.WarmupCosine", "--model.schedule.init_args.warmup_epochs=-1"],
            ["warmup_epochs is -1; expected 0 or more"],
        ),
        # values that Lightning and torch check
        (["--trainer.accelerator=gpu", "--trainer.devices=99"], ["gpu"]),
        (["--trainer.strategy=dpp"], ["invalid strategy name", "dpp"]),
        (["--trainer.val_check_interval=50"], ["val_check_interval", "(50)"]),
        (["--model.optimizer.init_args.lr=-1"], ["Invalid learning rate: -1"]),
        (["--seed_everything=-1"], ["-1 is not in bounds"]),
        (["--trainer.limit_train_batches=0"], ["trainer.limit_train_batches is 0; expected 1 or more"]),
        (["--trainer.gradient_clip_val=-1"], ["trainer.gradient_clip_val is -1; expected 0, for none, or more"]),
        (["--trainer.precision=64-true"], ["trainer.precision is 64-true; expected 32-true or bf16-mixed"]),
        (["--trainer.accumulate_grad_batches=0"], ["trainer.accumulate_grad_batches is 0; expected 1 or more"]),
        (
            ["--model.schedule=videoctx.tasks.WarmupCosine", "--trainer.max_epochs=-1"],
            ["model.schedule needs an end of the run; expected trainer.max_epochs"],
        ),
        # frozen modules
        (
            ["--model.freeze=[stem, res6]"],
            ["freeze names 'res6'", "expected one or more of backbone, stem, res2, res3, res4, res5"],
        ),
        (["--model.freeze=bakbone"], ["freeze names 'bakbone'", "expected one or more of backbone"]),
        (["--model.freeze=[backbone, head]"], ["freeze is ['backbone', 'head'], which leaves no parameter to train"]),
        # class weights
        (["--model.class_weights=[1, 2]"], ["class_weights has 2 numbers for 3 classes; expected one per class"]),
        (["--model.class_weights=[1, -2, 1]"], ["class_weights has -2; expected more than 0"]),
        (["--model.class_weights=balance"], ["model.class_weights", "balance"]),
        # context blocks
        ([*NL_AT, "{res6: [0]}"], ["stage 'res6'; expected one of res2, res3, res4, res5"]),
        ([*NL_AT, "{res3: [2]}"], ["block 2 of res3, which has 2: expected 0 to 1"]),
        ([*NL_AT, "{res3: [-1]}"], ["block -1 of res3, which has 2: expected 0 to 1"]),
        (NL_AT[:1], ["context and context_at belong together"]),
        ([*NL_AT, "{res2: [0]}", "--model.net.init_args.context.inner_ratio=0.1"], ["inner_ratio 0.1 of 2 channels"]),
    ],
)
def test_an_option_or_value_that_is_not_accepted(refused, arguments, parts):
    line = refused("fit", *arguments)
    assert all(part in line for part in parts), line


@each_case(
    ("text", "parts"),
    [
        ("data: {batchsize: 2}", ["data.batchsize", "batch_size"]),
        ("datta: {batch_size: 2}", ["datta.batch_size", "data"]),
        ("model: {label_smothing: 0.1}", ["model.label_smothing", "label_smoothing"]),
        ("model: {net: {init_args: {widht: 2}}}", ["model.net", "'widht'", "--model.net.help"]),
        ("model: {optimizer: {init_args: {weight_decy: 0}}}", ["'weight_decy'", "--model.optimizer.help"]),
        ("checkpoint: {monitr: val/loss}", ["checkpoint.monitr", "monitor"]),
        ("data: {seed: 3}", ["data.seed", "seed_everything"]),
        ("model: {class_names: [a, b, c]}", ["model.class_names"]),
    ],
)
def test_a_config_key_that_is_not_accepted(refused, tmp_path, text, parts):
    (tmp_path / "more.yaml").write_text(text)
    line = refused("fit", "-c", tmp_path / "more.yaml")
    assert all(part in line for part in parts), line


@each_case(
    ("option", "line"),
    [
        ("trainer.max_epochs=three", "trainer.max_epochs is three; expected a whole number or null"),
        ("model.net.init_args.depth=19", "model.net.depth is 19; expected 18, 34, 50, 101, 152, 200"),
        ("model.schedule=WarmupCosin", "model.schedule is WarmupCosin; expected a class by its full name or null"),
        (
            "model.optimizer=torch.optim.SDG",
            "model.optimizer: no torch.optim.SDG: module 'torch.optim' has no attribute 'SDG'",
        ),
    ],
)
def test_a_value_of_another_type_is_reported_in_short(refused, option, line):
    assert refused("fit", f"--{option}") == line


@each_case(
    ("content", "words"),
    [
        (b"trainer: 3", "trainer is 3; expected keys and values"),
        (b"data:", "data is None; expected keys and values"),
        (b"data: {clip_len: 4}\ntrainer: {max_epochs: 1}\ndata: {batch_size: 2}", "the key 'data' is there twice"),
        (b"data: {clip_len: 4, clip_len: 8}", "the key 'clip_len' is there twice"),
        (b"\xff\xfe\xa8", "not a text file in UTF-8"),
        (b"trainer: [1,", "not a YAML file"),
    ],
)
def test_a_file_that_is_not_a_config(refused, tmp_path, content, words):
    (tmp_path / "more.yaml").write_bytes(content)
    line = refused("fit", "-c", tmp_path / "more.yaml")
    assert f"{tmp_path / 'more.yaml'}: " in line
    assert words in line


def test_a_decoder_that_is_not_installed(refused, monkeypatch):
    monkeypatch.setattr("videoctx.data.decoding.video_reader.is_installed", lambda decoder: decoder == "pyav")
    line = refused("fit", "--data.loading.decoder=decord", "--data.loading.num_workers=2")
    assert line == (
        "decoder is 'decord', but decord is not installed or does not load here; expected one of auto, pyav"
    )


def test_an_unknown_command(refused):
    assert "'train'" in (line := refused("train"))
    assert "fit" in line


# Checkpoints that cannot be used ----------------------------------------------------------------------------------


BAD_CHECKPOINTS = ["missing", "text", "empty", "truncated", "zip", "list", "weights", "folder"]


def write_bad_checkpoint(folder: Path, kind: str, place: Place) -> Path:
    path = folder / f"{kind}.ckpt"
    content = place.last.read_bytes()
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("hello.txt", "hello")
    elif kind == "list":
        torch.save([1, 2], path)
    elif kind == "weights":
        torch.save(torch.load(place.last)["state_dict"], path)
    elif kind == "folder":
        path.mkdir(exist_ok=True)
    elif kind != "missing":
        path.write_bytes({"text": b"hello", "empty": b"", "truncated": content[: len(content) // 2]}[kind])
    return path


@pytest.mark.slow
@each_case("command", ["test", "fit"])
@each_case("kind", BAD_CHECKPOINTS)
def test_a_file_that_is_not_a_checkpoint(place, refused, tmp_path, kind, command):
    path = write_bad_checkpoint(tmp_path, kind, place)
    if (kind, command) == ("weights", "test"):  # they are the network's
        return
    line = refused(command, "--ckpt_path", path)
    assert str(path) in line
    assert "checkpoint" in line.replace(str(path), "")


def test_a_damaged_checkpoint(place, refused, tmp_path):
    content = bytearray(place.last.read_bytes())
    with zipfile.ZipFile(place.last) as file:
        largest = max(file.infolist(), key=lambda entry: entry.file_size)
    middle = largest.header_offset + largest.file_size // 2
    content[middle : middle + 8] = bytes(byte ^ 255 for byte in content[middle : middle + 8])
    (tmp_path / "damaged.ckpt").write_bytes(content)
    for command in ("fit", "test"):
        assert refused(command, "--ckpt_path", tmp_path / "damaged.ckpt").endswith(
            "its checksums differ from those that were written"
        )


def test_a_finished_run_cannot_be_resumed(place, refused):
    """It makes no folder, and the line names the option that continues the run."""
    before = sorted(place.runs.iterdir())
    for option, line in (
        (
            "--trainer.max_epochs=4",
            "this run is finished: epoch 4 of 4; expected a higher trainer.max_epochs to continue",
        ),
        (
            "--trainer.max_epochs=3",
            "this run is finished: epoch 4 of 3; expected a higher trainer.max_epochs to continue",
        ),
        (
            "--trainer.max_steps=8",
            "this run is finished: epoch 4 of 2; expected a higher trainer.max_epochs to continue",
        ),
    ):
        assert refused("fit", "--ckpt_path", place.last, option) == f"{place.last}: {line}"
    unlimited = ["--trainer.max_epochs=-1", "--trainer.max_steps=8"]
    assert "this run is finished: step 8 of 8; expected a higher trainer.max_steps" in refused(
        "fit", "--ckpt_path", place.last, *unlimited
    )
    assert sorted(place.runs.iterdir()) == before


def test_a_finished_run_cannot_be_resumed_by_another_name(place, run, refused, tmp_path, capsys):
    """From a YAML file, and by Lightning's name for the last checkpoint of a folder."""
    line = "this run is finished: epoch 4 of 4; expected a higher trainer.max_epochs to continue"
    (tmp_path / "resume.yaml").write_text(f"ckpt_path: {place.last}\n")
    assert refused("fit", "-c", tmp_path / "resume.yaml", "--trainer.max_epochs=4") == f"{place.last}: {line}"
    shutil.copytree(place.last.parent, tmp_path / "checkpoints")
    folders = [f"--{name}.dirpath={tmp_path / 'checkpoints'}" for name in ("checkpoint", "last_checkpoint")]
    with pytest.raises(SystemExit) as stop:
        run("fit", "--ckpt_path=last", *folders, "--trainer.max_epochs=4")
    assert stop.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"videoctx: {tmp_path / 'checkpoints' / 'last.ckpt'}: {line}"


def test_weights_alone_cannot_be_resumed_from(run, refused):
    only = run("fit", "--checkpoint.save_weights_only=true", "--trainer.max_epochs=1") / "checkpoints" / "best.ckpt"
    assert "holds weights alone, nothing to resume from; expected it as --model.weights" in refused(
        "fit", "--ckpt_path", only
    )


@each_case("names", [["blue_up", "green_down", "red_stops"], [*CLASSES, "more"]])
def test_a_checkpoint_for_other_classes(place, copy, refused, names):
    (copy / "classes.txt").write_text("\n".join(names))
    manifest = copy / "manifest.csv"
    manifest.write_text((place.videos / "manifest.csv").read_text().replace("red_still", names[2]))
    line = refused("test", "--ckpt_path", place.last, manifest_of(copy))
    assert "the checkpoint was trained on other classes than those of the data: " in line
    assert f"only in the data ({names[-1]}); expected the same, in the same order" in line


def test_a_checkpoint_of_another_network(place, refused):
    line = refused("test", "--ckpt_path", place.last, "--model.net.init_args.width=3")
    assert str(place.last) in line


# As a program -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_as_a_program_an_error_is_one_line_and_exit_code_2(place):
    """Nothing before the line, neither a warning nor a traceback."""
    done = subprocess.run(
        [sys.executable, "-m", "videoctx", "fit", "-c", str(place.config), "--data.batchsize=2"],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=Path(__file__).parents[1],
        env={key: value for key, value in os.environ.items() if key != "VIDEOCTX_TRACEBACK"},
    )
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("videoctx: ")
    assert "batch_size" in line


def test_an_interrupt_is_one_line_and_exit_status_130(run, monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("videoctx.cli.training.with_parts", interrupted)
    with pytest.raises(SystemExit) as stop:
        run("fit")
    assert stop.value.code == 130
    assert capsys.readouterr().err == "videoctx: interrupted\n"


def test_an_interrupt_that_lightning_handles_has_exit_status_130(run, monkeypatch, capsys):
    def interrupted(*_, **__):
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            sys.exit(1)  # as Lightning does after it has shut down

    monkeypatch.setattr("videoctx.cli.training.VideoCLI", interrupted)
    with pytest.raises(SystemExit) as stop:
        run("fit")
    assert stop.value.code == 130
    assert capsys.readouterr().err == "videoctx: interrupted\n"


@each_case("error", [MemoryError(), OSError(errno.ENOMEM, "Cannot allocate memory")])
def test_too_little_memory_is_reported_in_one_line(refused, monkeypatch, error):
    def out_of_memory(*_):
        raise error

    monkeypatch.setattr("videoctx.cli.training.with_parts", out_of_memory)
    assert "expected less of data.batch_size" in refused("fit")


def test_results_of_folders_without_any(place, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["results", str(place.videos)])
    assert stop.value.code == 2
    assert f"videoctx: {place.videos}: no results.json in there" in capsys.readouterr().err


def test_a_traceback_on_request(run, monkeypatch):
    monkeypatch.setenv("VIDEOCTX_TRACEBACK", "1")
    with pytest.raises(ValueError, match="batch_size is 0"):
        run("fit", "--data.batch_size=0")
