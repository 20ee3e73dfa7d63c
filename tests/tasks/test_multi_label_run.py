"""Commands on videos that show several classes."""

import csv

import pytest

from tests.tiny_runs import column, result_of, scores_of

CELLS = {"train": ["blue_up|red_still", "green_down", "red_still", ""], "val": ["blue_up|green_down", "red_still"]}


@pytest.fixture
def several(copy):
    """The option that names a manifest of several labels a video."""
    with (copy / "manifest.csv").open() as file:
        header, *rows = csv.reader(file)
    position, split = header.index("label"), header.index("split")
    for index, row in enumerate(rows):
        cells = CELLS.get(row[split], CELLS["train"])
        row[position] = cells[index % len(cells)]
    with (copy / "several.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return f"--data.manifest={copy / 'several.csv'}"


def test_training_and_test_of_several_classes(run, several, refused):
    trained = run("fit", several, "--data.multi_label=true", name="-fit")
    best = max(float(value) for value in column(trained, "val/video_map"))
    assert 0 < best <= 1
    assert not column(trained, "train/clip_top1")
    checkpoint = ["--ckpt_path", trained / "checkpoints" / "best.ckpt"]
    tested = run("test", several, "--data.multi_label=true", *checkpoint, name="-test")
    assert 0 < result_of(tested)["video_map"] <= 1
    assert {tuple(row["labels"]) for row in scores_of(tested)} <= {(), (0, 2), (1,), (2,)}
    assert "line 2: label 'blue_up|red_still' is not one of" in refused("fit", several)


def test_the_model_s_own_flag_is_not_set(refused, tmp_path):
    (tmp_path / "config.yaml").write_text("model: {multi_label: true}\n")
    assert "model.multi_label follows from data.multi_label" in refused("fit", "-c", tmp_path / "config.yaml")
