"""Tests of the checks of class names and training videos before a run."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data.test_datamodule import module
from tests.each_case import each_case
from videoctx.data.annotations import VideoRecord
from videoctx.data.training_labels import check_flip, mirror_classes, warn_of_untrained_classes

LABELS = Path(__file__).parents[3] / "shared" / "annotations" / "labels"


@each_case(
    ("names", "pairs"),
    [
        (["turn_left", "turn_right", "stop"], {"turn_left": "turn_right", "turn_right": "turn_left"}),
        (["Swiping Left", "Swiping Right"], {"Swiping Left": "Swiping Right", "Swiping Right": "Swiping Left"}),
        (["left to right", "right to left"], {"left to right": "right to left", "right to left": "left to right"}),
        (["Clockwise", "Counterclockwise"], {"Clockwise": "Counterclockwise", "Counterclockwise": "Clockwise"}),
        (
            ["spin anticlockwise", "Spin Clockwise"],
            {"spin anticlockwise": "Spin Clockwise", "Spin Clockwise": "spin anticlockwise"},
        ),
        (["counter-clockwise", "clockwise"], {"counter-clockwise": "clockwise", "clockwise": "counter-clockwise"}),
        (["pull it right out", "bright", "wave left"], {}),
    ],
)
def test_mirrored_classes_by_name(names, pairs):
    assert mirror_classes(names) == pairs


NAMES = st.lists(st.sampled_from(["left", "Right", "bright ", "clockwise", "anticlockwise ", "to ", "up"]), max_size=4)


@given(st.sets(NAMES.map("".join)))
def test_mirrored_classes_are_mutual(names):
    partners = mirror_classes(sorted(names))
    assert {other: name for name, other in partners.items()} == partners


@each_case(
    ("label_map", "num_classes"),
    [("sthv2_label_map.txt", 6), ("jester_label_map.txt", 6), ("kinetics_label_map_k400.txt", 0)],
)
def test_number_of_mirrored_classes_in_published_sets(label_map, num_classes):
    if not (LABELS / label_map).is_file():
        pytest.skip(f"{label_map} is not there")
    assert len(mirror_classes((LABELS / label_map).read_text().splitlines())) == num_classes


def test_flip_that_changes_the_class_is_refused():
    names = ["go left", "go right", "stop"]
    check_flip(names, flip_probability=0.0)
    check_flip(["go left", "stop"], flip_probability=0.5)
    with pytest.raises(ValueError, match=r"flip_probability is 0\.5") as caught:
        check_flip(names, flip_probability=0.5)
    assert "a flipped clip of 'go left' shows 'go right'" in str(caught.value)
    assert "2 of 3 classes" in str(caught.value)
    assert "expected flip_labels swap, which trains it as that, or flip_probability 0" in str(caught.value)


def test_class_trained_by_flipped_clips_is_not_warned_of(caplog):
    records = [VideoRecord("0.mp4", 0, "train")]
    warn_of_untrained_classes(records, ["left", "right", "run"], split="train", flipped_to=[1, 0, 2])
    (message,) = caplog.messages
    assert "1 of 3 classes have no video in split 'train', so they are not learned: run" in message


@each_case(
    ("labels", "message_part"),
    [
        ([0, 1, 2], None),
        ([0, 0], "2 of 3 classes have no video in split 'train', so they are not learned: run, wave"),
        ([(True, False, False), (False, True, False)], "1 of 3 classes have no video in split 'train'"),
        ([(True, False, True), (False, True, False)], None),
    ],
)
def test_classes_without_a_video_are_logged(labels, message_part, caplog):
    caplog.clear()
    records = [VideoRecord(f"{index}.mp4", label, "train") for index, label in enumerate(labels)]
    warn_of_untrained_classes(records, ["clap", "run", "wave"], split="train")
    assert [message_part in message for message in caplog.messages] == ([True] if message_part else [])


# ---------------------------------------------------------------- whether a checkpoint's videos are those of the run


def training_state(manifest):
    """Return the state of a data module after an epoch's end."""
    data = module(manifest)
    data.train_dataloader()
    topology = {"batch_size": 8, "num_ranks": 1, "seed": 0}
    progress = {"epoch": 0, "num_batches": 1, "batches_per_epoch": 1, "accumulate_grad_batches": 1}
    return {**progress, **topology, "train_sha256": data._train_sha256, "multigrid": None}


def resume(manifest, state, **arguments):
    data = module(manifest, **arguments)
    data.load_state_dict(state)
    return data.train_dataloader()


def test_a_run_is_resumed_on_the_same_training_videos_only(video_folder, tmp_path):
    """The folder and the validation videos may differ."""
    header, *rows = video_folder.manifest.read_text().splitlines()
    state = training_state(video_folder.manifest)
    (tmp_path / "classes.txt").write_text((video_folder.manifest.parent / "classes.txt").read_text())

    def write(rows):
        (tmp_path / "manifest.csv").write_text("\n".join([header, *rows]) + "\n")
        return tmp_path / "manifest.csv"

    assert len(resume(write([row for row in rows if "val0" not in row]), state)) == 1
    for change, changed in {"another order": rows[::-1], "one video less": rows[1:]}.items():
        with pytest.raises(ValueError, match="not the videos that the checkpoint was trained on") as caught:
            resume(write(changed), state)
        assert "--model.weights in place of --ckpt_path" in str(caught.value), change


@pytest.mark.slow
def test_a_moved_run_is_resumed_by_the_command(run, refused, place, copy):
    manifest = copy / "manifest.csv"
    options = [f"--data.manifest={manifest}", f"--ckpt_path={place.last}", "--trainer.max_epochs=5"]
    lines = manifest.read_text().splitlines()
    manifest.write_text("\n".join(line for line in lines if "val0" not in line) + "\n")
    assert (run("fit", *options) / "checkpoints" / "last.ckpt").is_file()
    manifest.write_text("\n".join([lines[0], *lines[2:]]) + "\n")
    assert "not the videos that the checkpoint was trained on" in refused("fit", *options)
