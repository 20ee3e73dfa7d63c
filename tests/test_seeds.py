"""`videoctx seeds`: runs that differ only in their seed are one network, with mean, deviation and intervals."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from matplotlib.image import imread

from tests.evaluation.synthetic_scores import write_run as write_scores
from tests.tiny_set import make_set, write_config
from videoctx.cli import main
from videoctx.evaluation.bootstrap import Estimate, Interval
from videoctx.evaluation.learning_curves import read_learning_curve, read_learning_curves
from videoctx.evaluation.seed_plots import draw_gains, draw_seeds
from videoctx.evaluation.seeds import SeedGroup, SeedIntervals, class_gains, classes_without_videos

BLOCK, OTHER_BLOCK = "videoctx.layers.NonLocal", "videoctx.layers.GlobalContext"


def write_run(
    folder: Path, *, seed: int, value: float, context: str | None = None, epochs: int = 5, views: int = 1
) -> Path:
    """Write the files of `videoctx fit` and `videoctx test` that the tool reads, and return the tested run's folder."""
    trained, tested = folder / "version_0", folder / "version_0" / "test"
    (trained / "checkpoints").mkdir(parents=True)
    tested.mkdir()
    config = {
        "seed_everything": seed,
        "trainer": {"max_epochs": epochs, "logger": {"init_args": {"name": str(folder)}}},
        "model": {"net": {"context": context}},
        "data": {"manifest": "set.csv", "test": {"views": [views, 1]}},
        "ckpt_path": None,
    }
    checkpoint = trained / "checkpoints" / "last.ckpt"
    (trained / "training_card.json").write_text("{}")
    (trained / "config.yaml").write_text(yaml.safe_dump(config))
    (tested / "config.yaml").write_text(yaml.safe_dump(config | {"ckpt_path": str(checkpoint), "seed_everything": 0}))
    result = {"checkpoint": str(checkpoint), "num_parameters": 1500, "video_top1": value, "num_videos": 5} | {
        "num_views": 5,
        "num_failed": 0,
    }
    (tested / "results.json").write_text(json.dumps(result))
    return tested


@pytest.fixture
def show(capsys, monkeypatch):
    """Runs the tool, and returns the cells of the rows of its tables, without the headings."""
    monkeypatch.setenv("COLUMNS", "200")

    def show(*arguments: object) -> list[list[str]]:
        main(["seeds", *map(str, arguments)])
        lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
        return [[cell.strip() for cell in line.strip("│").split("│")] for line in lines]

    return show


@pytest.fixture
def refuse(capsys):
    """Runs the tool, and returns the one line of its error."""

    def refuse(*arguments: object) -> str:
        with pytest.raises(SystemExit) as stopped:
            main(["seeds", *map(str, arguments)])
        assert stopped.value.code == 2
        (line,) = capsys.readouterr().err.splitlines()
        return line

    return refuse


@pytest.fixture
def runs(tmp_path):
    """Two networks, with three seeds and with two, each in its own folder."""
    for seed, value in enumerate([0.4, 0.3, 0.5]):
        write_run(tmp_path / "plain" / f"seed_{seed}", seed=seed, value=value)
    for seed, value in enumerate([1.0, 0.9]):
        write_run(tmp_path / "nl" / f"seed_{seed}", seed=seed, value=value, context=BLOCK)
    return tmp_path


def test_mean_and_deviation(runs, show):
    assert show(runs) == [
        ["plain", "0.002M", "3", "40.0%", "10.0", "30.0%", "50.0%"],  # √(0.02 / 2)
        ["nl", "0.002M", "2", "95.0%", "7.1", "90.0%", "100.0%"],  # √(0.005 / 1)
    ]


def test_one_run_has_no_deviation():
    assert SeedGroup("plain", 1500, {0: 0.4}, ()).deviation is None


@pytest.mark.parametrize("change", [{"epochs": 6}, {"context": OTHER_BLOCK}, {"views": 2}], ids=str)
def test_a_run_of_another_setting_is_another_network(runs, show, change):
    write_run(runs / "other" / "seed_3", seed=3, value=0.6, **change)
    rows = {name: cells for name, *cells in show(runs)}
    assert [cells[1] for cells in rows.values()] == ["3", "1", "2"]
    assert rows["other/seed_3/version_0"] == ["0.002M", "1", "60.0%", "", "60.0%", "60.0%"]


