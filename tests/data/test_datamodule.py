"""Tests of the data module, from a manifest to batches: with a fake Trainer, with a real one, and without one."""

import logging
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer

from tests.each_case import each_case
from videoctx.batch import ClipBatch, View
from videoctx.data.annotations import AnnotationError, write_manifest
from videoctx.data.datamodule import VideoDataModule
from videoctx.data.decoding.video_reader import open_video
from videoctx.data.failures import TooManyFailuresError
from videoctx.data.sampling.multigrid import Multigrid
from videoctx.data.settings import ClipSettings, GpuDecodingSettings, LoadingSettings, TestSettings, TrainSettings

CLIPS = ClipSettings(clip_len=4, frame_interval=2)
TRAIN = TrainSettings(crop_size_px=16, short_side_px=(16, 20))
TEST = TestSettings(views=(3, 3), crop_size_px=16, short_side_px=20)
LOADING = LoadingSettings(num_workers=0)


def module(manifest, *, clips=None, train=None, test=None, loading=None, **arguments):
    """Return a data module of small clips. A dict per group changes settings of that group."""
    return VideoDataModule(
        str(manifest),
        clips=replace(CLIPS, **(clips or {})),
        train=replace(TRAIN, **(train or {})),
        test=replace(TEST, **(test or {})),
        loading=replace(LOADING, **(loading or {})),
        **arguments,
    )


def batches(data, stage, *, num_ranks=1, rank=0):
    """Return the batches that the network of one rank gets in an epoch, with a fake Trainer."""
    data.trainer = SimpleNamespace(
        world_size=num_ranks,
        global_rank=rank,
        training=stage == "train",
        validating=stage == "val",
        sanity_checking=False,
        train_dataloader=None,
    )
    loader = getattr(data, f"{stage}_dataloader")()
    data.trainer.train_dataloader = loader
    return [data.on_after_batch_transfer(batch, 0) for batch in loader]


@pytest.fixture
def mixed_manifest(tmp_path, video_folder, broken_files):
    """A function that writes a manifest of good and broken training videos, one validation and one test video."""

    def write(*, num_good, broken=(), **more):
        good = [str(video.path) for video in video_folder.videos["train"]]
        paths = [good[index % len(good)] for index in range(num_good)] + [str(broken_files[what]) for what in broken]
        rows = [{"path": path, "label": "clap", "split": "train"} for path in paths]
        rows += [
            {"path": video_folder.videos[split][0].path, "label": "wave", "split": split} for split in ("val", "test")
        ]
        write_manifest(tmp_path / "manifest.csv", [row | more for row in rows], ["clap", "wave"])
        return tmp_path / "manifest.csv"

    return write


# ---------------------------------------------------------------- classes, paths and splits


def test_class_names_are_read_from_the_class_file(video_folder, tmp_path):
    assert module(video_folder.manifest).class_names == ["clap", "wave"]
    (tmp_path / "names.txt").write_text("wave\nclap\njump\n")
    other = module(video_folder.manifest, class_file=str(tmp_path / "names.txt"))
    assert other.class_names == ["wave", "clap", "jump"]
    assert [label for batch in batches(other, "val") for label in batch.labels.tolist()] == [1, 0]


def test_relative_paths_start_from_root(video_folder, tmp_path):
    moved = tmp_path / "manifest.csv"
    moved.write_bytes(video_folder.manifest.read_bytes())
    arguments = {"class_file": str(video_folder.manifest.parent / "classes.txt")}
    here = batches(module(moved, **arguments), "val")
    there = batches(module(moved, root=str(video_folder.manifest.parent), **arguments), "val")
    assert [len(batch.failures) for batch in here] == [1, 1]
    assert [len(batch.failures) for batch in there] == [0, 0]


@each_case(
    ("arguments", "words"),
    [
        ({"batch_size": 0}, "batch_size is 0"),
        ({"test": {"batch_size": 0}}, r"test\.batch_size is 0"),
        ({"test": {"val_views": (0, 1)}}, r"test\.val_views is \[0, 1\]"),
        ({"test": {"views": (10, 0)}}, r"test\.views is \[10, 0\]"),
        ({"train": {"max_failed_fraction": 1.1}}, "max_failed_fraction is 1.1"),
        ({"clips": {"clip_len": 0}}, "clip_len is 0"),
        ({"clips": {"short_videos": "loop"}}, "'loop'"),
        ({"train": {"crop_size_px": 32}}, "crop_size_px 32"),
        ({"test": {"crop_size_px": 32}}, r"test\.short_side_px is 20 with crop_size_px 32"),
    ],
)
def test_bad_settings_are_refused_by_the_constructor(video_folder, arguments, words):
    with pytest.raises(ValueError, match=words):
        module(video_folder.manifest, **arguments)


