"""The same videos as files, in shards, and from a web server that fails now and then: the same results."""

import json
from collections import Counter

import numpy as np
import pytest

from data_prep.write_shards.__main__ import main as write_shards
from tests.http_server import Fault, FileServer
from tests.tiny_runs import column, scores_of
from videoctx.cli import main
from videoctx.data.annotations import read_classes, read_manifest
from videoctx.data.loading.dataset import VideoDataset
from videoctx.data.loading.loader import VideoLoader
from videoctx.data.sampling.clip_samplers import ClipShape, RandomClips
from videoctx.data.sampling.video_samplers import ShuffledShards, TrainSampler
from videoctx.data.storage.local_files import LocalFiles
from videoctx.data.storage.locations import split_member


@pytest.fixture
def shards(copy, tmp_path):
    """The videos in shards of about two."""
    folder = tmp_path / "shards"
    size = sum(path.stat().st_size for path in copy.glob("*.mp4")) / 6
    assert write_shards([str(copy / "manifest.csv"), str(folder), "--shard_bytes", str(int(size))]) == 0
    assert len(list(folder.glob("train-*.tar"))) > 1
    return folder


@pytest.fixture
def server(copy, shards):
    """Serves the videos and the shards; the first two requests of each fail."""
    files = {path.name: path.read_bytes() for folder in (copy, shards) for path in folder.iterdir()}
    with FileServer(files, delay_seconds=0.01) as server:
        for number, name in enumerate(files):
            server.faults[name] = [[Fault.DROP, Fault.ERROR_503, Fault.RESET][(number + k) % 3] for k in range(2)]
        yield server


@pytest.fixture(scope="module")
def scores_of_local_files(place):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["videoctx"])
        arguments = ["--ckpt_path", str(place.last), "--trainer.logger.init_args.name=test_streaming-files"]
        main(["test", "-c", str(place.config), *arguments])
    return scores_of(place.runs / "test_streaming-files")


@pytest.mark.parametrize("num_workers", [pytest.param(0, marks=pytest.mark.slow), 2])
@pytest.mark.parametrize("where", ["shards", "files on a server", "shards on a server"])
def test_a_test_gives_the_same_scores_wherever_the_videos_are(
    place,
    run,
    copy,
    shards,
    server,
    scores_of_local_files,
    tmp_path,
    where,
    num_workers,
):
    manifest = (shards if "shards" in where else copy) / "manifest.csv"
    arguments = ["--ckpt_path", place.last, "--data.manifest", manifest, f"--data.loading.num_workers={num_workers}"]
    if "server" in where:
        arguments += ["--data.root", server.url("").rstrip("/"), "--data.storage.cache_dir", tmp_path / "cache"]
    here = scores_of_local_files
    there = scores_of(run("test", *arguments))
    assert [{**view, "video": ""} for view in there] == [{**view, "video": ""} for view in here]
    assert not any(view["failure"] for view in there)
    if "server" in where:
        assert all(view["video"].startswith(("http://", "tar://")) for view in there)
        assert set(server.deliveries.values()) == {1}  # nothing is fetched twice


@pytest.mark.parametrize("num_workers", [pytest.param(0, marks=pytest.mark.slow), 2])
def test_an_epoch_of_shards_reads_every_video_once_and_resumes_where_it_stopped(
    shards,
    server,
    tmp_path,
    num_workers,
):
    classes = read_classes(shards / "classes.txt")
    records = read_manifest(shards / "manifest.csv", classes, split="train", root=server.url("").rstrip("/"))
    clips = RandomClips(shape=ClipShape(clip_len=2, frame_interval=2))
    tars = [split_member(record.path)[1] for record in records]
    shard_names = sorted(set(tars))
    order = ShuffledShards(np.array([shard_names.index(tar) for tar in tars]), buffer=2)

    def epoch(num_taken):
        sampler = TrainSampler(order, num_ranks=1, rank=0, seed=0)
        sampler.resume(epoch=0, num_taken=num_taken)
        loader = VideoLoader(
            VideoDataset(records, sampler=clips, seed=0),
            sampler,
            batch_size=1,
            num_workers=num_workers,
            files=LocalFiles(tmp_path / f"cache{num_taken}"),
        )
        try:
            videos = [video for batch in loader for video in batch.videos]
        finally:
            loader.close()
        assert not any(video.failure for video in videos)
        return [video.row for video in videos]

    whole = epoch(0)
    assert sorted(whole) == list(range(len(records)))
    assert Counter(server.deliveries.values()) == {1: len(shard_names)}
    server.deliveries.clear()
    assert epoch(4) == whole[4:]
    needed = {tars[row].rpartition("/")[2] for row in whole[4:]}
    assert set(server.deliveries) == needed  # a shard of which all videos were seen is not fetched again


def test_training_on_shards_sees_every_video(run, shards):
    folder = run("fit", "--data.manifest", shards / "manifest.csv", "--data.batch_size=1", "--trainer.max_epochs=1")
    assert len(set(column(folder, "train/loss"))) == 6


def test_a_video_that_cannot_be_fetched_is_a_failure_and_named(place, run, copy, server, tmp_path):
    server.always["test1.mp4"] = Fault.ERROR_403
    arguments = ["--data.root", server.url("").rstrip("/"), "--data.storage.cache_dir", tmp_path / "cache"]
    folder = run("test", "--ckpt_path", place.last, "--data.manifest", copy / "manifest.csv", *arguments)
    assert json.loads((folder / "results.json").read_text())["num_failed"] == 1
    (failed,) = [view for view in scores_of(folder) if view["failure"]]
    assert failed["video"] == server.url("test1.mp4")
    assert "403" in failed["failure"]