def test_a_resumed_training_has_the_setting_of_one_that_was_not_interrupted(runs, show):
    """Its config names the checkpoint, and not the weights that the first part started from."""
    for seed, resumed in enumerate((False, True)):
        for version in range(1 + resumed):
            tested = write_run(runs / "tuned" / str(seed) / str(version), seed=seed, value=0.5)
            config = yaml.safe_load((file := tested.parent / "config.yaml").read_text())
            config["model"]["weights"] = None if version else "resnet18.pth"
            config["ckpt_path"] = str(tested.parents[2] / "0/version_0/checkpoints/last.ckpt") if version else None
            file.write_text(yaml.safe_dump(config))
    shutil.rmtree(runs / "tuned/1/0/version_0/test")
    counts = {name: count for name, _, count, *_ in show(runs)}
    assert counts == {"plain": "3", "nl": "2", "tuned": "2"}  # the first part is no training of its own


def test_trainings_without_a_test_and_videos_that_failed_are_in_the_table(runs, show):
    shutil.rmtree(runs / "nl/seed_1/version_0/test")
    file = runs / "plain/seed_2/version_0/test/results.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"num_failed": 4}))
    assert show(runs) == [
        ["plain", "0.002M", "3", "40.0%", "10.0", "30.0%", "50.0%", "4"],
        ["nl/seed_0/version_0", "0.002M", "1", "100.0%", "", "100.0%", "100.0%", "0"],
        ["nl/seed_1/version_0", "", "0", "not tested", "", "", "", ""],
    ]


def test_the_seed_is_that_of_the_training(runs, show):
    """Every run here was tested with seed 0."""
    write_run(runs / "plain" / "seed_3", seed=3, value=0.4)
    assert show(runs)[0][2] == "4"


def test_a_repeated_seed_is_refused(runs, refuse):
    again = write_run(runs / "plain" / "again", seed=2, value=0.9)
    assert refuse(
        runs
    ) == f"videoctx: {again} and {runs / 'plain/seed_2/version_0/test'} are of one setting and of seed 2;" + (
        " expected one"
    )


def test_of_several_tests_of_a_training_the_newest_is_taken(runs, show):
    tested = runs / "plain" / "seed_0" / "version_0" / "test"
    for number in (2, 10):
        shutil.copytree(tested, again := tested.with_name(f"test-{number}"))
        result = json.loads((tested / "results.json").read_text()) | {"video_top1": 0.01 * number}
        (again / "results.json").write_text(json.dumps(result))
    assert show(runs)[0] == ["plain", "0.002M", "3", "30.0%", "20.0", "10.0%", "50.0%"]


def test_controls_are_networks_of_their_own(runs, show):
    for seed, value in enumerate([0.2, 0.1, 0.3]):
        tested = runs / "plain" / f"seed_{seed}" / "version_0" / "test"
        shutil.copytree(tested, again := tested.with_name("test-1"))
        result = json.loads((tested / "results.json").read_text()) | {"video_top1": value}
        (again / "results.json").write_text(json.dumps(result))
        (again / "card.json").write_text(json.dumps({"data": {"frame_order": "shuffled"}}))
    assert [row[:4] for row in show(runs)] == [["plain", "0.002M", "3", "40.0%"], ["nl", "0.002M", "2", "95.0%"]]
    assert [row[:4] for row in show(runs, "--controls")] == [
        ["plain, frames shuffled", "0.002M", "3", "20.0%"],
        ["plain", "0.002M", "3", "40.0%"],
        ["nl", "0.002M", "2", "95.0%"],
    ]


def test_settings_that_are_mixed_in_a_folder_are_refused(runs, refuse):
    for seed in (3, 4):
        write_run(runs / "plain" / f"seed_{seed}", seed=seed, value=0.9, epochs=6)
    assert f"{runs / 'plain'}: runs of different settings are mixed" in refuse(runs)


def test_another_metric(runs, show, refuse):
    for file in runs.rglob("results.json"):
        file.write_text(json.dumps(json.loads(file.read_text()) | {"clip_top1": 0.25}))
    assert [row[3] for row in show(runs, "--metric", "clip_top1")] == ["25.0%", "25.0%"]
    assert "no metric 'clip_top2' in there; expected one of video_top1, clip_top1" in refuse(
        runs, "--metric", "clip_top2"
    )