@each_case("stage", ["train", "val", "test"])
def test_an_empty_manifest_is_refused(tmp_path, stage):
    write_manifest(tmp_path / "manifest.csv", [], ["clap"])
    with pytest.raises(AnnotationError, match="no rows"):
        batches(module(tmp_path / "manifest.csv"), stage)


@each_case("stage", ["train", "val", "test", "predict"])
def test_an_unknown_split_is_refused(video_folder, stage):
    split = "test_split" if stage == "predict" else f"{stage}_split"
    with pytest.raises(AnnotationError, match=r"'held out'.*test, train, val"):
        batches(module(video_folder.manifest, **{split: "held out"}), stage)


def test_an_unknown_label_is_refused(video_folder, tmp_path):
    (tmp_path / "names.txt").write_text("clap\njump\n")
    with pytest.raises(AnnotationError, match=r"line 3.*'wave'"):
        batches(module(video_folder.manifest, class_file=str(tmp_path / "names.txt")), "train")


def test_a_missing_class_file_is_refused(tmp_path):
    with pytest.raises(AnnotationError, match=r"manifest\.csv: cannot read"):
        module(tmp_path / "manifest.csv")
    (tmp_path / "manifest.csv").write_text("path,label,split\n")
    with pytest.raises(AnnotationError, match=r"classes\.txt"):
        module(tmp_path / "manifest.csv")


def test_only_prediction_works_without_labels(mixed_manifest):
    data = module(mixed_manifest(num_good=1, label=""))
    for stage in ("train", "val", "test"):
        with pytest.raises(AnnotationError, match="label is empty"):
            batches(data, stage)
    (batch,) = batches(data, "predict")
    assert batch.labels.tolist() == [-1]


def test_no_validation_split_means_no_validation(video_folder):
    assert module(video_folder.manifest, val_split=None).val_dataloader() == []


# ---------------------------------------------------------------- batches


def test_a_training_batch_holds_videos_of_several_sizes(video_folder):
    (batch,) = batches(module(video_folder.manifest, batch_size=5), "train")
    videos = video_folder.videos["train"]
    assert len({(video.width, video.height) for video in videos}) == 4
    assert isinstance(batch, ClipBatch)
    assert batch.clips.shape == (5, 3, 4, 16, 16)
    assert batch.clips.dtype == torch.float32
    assert sorted(batch.rows) == batch.video.tolist() == [0, 1, 2, 3, 4]
    assert batch.labels.tolist() == [row % 2 for row in batch.rows]
    assert batch.paths == [str(videos[row].path) for row in batch.rows]
    assert batch.failures == {}
    assert batch.views_expected.tolist() == [1] * 5


@each_case(("batch_size", "sizes"), [(2, [2, 2]), (4, [4]), (5, [5]), (8, [5])])
def test_incomplete_training_batch_is_dropped_unless_it_is_the_only_one(video_folder, batch_size, sizes):
    assert [len(batch) for batch in batches(module(video_folder.manifest, batch_size=batch_size), "train")] == sizes


@each_case("eval_batch_size", [1, 2, 3])
@each_case("stage", ["test", "predict"])
def test_test_video_has_clips_times_crops_views(video_folder, stage, eval_batch_size):
    seen = batches(module(video_folder.manifest, test={"batch_size": eval_batch_size}), stage)
    assert [len(batch) for batch in seen] == {1: [1, 1, 1], 2: [2, 1], 3: [3]}[eval_batch_size]
    assert [row for batch in seen for row in batch.rows] == [0, 1, 2]
    # clips span 7 frames of 21, of 15 and of 5
    starts = {0: [0, 7, 14], 1: [0, 4, 8], 2: [0, 0, 0]}
    for batch in seen:
        assert batch.views_expected.tolist() == [9] * len(batch)
        assert batch.video.tolist() == [position for position in range(len(batch)) for _ in range(9)]
        assert batch.views == [View(start, crop) for row in batch.rows for start in starts[row] for crop in range(3)]
        assert batch.clips[0 : len(batch.clips)].shape == (9 * len(batch), 3, 4, 16, 16)


