"""Timelines: every clip is the clip of a test that starts there, and frames are released."""

import csv

import av
import numpy as np
import pytest
import torch

from tests.inference.conftest import PREPROCESSING, write_checkpoint
from tests.numbered import read_number, write_video
from tests.small_preprocessing import small_preprocessing
from tests.tiny_set import break_video, encode
from videoctx.cli import main
from videoctx.data.decoding.containers import VideoDecodeError
from videoctx.data.loading.dataset import DecodedBatch, DecodedVideo
from videoctx.inference.captioned_video import captioned
from videoctx.inference.classifier import Classifier, NotFiniteError, load
from videoctx.inference.frame_clips import FrameTransform, frame_offsets
from videoctx.inference.live import LiveClassifier
from videoctx.inference.live_source import LiveSource
from videoctx.inference.timed_frames import open_timed_frames
from videoctx.inference.timeline import Timeline
from videoctx.inference.timeline_files import write_timeline
from videoctx.visualize.clip_on_video import Query, read_clip


class Remembering(torch.nn.Module):
    """A network that returns zeros and records its input."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(2))
        self.clips = []

    def forward(self, clips):
        self.clips.append(clips)
        return self.weight.expand(len(clips), 2)


def timeline_of(path, *, preprocessing=PREPROCESSING, fps, stride_seconds):
    """Return the clips that the network gets, and their times."""
    net = Remembering()
    timeline = Timeline(Classifier(net, ["a", "b"], None, preprocessing, False), fps=fps, stride_seconds=stride_seconds)
    most_open = 0
    moments = []
    with open_timed_frames(str(path)) as opened:
        for image, seconds in opened.frames:
            moments += timeline.add(image, seconds)
            most_open = max(most_open, len(timeline._windows))
    return net.clips, [*moments, *timeline.finish()], most_open


def test_each_clip_equals_a_test_clip_that_starts_there(closed_gop_mp4):
    clips, moments, most_open = timeline_of(closed_gop_mp4.path, fps=30.0, stride_seconds=0.5)
    starts = [0, 15, 30, 45]  # the last one at which a clip of 7 frames ends before frame 60
    assert [moment.start_seconds for moment in moments] == pytest.approx([start / 30 for start in starts])
    assert [moment.end_seconds for moment in moments] == pytest.approx([(start + 6) / 30 for start in starts])
    assert most_open == 1
    for clip, start in zip(clips, starts, strict=True):
        middle = Query(x=56, y=40, frame=start + 2 * 2)  # of 4 frames, 2 apart
        expected = read_clip(str(closed_gop_mp4.path), PREPROCESSING, query=middle)
        assert expected.indices.tolist() == [start, start + 2, start + 4, start + 6]
        assert torch.equal(clip, expected.input)


def test_clips_overlap_if_the_stride_is_short(closed_gop_mp4):
    clips, _, most_open = timeline_of(closed_gop_mp4.path, fps=30.0, stride_seconds=0.001)
    assert len(clips) == 60 - 6
    assert most_open == 6


def test_a_video_shorter_than_a_clip_is_repeated(tmp_path):
    video = write_video(tmp_path / "short.mp4", num_frames=3)
    clips, (moment,), _ = timeline_of(video.path, fps=30.0, stride_seconds=1.0)
    assert (moment.start_seconds, moment.end_seconds) == pytest.approx((0, 2 / 30))
    expected = read_clip(str(video.path), PREPROCESSING)
    assert expected.indices.tolist() == [0, 2, 1, 0]
    assert torch.equal(clips[0], expected.input)


@pytest.mark.parametrize(("protocol", "expected"), [("videoctx", [0, 2, 4, 6]), ("torchvision", [0, 4, 8, 12])])
def test_frames_are_as_far_apart_as_in_the_test(protocol, expected, tmp_path):
    trained = load(write_checkpoint(tmp_path / "some.ckpt", protocol=protocol, views=(1, 1)))
    assert frame_offsets(trained.preprocessing, 60.0).tolist() == expected


@pytest.mark.parametrize("protocol", ["videoctx", "mmaction2", "pyslowfast"])  # bytes, rounded once, and floats
def test_a_frame_is_transformed_as_in_the_test(protocol):
    preprocessing = small_preprocessing(protocol=protocol, views=(1, 1))
    frames = torch.randint(256, (4, 61, 90, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    video = DecodedVideo("", 0, -1, 0, frames, torch.arange(4)[None], [0])
    expected = preprocessing.transform()(DecodedBatch([video]), num_clips=1).clips[:]
    one_by_one = FrameTransform(preprocessing)
    clip = one_by_one.clip([one_by_one.see(frame.numpy()) for frame in frames], torch.device("cpu"))
    assert torch.equal(clip, expected)


def test_a_table_a_chart_and_a_video_are_written(network, tmp_path, capsys):
    video = network.videos / "test0.mp4"
    options = [f"--timeline={tmp_path}", "--stride=0.4", "--top=2"]
    main(["classify", str(video), "--ckpt_path", str(network.checkpoint), *options])
    stem = tmp_path / "test0-timeline"
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{stem.name}{end}" for end in (".csv", ".mp4", ".png")]
    rows = list(csv.DictReader(stem.with_suffix(".csv").open()))
    assert [float(row["start_seconds"]) for row in rows] == [0.0, 0.4, 0.8, 1.2]
    assert [float(row["end_seconds"]) for row in rows] == [0.6, 1.0, 1.4, 1.8]
    assert all(float(row["probability_1"]) >= float(row["probability_2"]) for row in rows)
    assert stem.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    with av.open(str(stem.with_suffix(".mp4"))) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        frames = list(container.decode(video=0))
    assert [frame.time for frame in frames] == pytest.approx([index / 10 for index in range(20)])
    assert "4 clips of 20 frames" in capsys.readouterr().out


def test_the_caption_is_drawn_on_the_frame():
    image = np.full((120, 200, 3), 100, np.uint8)
    made = captioned(image, "wave 93%")
    assert made[:12].max() > 230
    assert made[:12].min() == 35
    assert np.array_equal(made[20:], image[20:])
    assert (image == 100).all()
    assert (captioned(image, "another " * 20)[:12] > 200).sum() > (made[:12] > 200).sum()


def test_a_broken_video_leaves_no_output(network, tmp_path, refused, broken_files):
    for how in ("empty", "cut short", "truncated"):
        line = refused(
            "classify", broken_files[how], "--ckpt_path", network.checkpoint, "--timeline", tmp_path / "made"
        )
        assert line.startswith(f"{broken_files[how]}: ")
        assert not list((tmp_path / "made").iterdir())
    refusing = write_checkpoint(tmp_path / "refusing.ckpt", short_videos="refuse", frame_interval=8)
    line = refused("classify", network.videos / "test0.mp4", "--ckpt_path", refusing, "--timeline", tmp_path / "made")
    assert "20 frames, but a clip of 4, 8 apart, spans 25" in line
    assert not list((tmp_path / "made").iterdir())
    encode(tmp_path / "a.mp4", name="red_still", seed=0)
    break_video(tmp_path / "a.mp4", "text")
    with pytest.raises(VideoDecodeError), open_timed_frames(str(tmp_path / "a.mp4")):
        pass
    assert "one video with --timeline" in refused(
        "classify", tmp_path, "--ckpt_path", network.checkpoint, "--timeline", tmp_path / "made"
    )


def test_frames_are_in_order_and_upright(tmp_path):
    video = write_video(tmp_path / "turned.mp4", num_frames=5, rotation=90)
    with open_timed_frames(str(video.path)) as opened:
        shown = [(read_number(image), seconds) for image, seconds in opened.frames]
    assert [number for number, _ in shown] == [0, 1, 2, 3, 4]
    assert [seconds for _, seconds in shown] == pytest.approx([index / 30 for index in range(5)], abs=1e-3)


def test_nan_is_no_class(closed_gop_mp4, tmp_path):
    net = Remembering()
    net.weight.data[1] = torch.nan
    trained = Classifier(net, ["a", "b"], None, PREPROCESSING, False)
    video = str(closed_gop_mp4.path)
    with pytest.raises(NotFiniteError, match=r"mp4: the clip from 0.00 s: the network gives no finite numbers"):
        write_timeline(trained, video, tmp_path / "some", stride_seconds=1.0, num_best=1, title="some")
    assert not list(tmp_path.iterdir())
    with pytest.raises(NotFiniteError, match="clip 1: the network gives no finite numbers"):
        list(LiveClassifier(trained, LiveSource(video, speed=20.0), reconnects=0, say=print))