def with_scores(runs: Path, right: dict[str, list[np.ndarray]], videos: int) -> None:
    """Write runs with scores of two classes, correct where `right`, (videos,) bool, is true."""
    for name, seeds in right.items():
        for seed, is_right in enumerate(seeds):
            tested = write_run(runs / name / f"seed_{seed}", seed=seed, value=float(is_right.mean()), context=name)
            logits = np.zeros((videos, 1, 1, 2))
            logits[:, 0, 0, 0] = np.where(is_right, 3, -3)
            order = np.random.default_rng(seed).permutation(videos)  # in the order in which they were tested
            paths = [f"{index}.mp4" for index in order]
            write_scores(tested, logits[order], np.zeros(videos, dtype=np.int64), paths=paths)


def test_the_interval_of_a_difference_covers_seeds_and_videos(tmp_path, show):
    """The interval is as wide as the differences of newly sampled seeds and videos."""
    videos, seeds, rng = 200, 8, np.random.default_rng(0)

    def means() -> tuple[list[np.ndarray], list[np.ndarray]]:
        easy = rng.uniform(0.1, 0.9, videos)  # a video is easy or hard for both networks
        plain = [rng.random(videos) < easy + rng.normal(0, 0.1) for _ in range(seeds)]
        better = [rng.random(videos) < easy + 0.1 + rng.normal(0, 0.1) for _ in range(seeds)]
        return plain, better

    plain, better = means()
    with_scores(tmp_path, {"plain": plain, "better": better}, videos)
    rows = {name: cells for name, *cells in show(tmp_path, "--against", "plain")}  # of the second table
    assert rows["plain"][-1] == ""
    numbers = [float(number) for number in re.findall(r"[+-]?\d+\.\d", rows["better"][-1])]
    difference = 100 * (np.mean(better) - np.mean(plain))
    assert numbers[0] == pytest.approx(difference, abs=0.05)
    drawn = [100 * (np.mean(better) - np.mean(plain)) for plain, better in (means() for _ in range(1000))]
    assert (numbers[2] - numbers[1]) / (3.92 * np.std(drawn)) == pytest.approx(1, abs=0.35)


def test_the_caption_tells_what_the_intervals_cover(tmp_path, capsys):
    right = np.arange(30) % 3 > 0
    with_scores(tmp_path, {"plain": [right] * 2, "once": [right]}, 30)
    main(["seeds", str(tmp_path), "--against", "plain"])
    printed = " ".join(capsys.readouterr().out.split())
    assert "over seeds and videos, but over videos alone of what has a single run (once" in printed


def test_equal_networks_differ_by_zero(tmp_path, show):
    right = [np.arange(30) % 3 > 0] * 2
    with_scores(tmp_path, {"plain": right, "same": right}, 30)
    rows = {name: cells for name, *cells in show(tmp_path, "--against", "plain")}
    assert rows["same"][-1] == "+0.0 (+0.0 – +0.0)"
    assert rows["same"][-2] == rows["plain"][-2] != ""


def test_the_interval_of_a_network_does_not_depend_on_the_others(tmp_path, show):
    rng = np.random.default_rng(0)
    right = {name: [rng.random(40) < 0.5 for _ in range(3)] for name in ("plain", "b", "a")}
    with_scores(tmp_path, right, 40)
    with_a = {name: cells for name, *cells in show(tmp_path, "--against", "plain")}
    shutil.rmtree(tmp_path / "a")
    assert {name: cells for name, *cells in show(tmp_path, "--against", "plain")}["b"] == with_a["b"]


def test_classes_that_differ_most(tmp_path, show):
    """Per class: means over two runs of each network, counted by hand. Both tables before it have other columns."""
    labels = np.array([0] * 4 + [1] * 2)
    right = {
        "plain": [[1, 1, 0, 0, 1, 1], [1, 0, 0, 0, 1, 1]],  # class 0: 3 of 8; class 1: 4 of 4
        "nl": [[1, 1, 1, 1, 0, 1], [1, 1, 1, 0, 0, 1]],  # class 0: 7 of 8; class 1: 2 of 4
    }
    for name, seeds in right.items():
        for seed, is_right in enumerate(seeds):
            tested = write_run(tmp_path / name / f"seed_{seed}", seed=seed, value=np.mean(is_right), context=name)
            logits = np.zeros((6, 1, 1, 2))
            logits[np.arange(6), 0, 0, np.where(is_right, labels, 1 - labels)] = 3
            order = np.random.default_rng(seed).permutation(6)
            write_scores(tested, logits[order], labels[order], paths=[f"{index}.mp4" for index in order])
    rows = [row for row in show(tmp_path, "--against", "plain", "--per_class", 2) if len(row) == 6]
    assert [row[2:5] for row in rows] == [["4", "37.5%", "87.5%"], ["2", "100.0%", "50.0%"]]
    assert [row[5].split(" (")[0] for row in rows] == ["+50.0", "-50.0"]
    assert rows[1][5] == "-50.0 (-100.0 – +0.0)"  # video 4 or 5 alone: always, or never
    assert len([row for row in show(tmp_path, "--against", "plain", "--per_class", 1) if len(row) == 6]) == 1