def test_validation_has_its_own_number_of_views(video_folder):
    seen = batches(module(video_folder.manifest, test={"val_views": (2, 1)}), "val")
    assert [batch.views_expected.tolist() for batch in seen] == [[2], [2]]
    assert [batch.views for batch in seen] == [[View(0, 0), View(7, 0)], [View(0, 0), View(11, 0)]]


def test_test_videos_are_split_among_ranks(video_folder):
    rows = [
        [batch.rows for batch in batches(module(video_folder.manifest), "test", num_ranks=2, rank=rank)]
        for rank in (0, 1)
    ]
    assert rows == [[[0], [2]], [[1], []]]


@each_case("stage", ["val", "test"])
def test_evaluation_counts_failed_videos(mixed_manifest, stage):
    data = module(
        mixed_manifest(num_good=3, broken=["empty", "truncated"]), test={"batch_size": 5}, **{f"{stage}_split": "train"}
    )
    (batch,) = batches(data, stage)
    views = {"val": 1, "test": 9}[stage]
    assert len(batch) == 5
    assert batch.views_expected.tolist() == [views] * 5
    assert batch.video.tolist() == [position for position in range(3) for _ in range(views)]
    assert sorted(batch.failures) == [3, 4]
    assert data.failures.by_row == {}


def test_training_videos_are_split_among_ranks(video_folder):
    rows = [
        [row for batch in batches(module(video_folder.manifest), "train", num_ranks=2, rank=rank) for row in batch.rows]
        for rank in (0, 1)
    ]
    assert [len(rows_of_rank) for rows_of_rank in rows] == [3, 3]
    assert {*rows[0], *rows[1]} == {0, 1, 2, 3, 4}


# ---------------------------------------------------------------- every setting changes something


@each_case(
    ("stage", "changed"),
    [
        ("train", {"clips": {"clip_len": 3}}),
        ("train", {"clips": {"frame_interval": 1}}),
        ("train", {"clips": {"short_videos": "repeat_last"}}),  # the last video is shorter than a clip
        ("train", {"train": {"crop_size_px": 15}}),
        ("train", {"train": {"short_side_px": (20, 24)}}),
        ("train", {"train": {"flip_probability": 1.0}}),
        ("train", {"train": {"flip_probability": 0.0}}),
        ("train", {"clips": {"mean": (0.5, 0.456, 0.406)}}),
        ("train", {"clips": {"std": (0.229, 0.224, 0.25)}}),
        ("train", {"seed": 1}),
        ("test", {"clips": {"clip_len": 3}}),
        ("test", {"clips": {"frame_interval": 1}}),
        ("test", {"clips": {"short_videos": "repeat_last"}}),
        ("test", {"test": {"crop_size_px": 15}}),
        ("test", {"test": {"short_side_px": 24}}),
        ("test", {"clips": {"mean": (0.5, 0.456, 0.406)}}),
        ("test", {"clips": {"std": (0.229, 0.224, 0.25)}}),
    ],
)
def test_every_setting_changes_the_network_input(video_folder, stage, changed):
    def clips_by_row(**arguments):
        arguments["test"] = {"batch_size": 3} | arguments.get("test", {})
        (batch,) = batches(module(video_folder.manifest, batch_size=5, **arguments), stage)
        clips, rows = batch.clips[0 : len(batch.clips)], torch.tensor(batch.rows)[batch.video]
        return clips[rows.argsort(stable=True)]

    usual = clips_by_row()
    assert torch.equal(usual, clips_by_row())
    assert not torch.equal(usual, clips_by_row(**changed))


def test_the_seed_changes_the_training_order(video_folder):
    orders = [batches(module(video_folder.manifest, batch_size=5, seed=seed), "train")[0].rows for seed in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2]


