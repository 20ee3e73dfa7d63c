"""Tests that videos stored as images go through training and test as the videos do, with the same frame numbers."""

import csv
import shutil
import tarfile
from pathlib import Path

import fsspec
import numpy as np
import pytest
import torch
from lightning.pytorch import Callback

from tests.data.test_sampling_options import AS_PIXELS, numbers
from tests.each_case import each_case
from tests.frame_folders import tar_of, write_images, zip_of
from tests.http_server import FileServer
from tests.numbered import read_number
from tests.something_set import LENGTHS, make_something
from tests.tiny_set import write_config
from videoctx.cli import main
from videoctx.data.datamodule import VideoDataModule
from videoctx.data.decoding.containers import VideoDecodeError
from videoctx.data.loading.one_video import read_one_video
from videoctx.data.settings import ClipSettings, LoadingSettings, TestSettings, TrainSettings
from videoctx.data.storage.local_files import LocalFiles

STORED = {"folder": "{}", "zip": "{}.zip", "tar": "{}.tar"}


@pytest.fixture(scope="module")
def something(tmp_path_factory):
    """A folder with a manifest of numbered videos, `manifest.csv`, and one of their frames as each of `STORED`."""
    folder = tmp_path_factory.mktemp("something")
    manifest = make_something(folder)
    for number, num_frames in enumerate((*LENGTHS["train"], *LENGTHS["validation"]), start=1):
        images = write_images(folder / str(number), num_frames, name="{:05}.jpg")
        zip_of(images)
        tar_of(images)
    with manifest.open() as file:
        rows = list(csv.DictReader(file))
    for how, name in STORED.items():
        write_rows(folder / f"{how}.csv", [row | {"path": name.format(Path(row["path"]).stem)} for row in rows])
    return folder


def write_rows(path, rows, fps="12"):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*rows[0], "fps"])
        writer.writeheader()
        writer.writerows(row | {"fps": fps} for row in rows)


def data_of(manifest, *, num_workers=0, root=None, **clips):
    return VideoDataModule(
        str(manifest),
        root=root,
        batch_size=4,
        test_split="val",
        clips=ClipSettings(**({"clip_len": 8, "sampling": "segments", "grid": "tsm"} | AS_PIXELS | clips)),
        train=TrainSettings(crop_size_px=48, fixed_size_px=(48, 48), flip_probability=0.0, clips_per_video=4),
        test=TestSettings(views=(2, 1), fixed_size_px=(48, 48), crop_size_px=48, batch_size=3),
        loading=LoadingSettings(num_workers=num_workers),
    )


def clips_of(data):
    """Return the frame numbers of the training clips and of the test views, and the failures of both."""
    (train,), (test,) = list(data.train_dataloader()), list(data.test_dataloader())
    data.teardown("")
    by_row = dict(zip(train.rows, np.split(np.array(numbers(train.clips)), len(train.rows)), strict=True))
    in_order = [by_row[row].tolist() for row in sorted(by_row)]
    return in_order, numbers(test.clips[:]), [len(batch.failures) for batch in (train, test)]


@each_case(
    "clips",
    [{}, {"grid": "videoctx"}, {"sampling": "dense", "grid": None, "frame_interval": 2, "target_fps": 6.0}],
)
def test_training_and_test_take_the_frames_of_the_videos(something, clips):
    expected = clips_of(data_of(something / "manifest.csv", **clips))
    for how in STORED:
        assert clips_of(data_of(something / f"{how}.csv", **clips)) == expected, how
    assert expected[2] == [0, 0]


class KeepNumbers(Callback):
    """Writes the numbers that the frames of each video show, by path, to `seen.pt` in `folder`."""

    def __init__(self, folder: str) -> None:
        self.file, self.seen = Path(folder, "seen.pt"), {}

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):  # noqa: ARG002
        data = trainer.datamodule
        records = data.loaders["train" if trainer.training else "test"].dataset.records
        for video, clip in zip(batch.video.tolist(), numbers(batch.clips[:]), strict=True):
            record = records[batch.rows[video]]
            self.seen.setdefault(Path(record.path).name, []).append(clip)
        torch.save(self.seen, self.file)

    on_test_batch_end = on_train_batch_end


