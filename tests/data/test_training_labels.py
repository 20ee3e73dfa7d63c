"""What the classes of a training set say about a run before it begins."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from videoctx.data.annotations import VideoRecord
from videoctx.data.training_labels import check_flip, mirror_classes, warn_of_untrained_classes

LABELS = Path(__file__).parents[3] / "shared" / "annotations" / "labels"


@pytest.mark.parametrize(
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
def test_classes_that_a_flip_exchanges(names, pairs):
    assert mirror_classes(names) == pairs


NAMES = st.lists(st.sampled_from(["left", "Right", "bright ", "clockwise", "anticlockwise ", "to ", "up"]), max_size=4)


@given(st.sets(NAMES.map("".join)))
def test_a_class_is_its_partner_s_partner(names):
    partners = mirror_classes(sorted(names))
    assert {other: name for name, other in partners.items()} == partners


@pytest.mark.parametrize(
    ("label_map", "num_classes"),
    [("sthv2_label_map.txt", 6), ("jester_label_map.txt", 6), ("kinetics_label_map_k400.txt", 0)],
)
def test_published_classes(label_map, num_classes):
    if not (LABELS / label_map).is_file():
        pytest.skip(f"{label_map} is not there")
    assert len(mirror_classes((LABELS / label_map).read_text().splitlines())) == num_classes


def test_a_flip_that_changes_the_class_is_refused():
    names = ["go left", "go right", "stop"]
    check_flip(names, flip_probability=0.0)
    check_flip(["go left", "stop"], flip_probability=0.5)
    with pytest.raises(ValueError, match=r"flip_probability is 0\.5") as caught:
        check_flip(names, flip_probability=0.5)
    assert "a flipped clip of 'go left' shows 'go right'" in str(caught.value)
    assert "2 of 3 classes" in str(caught.value)
    assert "expected flip_labels swap, which trains it as that, or flip_probability 0" in str(caught.value)


def test_flipped_clips_show_the_partner_too(caplog):
    records = [VideoRecord("0.mp4", 0, "train")]
    warn_of_untrained_classes(records, ["left", "right", "run"], split="train", flipped_to=[1, 0, 2])
    (message,) = caplog.messages
    assert "1 of 3 classes have no video in split 'train', so they are not learned: run" in message


@pytest.mark.parametrize(
    ("labels", "message_part"),
    [
        ([0, 1, 2], None),
        ([0, 0], "2 of 3 classes have no video in split 'train', so they are not learned: run, wave"),
        ([(True, False, False), (False, True, False)], "1 of 3 classes have no video in split 'train'"),
        ([(True, False, True), (False, True, False)], None),
    ],
)
def test_classes_without_a_video_are_named(labels, message_part, caplog):
    records = [VideoRecord(f"{index}.mp4", label, "train") for index, label in enumerate(labels)]
    warn_of_untrained_classes(records, ["clap", "run", "wave"], split="train")
    assert [message_part in message for message in caplog.messages] == ([True] if message_part else [])


@pytest.mark.parametrize("change", ["order", "fewer"])
def test_a_run_is_resumed_on_its_own_videos_only(refused, place, copy, change):
    lines = (copy / "manifest.csv").read_text().splitlines()
    lines = [lines[0], *reversed(lines[1:])] if change == "order" else [lines[0], *lines[2:]]
    (copy / "manifest.csv").write_text("\n".join(lines) + "\n")
    line = refused(
        "fit", f"--data.manifest={copy / 'manifest.csv'}", f"--ckpt_path={place.last}", "--trainer.max_epochs=5"
    )
    assert "not the videos that the checkpoint was trained on" in line
    assert "--model.weights in place of --ckpt_path" in line


def test_a_run_is_resumed_where_its_videos_have_moved(run, place, copy):
    """And where validation has other videos."""
    manifest = copy / "manifest.csv"
    lines = manifest.read_text().splitlines()
    manifest.write_text("\n".join(line for line in lines if "val0" not in line) + "\n")
    more = ["--trainer.max_epochs=5", f"--ckpt_path={place.last}"]
    folder = run("fit", f"--data.manifest={manifest}", *more)
    assert (folder / "checkpoints" / "last.ckpt").is_file()
