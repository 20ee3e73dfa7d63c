"""Training does not stop, whatever a file does to its decoder."""

import csv

import numpy as np
import pytest

from tests.corpus import write_hanging_video
from tests.tiny_runs import column, manifest_of
from videoctx.data.decoding.video_reader import open_video


@pytest.mark.slow  # waits for deadlines
def test_a_video_that_hangs_its_decoder_is_killed_named_and_not_tried_again(run, copy, caplog):
    hanging = write_hanging_video(copy / "hangs.mp4")
    with (copy / "manifest.csv").open("a", newline="") as file:
        csv.writer(file).writerow([hanging.name, "blue_up", "train", "", ""])
    folder = run(
        "fit",
        manifest_of(copy),
        "--data.loading.decoder=decord",  # which the container's probe result would keep away from it
        "--data.loading.deadline_seconds=2",
        "--data.loading.num_workers=2",
        "--data.train.max_failed_fraction=0.2",
        "--data.batch_size=1",
        "--trainer.max_epochs=3",
    )
    (line,) = [line for line in caplog.messages if str(hanging) in line]
    assert "took longer than 2 s; its process was killed" in line
    assert len(set(column(folder, "train/loss"))) == 3 * 6  # the other videos, in each epoch


def test_the_probe_result_keeps_it_away_from_that_decoder(tmp_path):
    hanging = write_hanging_video(tmp_path / "hangs.mp4", num_frames=300)
    with open_video(str(hanging)) as reader:
        assert reader.num_frames == 1
        assert reader.read(np.array([0])).shape == (1, 80, 96, 3)