def test_fit_and_test_by_the_command_line_take_the_frames_of_the_published_formula(something, tmp_path, monkeypatch):
    """Videos, folders and archives of one manifest, as of Something-Something: TSM's segments of eight frames."""
    rows = []
    for how in ("manifest", *STORED):
        with (something / f"{how}.csv").open() as file:
            rows += [row | {"fps": "" if how == "manifest" else "12"} for row in csv.DictReader(file)]
    with (something / "mixed.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    config = write_config(tmp_path / "config.yaml", manifest=something / "mixed.csv", runs=tmp_path)
    monkeypatch.setattr("sys.argv", ["videoctx"])

    def seen(command, *options):
        keep = [
            "--trainer.callbacks+=tests.data.test_frame_folder_clips.KeepNumbers",
            f"--trainer.callbacks.folder={tmp_path}",
        ]
        frames = ["--data.clips.clip_len=8", "--data.clips.sampling=segments", "--data.clips.grid=tsm"]
        pixels = ["--data.clips.mean=[0,0,0]", "--data.clips.std=[1,1,1]", "--data.train.flip_probability=0"]
        size = [f"--data.{stage}.fixed_size_px=[48,48]" for stage in ("train", "test")]
        size += [f"--data.{stage}.crop_size_px=48" for stage in ("train", "test")]
        main([command, "-c", str(config), *frames, *pixels, *size, *keep, *options])
        return torch.load(tmp_path / "seen.pt")

    train = seen("fit", "--data.val_split=null", "--data.batch_size=4", "--trainer.max_epochs=1")
    checkpoint = tmp_path / "run" / "checkpoints" / "last.ckpt"
    test = seen("test", "--data.test_split=val", "--data.test.views=[1,1]", "--ckpt_path", str(checkpoint))
    for stage, found in (("train", train), ("validation", test)):
        first = 1 if stage == "train" else 1 + len(LENGTHS["train"])
        assert len(found) == 4 * len(LENGTHS[stage])
        for number, num_frames in enumerate(LENGTHS[stage], start=first):
            tick = num_frames / 8
            for name in ("{}.mp4", *STORED.values()):
                (clip,) = found[name.format(number)]
                if stage == "validation":
                    assert clip == [int(tick / 2 + tick * segment) for segment in range(8)], name
                elif num_frames >= 8:
                    whole = num_frames // 8  # TSM's training: a random frame of each segment of whole frames
                    assert [frame // whole for frame in clip] == list(range(8)), name


def test_trimmed_clips_take_the_frames_of_the_videos(something):
    found = []
    for path in ("1.mp4", "1", "1.tar"):
        rows = [
            {"path": path, "label": "Pushing something", "split": split, "start_seconds": start, "end_seconds": end}
            for split, start, end in [("train", 1.5, 3), ("train", 2, ""), ("val", "", 2.25), ("val", 9, 10)]
        ]
        write_rows(something / "trimmed.csv", rows)
        data = data_of(something / "trimmed.csv")
        (batch,) = list(data.test_dataloader())
        found.append((numbers(batch.clips[:])[:2], [failure.reason for failure in batch.failures.values()]))
        train = np.array(numbers(next(iter(data.train_dataloader())).clips))
        assert train.min() >= 18
    assert found[0] == found[1] == found[2]
    assert max(map(max, found[0][0])) < 27
    assert found[0][1] == ["no frame from 9 s to 10 s: the video lasts 5.00 s"]


def test_images_that_fail_are_named_and_counted_as_videos_are(something, tmp_path):
    shutil.copytree(something / "5", tmp_path / "5")
    shutil.copytree(something / "6", tmp_path / "6")
    (tmp_path / "5" / "00030.jpg").unlink()
    (tmp_path / "6" / "00012.jpg").write_bytes((something / "6" / "00012.jpg").read_bytes()[:-40])
    rows = [
        {"path": path, "label": "Pushing something", "split": split} for path in "567" for split in ("val", "train")
    ]
    write_rows(tmp_path / "manifest.csv", rows)
    shutil.copy(something / "classes.txt", tmp_path)
    shutil.copytree(something / "7", tmp_path / "7")
    for num_workers in (0, 1):
        data = data_of(tmp_path / "manifest.csv", num_workers=num_workers)
        (batch,) = list(data.test_dataloader())
        data.teardown("")
        assert {Path(failure.path).name: failure.reason for failure in batch.failures.values()} == {
            "5": "the images from 1 to 60 lack 1 (30); expected consecutive numbers",
            "6": "00012.jpg: damaged: image file is truncated (3 bytes not processed)",
        }


def test_archives_are_read_from_urls_and_shards_and_folders_at_urls_are_refused(something, tmp_path):
    files = LocalFiles(tmp_path / "cache", num_attempts=1)
    with tarfile.open(tmp_path / "shard.tar", "w") as shard:
        shard.add(something / "3.zip", "3.zip")
    with FileServer({name: (something / name).read_bytes() for name in ("3.zip", "3.tar")}) as server:
        for path in (server.url("3.zip"), server.url("3.tar"), f"tar://3.zip::{tmp_path / 'shard.tar'}"):
            with files.local_copy(path) as local:
                read = read_one_video(
                    local, lambda video: np.array([[0, video.num_frames - 1, video.fps]], int), fps=12.0
                )
            first, twelfth, last = read.batch.videos[0].frames.numpy()
            assert [read_number(first), read_number(twelfth), read_number(last)] == [0, 12, 23]
    fsspec.filesystem("memory").pipe("/set/3/1.jpg", b"x")
    with (
        pytest.raises(VideoDecodeError, match=r"cannot be fetched: it is a folder; expected a file, such as a .zip"),
        files.local_copy("memory://set/3"),
    ):
        pass