def test_equal_networks_differ_in_no_class(tmp_path):
    with_scores(tmp_path, {"plain": [np.arange(8) % 3 > 0] * 2}, 8)
    tests = tuple(sorted(file.parent for file in tmp_path.rglob("scores.parquet")))
    group = SeedGroup("plain", 1500, {0: 0.5, 1: 0.5}, tests)
    (one,) = class_gains(group, group)
    assert len(classes_without_videos(group)) == 1
    assert one.num_videos == 8
    assert one.gain == (0, (0, 0))


def test_runs_that_cannot_be_compared_are_refused(tmp_path, refuse):
    with_scores(tmp_path, {"plain": [np.ones(4, dtype=bool)] * 2}, 4)
    assert "no network 'nl' in" in refuse(tmp_path, "--against", "nl")
    with_scores(tmp_path, {"others": [np.ones(5, dtype=bool)] * 2}, 5)
    assert "other videos: 1 only in the second (4.mp4)" in refuse(tmp_path, "--against", "plain")


def test_files_that_cannot_be_read_are_named(runs, refuse, tmp_path):
    assert "no results.json in there" in refuse(tmp_path / "plain" / "seed_0" / "version_0" / "checkpoints")
    file = runs / "plain" / "seed_0" / "version_0" / "test" / "results.json"
    result = json.loads(file.read_text())
    file.write_text(json.dumps(result | {"checkpoint": None}))
    assert f"{file}: tested without a checkpoint" in refuse(runs)
    (runs / "plain" / "seed_0" / "version_0" / "training_card.json").unlink()  # now the test lies in no training
    config = runs / "elsewhere" / "config.yaml"
    file.write_text(json.dumps(result | {"checkpoint": str(config.parent / "checkpoints" / "last.ckpt")}))
    assert f"{file}: expected the run's config at {config}" in refuse(runs)
    file.write_text("{")
    assert f"{file}: not a result, or a truncated one" in refuse(runs)


def test_equal_runs_do_not_overlap_in_the_plot(tmp_path):
    heights = []
    for name, values in {"one": {0: 0.5}, "three": {0: 0.5, 1: 0.5, 2: 0.5}}.items():
        draw_seeds([SeedGroup(name, 1500, values, ())], tmp_path / f"{name}.png", metric="video_top1")
        image = imread(tmp_path / f"{name}.png")
        heights.append((image[..., 2] - image[..., 0] > 0.2).any(axis=1).sum())  # rows with a blue dot
    assert heights[1] > 2 * heights[0]
    assert {file.name for file in tmp_path.iterdir()} == {"one.png", "three.png"}


def test_marks_in_the_plot(runs, show):
    show(runs, "--plot", runs / "bare.png")
    show(runs, "--plot", runs / "marked.png", "--marks", "0.2", "0.7")
    bare, marked = imread(runs / "bare.png"), imread(runs / "marked.png")
    changed = (bare != marked).any(axis=-1)
    columns = changed.any(axis=0).nonzero()[0]
    assert changed.sum() > 50
    assert (columns[1:] - columns[:-1]).max() > 100  # two lines


def test_the_plot_of_differences_has_a_bar_as_long_as_the_interval(tmp_path):
    def interval(low: float, high: float) -> SeedIntervals:
        return SeedIntervals(Estimate(0.5, Interval(0.4, 0.6)), Estimate((low + high) / 2, Interval(low, high)))

    found = {"plain": interval(0, 0), "a$^$": interval(-0.01, 0.01), "wide": interval(-0.04, 0.04)}
    draw_gains(found, tmp_path / "gains.png", baseline="plain", metric="video_top1")
    image = imread(tmp_path / "gains.png")
    lengths = (image[..., 2] - image[..., 0] > 0.4).sum(axis=1)
    rows = np.flatnonzero(lengths)
    narrow, wide = np.split(lengths[rows], np.flatnonzero(np.diff(rows) > 5) + 1)  # the baseline has no row
    assert wide.max() / narrow.max() == pytest.approx(4, abs=0.4)


# Learning curves --------------------------------------------------------------------------------------------------


