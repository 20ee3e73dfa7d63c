"""A fraction of the training videos: the same share of every class, nested, and by the seed alone."""

from itertools import pairwise
from pathlib import Path

import pytest

from videoctx.data.annotations import VideoRecord, VideoRecords, write_manifest
from videoctx.data.annotations.video_fraction import fraction_of_videos
from videoctx.data.datamodule import VideoDataModule
from videoctx.data.settings import LoadingSettings, TrainSettings

CLASSES = ["clap", "run", "wave"]
COUNTS = (40, 10, 5)


def records() -> VideoRecords:
    rows = [VideoRecord(f"{name}{n}.mp4", c, "train") for c, name in enumerate(CLASSES) for n in range(COUNTS[c])]
    return VideoRecords.of(rows[::2] + rows[1::2])  # classes are mixed


def taken(fraction: float, *, seed: int = 0) -> list[str]:
    part = fraction_of_videos(records(), fraction, class_names=CLASSES, multi_label=False, seed=seed)
    return list(part.paths())


def test_every_class_has_its_share_rounded_half_up():
    for fraction, counts in ((0.1, [4, 1, 1]), (0.25, [10, 3, 1]), (0.5, [20, 5, 3]), (1.0, list(COUNTS))):
        part = fraction_of_videos(records(), fraction, class_names=CLASSES, multi_label=False, seed=0)
        assert part.class_counts(3) == counts, fraction


def test_fractions_are_nested_in_the_order_of_the_manifest():
    everything, fractions = list(records().paths()), [taken(fraction) for fraction in (0.1, 0.25, 0.5, 0.9, 1)]
    for smaller, larger in pairwise(fractions):
        assert set(smaller) < set(larger)
    for part in fractions:
        assert part == [path for path in everything if path in set(part)]


def test_the_choice_follows_from_the_seed():
    assert taken(0.25) == taken(0.25) != taken(0.25, seed=1)


def test_a_class_without_a_video_is_refused_by_name():
    line = (
        "train.video_fraction 0.04 leaves no training video of 2 of 3 classes, 'run' .10 videos., 'wave' .5 videos.;"
        " expected 0.1 or more"
    )
    with pytest.raises(ValueError, match=line):
        taken(0.04)
    assert len(taken(0.1)) == 6
    for value in (0, -1, 1.5):
        with pytest.raises(ValueError, match=f"train.video_fraction is {value}; expected more than 0, up to 1"):
            TrainSettings(video_fraction=value)


def test_videos_of_several_classes_are_taken_from_all_of_them():
    rows = [VideoRecord(f"{n}.mp4", (n % 2 == 0, n % 3 == 0), "train") for n in range(60)]

    def part(fraction: float) -> VideoRecords:
        named = {"class_names": ["a", "b"], "multi_label": True}
        return fraction_of_videos(VideoRecords.of(rows), fraction, seed=0, **named)

    assert len(part(0.25)) == 15
    assert part(0.25)[0].label == rows[int(Path(part(0.25)[0].path).stem)].label
    with pytest.raises(ValueError, match="expected a larger one"):
        part(0.01)


def test_a_data_module_trains_on_the_fraction_alone(tmp_path):
    rows = [
        {"path": f"{split}_{label}{number}.mp4", "label": label, "split": split}
        for split, count in (("train", 4), ("test", 3))
        for label in ("clap", "wave")
        for number in range(count)
    ]
    write_manifest(tmp_path / "manifest.csv", rows, ["clap", "wave"])
    train = TrainSettings(crop_size_px=16, short_side_px=(16, 20), video_fraction=0.5)
    data = VideoDataModule(str(tmp_path / "manifest.csv"), train=train, loading=LoadingSettings(num_workers=0))
    data.train_dataloader()
    data.test_dataloader()
    card = data.card("train")
    assert (card["num_videos"], card["video_fraction"], data.train_class_counts) == (4, 0.5, [2, 2])
    assert data.card("test")["num_videos"] == 6