@each_case("decoder", ["pyav", "auto"])
@each_case("stage", ["train", "val"])
def test_videos_are_decoded_by_the_chosen_decoder(video_folder, monkeypatch, stage, decoder):
    asked = set()

    def record(path, decoder, probe_result, **options):
        asked.add((decoder, options["short_side_px"]))
        return open_video(path, decoder, probe_result, **options)

    monkeypatch.setattr("videoctx.data.loading.dataset.open_video", record)
    batches(module(video_folder.manifest, loading={"decoder": decoder}, train={"decoded_short_side_px": 24}), stage)
    assert asked == {(decoder, 24 if stage == "train" else None)}  # evaluation sees the pixels as they are stored


def test_the_card_of_a_training_states_where_and_how_frames_are_decoded(video_folder):
    for short_side_px, gpu, share in ((24, GpuDecodingSettings(share=0.5), 0.5), (None, None, 0.0)):
        data = module(video_folder.manifest, train={"decoded_short_side_px": short_side_px})
        data.train_dataloader()
        data.loading = replace(data.loading, gpu_decoding=gpu)
        card = data.card("train")
        assert (card["decoded_short_side_px"], card["share_decoded_on_gpu"]) == (short_side_px, share)


def test_training_decodes_planes_into_the_same_clips(video_folder):
    made = {}
    for frames in (None, "yuv", "rgb"):
        data = module(video_folder.manifest, loading={"frames": frames})
        made[frames] = [batches(data, stage)[0].clips[:] for stage in ("train", "val")]
        assert [data.loaders[stage].dataset.clip_decoder.frames for stage in ("train", "val")] == [
            frames or "yuv",
            frames or "rgb",
        ]
        assert data.card("train")["frames"] == (frames or "yuv")
    for stage in (0, 1):
        torch.testing.assert_close(made["yuv"][stage], made["rgb"][stage], rtol=0, atol=0)
        torch.testing.assert_close(made[None][stage], made["rgb"][stage], rtol=0, atol=0)


# ---------------------------------------------------------------- training videos that cannot be read


def test_a_failed_training_video_is_counted_and_logged_once(mixed_manifest, broken_files, caplog):
    data = module(mixed_manifest(num_good=3, broken=["empty"]), batch_size=4, train={"max_failed_fraction": 0.25})
    with caplog.at_level(logging.WARNING, logger="videoctx.data.failures"):
        for _ in range(2):
            (batch,) = batches(data, "train")
            assert len(batch) == 4
            assert len(batch.clips) == 3
    path = str(broken_files["empty"])
    assert [failure.path for failure in data.failures.by_row.values()] == [path]
    assert [record.levelname for record in caplog.records if path in record.getMessage()] == ["WARNING"]
    assert next(iter(data.failures.by_row.values())).reason in caplog.text


@each_case(
    ("num_good", "broken", "fraction", "ends"),
    [
        (3, ["empty"], 0.25, False),
        (3, ["empty"], 0.24, True),
        (2, ["empty", "text"], 0.5, False),
        (2, ["empty", "text"], 0.49, True),
        (3, ["empty"], 0.0, True),
        (3, [], 0.0, False),
        (0, ["empty", "text"], 1.0, False),
    ],
)
def test_too_many_failures_end_the_run(mixed_manifest, broken_files, num_good, broken, fraction, ends):
    data = module(
        mixed_manifest(num_good=num_good, broken=broken), batch_size=1, train={"max_failed_fraction": fraction}
    )
    if not ends:
        batches(data, "train")
        assert {failure.path for failure in data.failures.by_row.values()} == {
            str(broken_files[what]) for what in broken
        }
        return
    with pytest.raises(TooManyFailuresError) as caught:
        batches(data, "train")
    message = str(caught.value)
    assert f"{len(broken)} of {num_good + len(broken)} training videos" in message
    assert f"{fraction:g}" in message
    assert all(str(broken_files[what]) in message for what in broken)


# ---------------------------------------------------------------- under Lightning


