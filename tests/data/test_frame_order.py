"""The order of frames at test: what the network sees of each view, by the numbers that the frames show."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.each_case import each_case
from tests.numbered import read_number, write_video
from tests.small_preprocessing import small_preprocessing
from videoctx.data.annotations import write_manifest
from videoctx.data.datamodule import VideoDataModule
from videoctx.data.loading.evaluation_loader import evaluation_loader
from videoctx.data.sampling.frame_order import in_order
from videoctx.data.settings import ClipSettings, LoadingSettings, TestSettings
from videoctx.data.storage.local_files import LocalFiles

CLIPS = ClipSettings(clip_len=6, frame_interval=3, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
TEST = TestSettings(views=(1, 1), crop_size_px=48, short_side_px=48)
SEED = 5


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """Three square videos of different lengths."""
    folder = tmp_path_factory.mktemp("ordered")
    for name, num_frames in (("a", 40), ("b", 25), ("c", 31)):
        write_video(folder / f"{name}.mp4", num_frames=num_frames, width=80, height=80)
    rows = [{"path": f"{name}.mp4", "label": "clap", "split": split} for name in "abc" for split in ("train", "test")]
    write_manifest(folder / "manifest.csv", rows, ["clap", "wave"])
    return folder / "manifest.csv"


def module(manifest, order, *, sampling="dense", **arguments):
    clips = replace(CLIPS, sampling=sampling)
    num_clips = 1 if sampling == "uniform" else 2
    test = replace(TEST, frame_order=order, views=(num_clips, 1), val_views=(num_clips, 1))
    given = {"loading": LoadingSettings(num_workers=0), "seed": SEED, "clips": clips, "test": test}
    return VideoDataModule(str(manifest), **given | arguments)


def numbers(clips: torch.Tensor) -> list[list[int]]:
    """Return the number that each frame of views (S, 3, T, H, W) shows."""
    images = (255 * clips).round().clamp(0, 255).byte().permute(0, 2, 3, 4, 1).numpy()
    return [[read_number(image) for image in clip] for clip in images]


def seen(data: VideoDataModule) -> tuple[dict[str, list[list[int]]], dict[str, list[int]]]:
    """Return the frames and the stored starts of each video's views."""
    frames, starts = {}, {}
    for batch in data.test_dataloader():
        shown = numbers(batch.clips[:])
        for position, path in enumerate(batch.paths):
            views = [view for view, video in enumerate(batch.video.tolist()) if video == position]
            frames[path[-5:]] = [shown[view] for view in views]
            starts[path[-5:]] = [batch.views[view].start_frame for view in views]
    return frames, starts


@each_case("sampling", ["dense", "segments", "uniform"])
def test_each_order_shows_the_frames_of_the_recorded_clip(manifest, sampling):
    recorded, starts = seen(module(manifest, "recorded", sampling=sampling))
    for order in ("reversed", "shuffled", "still"):
        shown, kept = seen(module(manifest, order, sampling=sampling))
        assert kept == starts, order  # a start is that of the clip as recorded
        for video, views in recorded.items():
            for before, after in zip(views, shown[video], strict=True):
                if order == "reversed":
                    assert after == before[::-1]
                elif order == "still":
                    assert after == [before[3]] * 6  # the fourth of six
                else:
                    assert sorted(after) == sorted(before)
    permutations = [[before.index(one) for one in after] for before, after in pairs(recorded, manifest, sampling)]
    assert len({tuple(one) for one in permutations}) == len(permutations)  # each view has its own


def pairs(recorded, manifest, sampling):
    shown, _ = seen(module(manifest, "shuffled", sampling=sampling))
    return [pair for video in recorded for pair in zip(recorded[video], shown[video], strict=True)]


def test_permutations_follow_from_the_seed_and_not_from_workers_batches_or_ranks(manifest):
    expected, _ = seen(module(manifest, "shuffled"))
    test = replace(TEST, frame_order="shuffled", views=(2, 1), batch_size=3)
    parallel = module(manifest, "shuffled", test=test, loading=LoadingSettings(num_workers=2))
    assert seen(parallel)[0] == expected
    parallel.teardown("test")
    data = module(manifest, "shuffled")
    records = data.test_dataloader().loader.dataset.records
    transform = data.preprocessing.transform()
    shares = {}
    for rank in (0, 1):
        loader = evaluation_loader(
            records,
            data.preprocessing,
            batch_size=1,
            loading=data.loading,
            files=LocalFiles(None, max_cache_bytes=1),
            seed=SEED,
            num_ranks=2,
            rank=rank,
        )
        for batch in loader:
            if batch.videos:
                clips = transform(batch, num_clips=2)
                shares[clips.paths[0][-5:]] = numbers(clips.clips[:])
    assert shares == expected
    assert seen(module(manifest, "shuffled", seed=SEED + 1))[0] != expected


def test_a_shuffle_is_uniform():
    clips = np.tile(np.arange(3), (6000, 1))
    shuffled = in_order(clips, "shuffled", np.random.default_rng(0))
    _, counts = np.unique(shuffled, axis=0, return_counts=True)
    assert len(counts) == 6  # the recorded order among them
    assert counts.min() > 900
    assert in_order(clips, "recorded", np.random.default_rng(0)) is clips


def test_an_order_is_stored_on_the_card_and_refused_where_it_has_no_meaning(manifest):
    data = module(manifest, "reversed")
    data.test_dataloader()
    assert data.card("test")["frame_order"] == "reversed"
    with pytest.raises(ValueError, match=r"test.frame_order is 'reversed' in a training.*expected 'recorded'"):
        data.setup("fit")
    data.setup("test")
    with pytest.raises(ValueError, match=r"test.frame_order is 'backwards'; expected one of recorded, reversed, shuf"):
        replace(TEST, frame_order="backwards")
    with pytest.raises(ValueError, match=r"test.frame_order is 'still' with clips.clip_len 1; expected 'recorded'"):
        small_preprocessing(clip_len=1, frame_order="still")