def write_log(run: Path, values: dict[int, float], *, resumed_from: Path | None = None) -> Path:
    """Write the log of a training, as Lightning does: epochs from 0, and rows of other metrics between."""
    run.mkdir(parents=True, exist_ok=True)
    rows = [f"{epoch},{epoch},,{value}\n{epoch},{epoch},0.5," for epoch, value in values.items()]
    (run / "metrics.csv").write_text("\n".join(["epoch,step,train/loss,val/video_top1", *rows, "7,8"]))
    config = yaml.safe_load(file.read_text()) if (file := run / "config.yaml").is_file() else {}
    checkpoint = str(resumed_from / "checkpoints" / "last.ckpt") if resumed_from else None
    file.write_text(yaml.safe_dump(config | {"ckpt_path": checkpoint}))
    (run / "training_card.json").write_text("{}")
    return run


def test_learning_curves_are_means_over_seeds(tmp_path):
    logs = [{0: 0.1, 1: 0.4}, {0: 0.3, 1: 0.4}]
    runs = {seed: write_log(tmp_path / str(seed), values) for seed, values in enumerate(logs)}
    curves = read_learning_curves(runs, "video_top1")
    assert curves.epochs == (0, 1)
    np.testing.assert_allclose(curves.mean, [0.2, 0.4])
    np.testing.assert_allclose(curves.deviation, [0.02**0.5, 0], atol=1e-9)  # √(0.02 / 1)
    assert not curves.missing


def test_the_curve_of_a_resumed_training_is_whole(tmp_path):
    """The later training logs what follows its checkpoint. Where both logged an epoch, the later one counts."""
    first = write_log(tmp_path / "version_0", {0: 0.1, 1: 0.2, 2: 0.9})
    second = write_log(tmp_path / "version_1", {2: 0.3, 3: 0.4}, resumed_from=first)
    write_log(first, {0: 0.1, 1: 0.2, 2: 0.9}, resumed_from=second)  # a circle ends
    assert read_learning_curve(second, "video_top1") == {0: 0.1, 1: 0.2, 2: 0.3, 3: 0.4}


def test_an_epoch_that_a_training_lacks_is_named(tmp_path):
    runs = {0: write_log(tmp_path / "0", {0: 0.1, 1: 0.2}), 1: write_log(tmp_path / "1", {0: 0.3})}
    curves = read_learning_curves(runs, "video_top1")
    assert curves.epochs == (0,)
    assert curves.missing == (f"{tmp_path / '1'}: no val/video_top1 in epoch 2, which is left out",)
    with pytest.raises(ValueError, match=r"metrics.csv: no values of val/video_map; expected a training"):
        read_learning_curves(runs, "video_map")


def test_curves_are_drawn_for_each_network(runs, show):
    for training in {file.parent for file in runs.rglob("training_card.json")}:
        write_log(training, {0: 0.2, 1: 0.5 if "nl" in str(training) else 0.3})
    show(runs, "--plot_curves", runs / "curves.png")
    image = imread(runs / "curves.png")
    blue, orange = image[..., 2] - image[..., 0] > 0.4, image[..., 0] - image[..., 2] > 0.6
    assert blue.sum() > 300
    assert orange.sum() > 300


@pytest.mark.parametrize("option", ["--per_class=2", "--plot_gains=gains.png"])
def test_differences_need_a_network(runs, refuse, option):
    assert f"{option.split('=')[0]} compares with a network; expected --against NETWORK" in refuse(runs, option)


@pytest.mark.slow
def test_real_runs_are_found(tmp_path, monkeypatch, show):
    monkeypatch.setattr("sys.argv", ["videoctx"])
    monkeypatch.chdir(tmp_path)
    manifest = make_set(tmp_path, num_videos={"train": 3, "val": 1, "test": 3})
    runs = Path("runs")  # as most people name it: relative to where they are
    config = write_config(tmp_path / "config.yaml", manifest=manifest, runs=runs)
    for seed in (3, 4):
        name = f"--trainer.logger.init_args.name=net/seed_{seed}"
        arguments = ["-c", str(config), "--trainer.max_epochs=1", f"--seed_everything={seed}"]
        main(["fit", *arguments, f"{name}/fit"])
        checkpoint = runs / "net" / f"seed_{seed}" / "fit" / "checkpoints" / "last.ckpt"
        main(["test", *arguments, f"{name}/test", f"--ckpt_path={checkpoint}"])
    found = [json.loads(file.read_text())["video_top1"] for file in runs.rglob("results.json")]
    assert len(found) == 2
    ((name, _, num_runs, mean, *_),) = show(runs)
    assert (name, num_runs, mean) == ("net", "2", f"{sum(found) / 2:.1%}")