class Seen(LightningModule):
    """A task that keeps its batches, by stage."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.batches = {"train": [], "val": [], "test": [], "predict": []}

    def training_step(self, batch, batch_idx):  # noqa: ARG002
        self.batches["train"].append((self.current_epoch, batch))
        return self.weight * batch.clips.mean()

    def validation_step(self, batch, batch_idx):  # noqa: ARG002
        self.batches["val"].append(batch)

    def test_step(self, batch, batch_idx):  # noqa: ARG002
        self.batches["test"].append(batch)

    def predict_step(self, batch, batch_idx):  # noqa: ARG002
        self.batches["predict"].append(batch)
        return batch.rows

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def small_trainer(tmp_path, **arguments):
    return Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=2,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
        **arguments,
    )


@pytest.mark.parametrize("num_workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_lightning_trains_and_validates_on_it(video_folder, tmp_path, num_workers):
    seen = Seen()
    data = module(video_folder.manifest, batch_size=2, loading={"num_workers": num_workers}, test={"views": (2, 3)})
    small_trainer(tmp_path).fit(seen, datamodule=data)
    epochs = [[batch for epoch, batch in seen.batches["train"] if epoch == number] for number in (0, 1)]
    assert [[len(batch) for batch in batches] for batches in epochs] == [[2, 2], [2, 2]]
    first, second = (
        [(row, view) for b in batches for row, view in zip(b.rows, b.views, strict=True)] for batches in epochs
    )
    assert len({row for row, _ in first}) == len({row for row, _ in second}) == 4
    assert first != second  # another order and other clips in another epoch
    assert len(seen.batches["val"]) == 2 + 2 * 2  # before training, and after each epoch
    assert all(batch.views_expected.tolist() == [1] for batch in seen.batches["val"])


def test_lightning_tests_and_predicts_on_it(video_folder, tmp_path):
    seen, trainer = Seen(), small_trainer(tmp_path)
    data = module(video_folder.manifest, test={"views": (2, 3), "batch_size": 2})
    trainer.test(seen, datamodule=data, verbose=False)
    trainer.predict(seen, datamodule=data)
    for stage in ("test", "predict"):
        assert [batch.rows for batch in seen.batches[stage]] == [[0, 1], [2]]
        assert [batch.views_expected.tolist() for batch in seen.batches[stage]] == [[6, 6], [6]]


def test_lightning_trains_without_validation(video_folder, tmp_path):
    seen = Seen()
    small_trainer(tmp_path).fit(seen, datamodule=module(video_folder.manifest, batch_size=5, val_split=None))
    assert [epoch for epoch, _ in seen.batches["train"]] == [0, 1]
    assert seen.batches["val"] == []


@each_case("fraction", [0.25, 0.2])
def test_lightning_ends_the_run_when_too_many_videos_fail(mixed_manifest, broken_files, tmp_path, fraction):
    seen = Seen()
    data = module(
        mixed_manifest(num_good=3, broken=["truncated"]), batch_size=4, train={"max_failed_fraction": fraction}
    )
    trainer = small_trainer(tmp_path)
    if fraction == 0.25:
        trainer.fit(seen, datamodule=data)
        assert [len(batch.clips) for _, batch in seen.batches["train"]] == [3, 3]
    else:
        with pytest.raises(TooManyFailuresError, match=broken_files["truncated"].name):
            trainer.fit(seen, datamodule=data)
        assert seen.batches["train"] == []


# ---------------------------------------------------------------- without a Trainer


@each_case("stage", ["train", "val", "test", "predict"])
def test_loaders_without_a_trainer_yield_ready_batches(video_folder, stage):
    data = module(video_folder.manifest, batch_size=2)
    loader = getattr(data, f"{stage}_dataloader")()
    batch = next(iter(loader))
    expected = batches(module(video_folder.manifest, batch_size=2), "test" if stage == "predict" else stage)[0]
    assert isinstance(batch, ClipBatch)
    assert batch.rows == expected.rows
    assert torch.equal(batch.clips[:], expected.clips[:])
    assert batch.clips[:].device.type == "cpu"


def test_each_pass_without_a_trainer_is_the_next_epoch(video_folder):
    loader = module(video_folder.manifest, batch_size=2).train_dataloader()
    first, second = ([batch.rows for batch in loader] for _ in range(2))
    assert first != second
    assert first == [batch.rows for batch in module(video_folder.manifest, batch_size=2).train_dataloader()]


def test_multigrid_without_a_trainer_is_refused(video_folder):
    data = module(video_folder.manifest, train={"multigrid": Multigrid()})
    with pytest.raises(ValueError, match=r"train\.multigrid needs a Trainer"):
        data.train_dataloader()


def test_too_many_failures_are_an_error_without_a_trainer(mixed_manifest):
    data = module(mixed_manifest(num_good=1, broken=["empty"]), batch_size=2, train={"max_failed_fraction": 0.1})
    with pytest.raises(TooManyFailuresError):
        next(iter(data.train_dataloader()))
