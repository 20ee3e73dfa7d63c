"""Tests of the dataset: decoded frames, reproducible samples, and failed videos."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.each_case import each_case
from tests.numbered import read_number, write_uneven_video
from videoctx.batch import Failure
from videoctx.data.annotations import ProbeResult, VideoRecord
from videoctx.data.decoding.containers import probe
from videoctx.data.loading.dataset import DecodedBatch, SampleIndex, VideoDataset
from videoctx.data.sampling.clip_samplers import ClipShape, RandomClips, UniformClips


def record(path, label=0, start_seconds=None, end_seconds=None):
    return VideoRecord(str(path), label, "train", start_seconds, end_seconds)


def dataset(records, sampler, *, seed=0, decoder="auto"):
    return VideoDataset(records, sampler=sampler, seed=seed, decoder=decoder)


def shape(clip_len, frame_interval=1, short_videos="wrap"):
    return ClipShape(clip_len=clip_len, frame_interval=frame_interval, short_videos=short_videos)


def numbers(video):
    """Return the numbers that the frames of each clip show, one list per clip."""
    frame_numbers = np.array([read_number(frame.numpy()) for frame in video.frames])
    return frame_numbers[video.clips.numpy()].tolist()


def assert_same(one, other):
    assert one.path == other.path
    assert (one.row, one.label, one.seed, one.starts) == (other.row, other.label, other.seed, other.starts)
    assert one.failure == other.failure
    assert torch.equal(one.frames, other.frames)
    assert torch.equal(one.clips, other.clips)


# ---------------------------------------------------------------- decoded frames


@each_case("decoder", ["auto", "pyav"])
def test_clips_hold_the_frames_of_the_sampler(closed_gop_mp4, decoder):
    sampler = UniformClips(shape=shape(4, 3), num_clips=3)
    video = dataset([record(closed_gop_mp4.path)], sampler, decoder=decoder)[SampleIndex(0)]
    assert video.starts == [0, 25, 50]
    assert numbers(video) == [[0, 3, 6, 9], [25, 28, 31, 34], [50, 53, 56, 59]]
    assert video.frames.dtype == torch.uint8
    assert video.clips.dtype == torch.int64
    assert video.failure is None


def test_random_clips_start_at_their_reported_frames(b_frame_avi):
    data = dataset([record(b_frame_avi.path)], RandomClips(shape=shape(5, 4), num_clips=6))
    video = data[SampleIndex(0)]
    assert len(video.starts) == 6
    assert numbers(video) == [[start + 4 * step for step in range(5)] for start in video.starts]


def test_a_frame_of_several_clips_is_decoded_once(closed_gop_mp4):
    sampler = UniformClips(shape=shape(8, 7), num_clips=10)  # a clip spans 50 of 60 frames
    video = dataset([record(closed_gop_mp4.path)], sampler)[SampleIndex(0)]
    shown = [read_number(frame.numpy()) for frame in video.frames]
    wanted = {start + 7 * step for start in video.starts for step in range(8)}
    assert shown == sorted(wanted)
    assert len(shown) < video.clips.numel() == 80


@each_case(
    ("short_videos", "wanted"),
    [("wrap", [15, 16, 17, 15, 16]), ("repeat_last", [15, 16, 17, 17, 17])],
)
@each_case("sampler", [RandomClips, UniformClips])
def test_a_short_segment_is_filled_with_its_own_frames(closed_gop_mp4, sampler, short_videos, wanted):
    segment = record(closed_gop_mp4.path, start_seconds=0.5, end_seconds=0.6)
    video = dataset([segment], sampler(shape=shape(5, 1, short_videos), num_clips=2))[SampleIndex(0)]
    assert numbers(video) == [wanted, wanted]
    assert video.starts == [15, 15]
    assert len(video.frames) == 3


def test_a_short_video_is_refused_if_configured(closed_gop_mp4):
    sampler = UniformClips(shape=shape(9, 8, "refuse"), num_clips=1)  # spans 65 of 60 frames
    video = dataset([record(closed_gop_mp4.path)], sampler)[SampleIndex(0)]
    assert video.failure.path == str(closed_gop_mp4.path)
    assert "60 frames" in video.failure.reason


@each_case(
    ("start", "end", "first", "last"),
    [(0.5, 1.2, 15, 35), (1.0, None, 30, 59), (None, 0.5, 0, 14), (None, 99.0, 0, 59)],
)
def test_clips_stay_within_the_segment(closed_gop_mp4, start, end, first, last):
    segment = [record(closed_gop_mp4.path, start_seconds=start, end_seconds=end)]
    uniform = dataset(segment, UniformClips(shape=shape(4, 2), num_clips=2))[SampleIndex(0)]
    assert uniform.starts == [first, last - 6]
    assert numbers(uniform) == [list(range(first, first + 7, 2)), list(range(last - 6, last + 1, 2))]
    random = dataset(segment, RandomClips(shape=shape(4, 2), num_clips=200))[SampleIndex(0)]
    assert min(random.starts) == first
    assert max(random.starts) == last - 6
    assert {number for clip in numbers(random) for number in clip} == set(range(first, last + 1))


@each_case("decoder", ["pyav", "sparse"])
@each_case("inspected", [False, True])
def test_segment_of_a_variable_frame_rate_follows_presentation_times(tmp_path, inspected, decoder):
    path = tmp_path / "variable.mp4"
    write_uneven_video(path)
    segment = record(path, start_seconds=0.8, end_seconds=2.0)
    if inspected:
        known = ProbeResult(path.stat().st_size, (decoder,), 12, probe(str(path)).fps, variable_frame_rate=True)
        segment = replace(segment, probe_result=known)
    sampler = UniformClips(shape=shape(4), num_clips=1)
    assert numbers(dataset([segment], sampler, decoder=decoder)[SampleIndex(0)]) == [[8, 9, 10, 11]]


# ---------------------------------------------------------------- samples

TRAIN = RandomClips(shape=shape(3, 2), num_clips=4)


def test_a_sample_depends_only_on_seed_epoch_video_and_repeat(closed_gop_mp4):
    records = [record(closed_gop_mp4.path)] * 3
    first = dataset(records, TRAIN, seed=5)
    again = dataset(records, TRAIN, seed=5)
    indices = [SampleIndex(video, epoch, repeat) for epoch in (0, 1, 7) for video in range(3) for repeat in range(2)]
    forwards = {index: first[index] for index in indices}
    backwards = {index: again[index] for index in reversed(indices)}
    for index in indices:
        assert_same(forwards[index], backwards[index])
    # another video, epoch, repeat or seed gives other clips and another seed of the augmentation
    others = [*forwards.values(), *(dataset(records, TRAIN, seed=6)[index] for index in indices)]
    assert len({tuple(video.starts) for video in others}) == len(others)
    assert len({video.seed for video in others}) == len(others)


def test_dataset_can_be_pickled(closed_gop_mp4):
    data = dataset([record(closed_gop_mp4.path)], TRAIN, seed=3)
    assert_same(pickle.loads(pickle.dumps(data))[SampleIndex(0, 2)], data[SampleIndex(0, 2)])


# ---------------------------------------------------------------- failures, missing labels


@each_case("what", ["missing", "empty", "truncated", "cut short", "text"])
def test_a_failed_video_is_returned_as_a_failure(closed_gop_mp4, broken_files, what):
    records = [record(closed_gop_mp4.path), record(broken_files[what], label=4), record(closed_gop_mp4.path)]
    data = dataset(records, TRAIN)
    video = data[SampleIndex(1)]
    assert isinstance(video.failure, Failure)
    assert video.failure.path == video.path == str(broken_files[what])
    assert video.failure.reason
    assert (video.row, video.label) == (1, 4)
    assert len(video.frames) == len(video.clips) == len(video.starts) == 0
    assert data[SampleIndex(0)].failure is data[SampleIndex(2)].failure is None


@each_case(("start", "end"), [(2.0, None), (5.0, 6.0), (0.501, 0.502)])
def test_segment_without_frames_is_a_failure(closed_gop_mp4, start, end):
    segment = record(closed_gop_mp4.path, start_seconds=start, end_seconds=end)
    failure = dataset([segment], TRAIN)[SampleIndex(0)].failure
    assert failure.path == str(closed_gop_mp4.path)
    assert f"{start:g} s" in failure.reason
    assert "2.00 s" in failure.reason  # what the video lasts


def test_programming_error_is_raised_and_not_reported_as_broken_video(closed_gop_mp4):
    with pytest.raises(AttributeError):
        dataset([record(closed_gop_mp4.path)], sampler=None)[SampleIndex(0)]


def test_missing_label_is_minus_one(closed_gop_mp4):
    assert dataset([record(closed_gop_mp4.path, label=None)], TRAIN)[SampleIndex(0)].label == -1


# ---------------------------------------------------------------- batches


def test_batch_to_device_moves_frames(closed_gop_mp4, broken_files):
    data = dataset([record(closed_gop_mp4.path), record(broken_files["missing"])], TRAIN)
    batch = DecodedBatch([data[SampleIndex(0)], data[SampleIndex(1)]])
    moved = batch.to(torch.device("meta"), non_blocking=True)
    assert [video.frames.device.type for video in moved.videos] == ["meta", "meta"]
    assert [video.frames.device.type for video in batch.videos] == ["cpu", "cpu"]
    assert [video.seed for video in moved.videos] == [video.seed for video in batch.videos]
    assert moved.videos[1].failure == batch.videos[1].failure


def test_batch_can_be_pinned(closed_gop_mp4):
    if not torch.cuda.is_available():
        pytest.skip("pinned memory needs a CUDA device")
    batch = DecodedBatch([dataset([record(closed_gop_mp4.path)], TRAIN)[SampleIndex(0)]]).pin_memory()
    assert all(video.frames.is_pinned() for video in batch.videos)
