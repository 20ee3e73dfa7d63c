"""`videoctx bench data`: all ways of reading are measured and read the same clips. The times are not checked."""

import json
import os
import signal
import threading
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.each_case import each_case
from tests.numbered import read_number
from videoctx.bench.bare_decoding import BareDecoding, Clip, read, read_planes, read_sparsely
from videoctx.bench.data_measurements import Measurements
from videoctx.bench.data_path import PARTS, SIZES, DataBench
from videoctx.bench.data_report import bottleneck, report
from videoctx.bench.data_stages import STAGES, stage_seconds
from videoctx.bench.epochs import clip_of
from videoctx.bench.loader_memory import loader_memory
from videoctx.bench.manifest_rows import KINDS, manifest_rows
from videoctx.bench.peer_process import Epoch, PeerProcess, why_missing
from videoctx.bench.pytorchvideo_peer import PyTorchVideoPeer, Window
from videoctx.bench.spdl_peer import spdl_epoch
from videoctx.bench.synthetic_videos import HEIGHT, WIDTH, synthetic_videos
from videoctx.bench.torchcodec_peer import torchcodec_epoch
from videoctx.bench.training_clips import PEERS, TrainingClips
from videoctx.cli import main
from videoctx.data.annotations import VideoRecord, write_manifest
from videoctx.data.decoding.containers import VideoDecodeError, probe
from videoctx.data.decoding.video_reader import open_video
from videoctx.data.decoding.yuv_frames import rgb_by_decoder
from videoctx.data.loading.dataset import SampleIndex, VideoDataset
from videoctx.data.sampling.clip_samplers import ClipShape, RandomClips, UniformClips
from videoctx.data.transforms.normalize import Normalize
from videoctx.data.transforms.train_transform import TrainTransform

pytest.importorskip("decord")

SHAPE = ClipShape(clip_len=4, frame_interval=3)
RATIOS = {
    "vs_bare_decode",
    *(
        f"{name}_gop{gop}"
        for name in (
            *("vs_bare_decord", "vs_decord_cpu", "vs_sparse_cpu"),
            *("sparse_rgb_of_decord_cpu", "sparse_yuv_of_decord_cpu"),
            *("vs_pytorchvideo", "vs_pytorchvideo_cpu", "views_vs_per_view"),
        )
        for gop in (250, 16)
    ),
}


@pytest.fixture(scope="module")
def numbered(closed_gop_mp4) -> VideoRecord:
    return VideoRecord(str(closed_gop_mp4.path), 0, "train")


# The whole bench, small -------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_every_way_and_stage_is_measured_printed_and_written(tmp_path, capsys):
    bench = DataBench(
        clip_len=4,
        frame_interval=4,
        batch_size=1,
        num_clips=2,
        rounds=1,
        num_videos=1,
        num_frames=40,
        num_rows=50,
        videos_dir=tmp_path / "videos",
    )
    measured = bench.run()
    peers = {"torchcodec", "spdl"} - measured.skipped.keys()
    assert all(why_missing(PEERS[peer]) for peer in measured.skipped)
    of_peers = {f"{start}_{peer}_cpu" for peer in peers for start in ("vs", "sparse_rgb_of", "sparse_yuv_of")}
    assert measured.ratios().keys() == RATIOS | {f"{name}_gop{gop}" for name in of_peers for gop in (250, 16)}
    assert all(ratio > 0 for ratio in measured.ratios().values())
    for files in ("gop250", "gop16"):
        assert measured.stages[files].keys() == {*STAGES, "wait"}
        sides = measured.rounds[files]
        assert sides.keys() == {
            "ours",
            "bare_decord",
            "bare_sparse_rgb",
            "bare_sparse_yuv",
            "pytorchvideo_pyav",
            "pytorchvideo_decord",
            *peers,
            *(f"bare_{peer}" for peer in peers),
        }
        assert measured.clip_bytes[files] == 4 * HEIGHT * WIDTH * 3 // 2
        assert all(len(rounds) == 1 and rounds[0]["seconds"] > 0 for rounds in sides.values())
        assert all(measured.views[shape][files].keys() == {"ours", "per_view"} for shape in ("8x8", "32x2"))
    assert measured.training_thread > 0
    report(measured, tmp_path / "bench.json")
    written = json.loads((tmp_path / "bench.json").read_text())
    assert written["ratios"] == measured.ratios()
    assert written["rounds"] == measured.rounds
    assert written["settings"]["num_workers"] == 2
    assert written["settings"]["torch"] == torch.__version__.partition("+")[0]
    printed = capsys.readouterr().out
    skipped = (f"{peer} is not measured: " for peer in measured.skipped)
    assert all(text in printed for text in (*STAGES, *RATIOS, *skipped, "gop250: ", "cores"))


def test_a_manifest_is_measured_against_bare_decoding(closed_gop_mp4, tmp_path, capsys):
    rows = [{"path": str(closed_gop_mp4.path), "label": "a", "split": "mine"}]
    write_manifest(tmp_path / "manifest.csv", rows, ["a"])
    options = ["--clip_len=4", "--frame_interval=2", "--num_clips=2", "--rounds=1", "--num_workers=1", "--size=large"]
    options += ["--split=mine", "--against=none", "--part=bare", f"--json={tmp_path / 'bench.json'}"]
    main(["bench", "data", f"--manifest={tmp_path / 'manifest.csv'}", *options])
    written = json.loads((tmp_path / "bench.json").read_text())
    assert written["ratios"].keys() == {"sparse_rgb_of_decord_cpu_manifest", "sparse_yuv_of_decord_cpu_manifest"}
    assert written["rounds"]["manifest"].keys() == {"bare_decord", "bare_sparse_rgb", "bare_sparse_yuv"}
    assert (written["settings"]["num_clips"], written["settings"]["num_videos"]) == (2, 4)  # given, and the size's
    assert "sparse_yuv_of_decord_cpu_manifest" in capsys.readouterr().out


@pytest.mark.slow
def test_a_manifest_is_measured_as_synthetic_videos_are(closed_gop_mp4, tmp_path):
    rows = [{"path": str(closed_gop_mp4.path), "label": "a", "split": "train"}]
    write_manifest(tmp_path / "manifest.csv", rows, ["a"])
    shape = {"clip_len": 4, "frame_interval": 2}
    bench = DataBench(manifest=tmp_path / "manifest.csv", num_clips=2, rounds=1, num_workers=1, num_rows=50, **shape)
    ratios = bench.run().ratios()
    assert {"vs_bare_decode", "vs_decord_cpu_manifest", "vs_pytorchvideo_manifest"} < ratios.keys()
    assert "views_vs_per_view_manifest" in ratios


@pytest.mark.slow
def test_parts_are_measured_one_by_one(tmp_path):
    settings = {"clip_len": 2, "num_clips": 2, "rounds": 1, "num_videos": 1, "num_frames": 40, "num_rows": 50}
    starts = {"bare": "sparse_", "loaders": ("vs_", "sparse_yuv_of_decord_cpu"), "views": "views_"}
    for part in PARTS:
        bench = DataBench(parts=(part,), against="none", videos_dir=tmp_path, **settings)
        measured = bench.run()
        assert bool(measured.rows) == (part == "rows")
        assert bool(measured.stages) == bool(measured.clip_bytes) == (part == "loaders")
        assert (measured.training_thread is not None) == (part == "loaders")
        assert all(name.startswith(starts[part]) for name in measured.ratios()), part
        assert bool(measured.ratios()) == (part in starts), part


def test_a_small_bench_reads_less():
    small, large = (DataBench(**SIZES[size]) for size in ("small", "large"))
    for name in ("num_videos", "num_clips", "rounds"):
        assert getattr(small, name) < getattr(large, name), name
    assert set(small.view_shapes) < set(large.view_shapes)


def test_bare_decoding_is_left_out_where_decord_is_not_exact(b_frame_avi, tmp_path):
    write_manifest(tmp_path / "manifest.csv", [{"path": str(b_frame_avi.path), "label": "a", "split": "train"}], ["a"])
    settings = {"num_clips": 2, "rounds": 1, "num_workers": 1, "clip_len": 2, "parts": ("bare", "loaders", "views")}
    measured = DataBench(manifest=tmp_path / "manifest.csv", against="none", **settings).run()
    assert measured.rounds["manifest"].keys() == {"ours"}
    assert measured.ratios() == {}


def test_a_missing_or_broken_video_of_the_manifest_is_named(broken_files, tmp_path):
    for path, error in ((tmp_path / "nowhere.mp4", ValueError), (broken_files["text"], VideoDecodeError)):
        write_manifest(tmp_path / "manifest.csv", [{"path": str(path), "label": "a", "split": "train"}], ["a"])
        with pytest.raises(error, match=path.name):
            DataBench(manifest=tmp_path / "manifest.csv", rounds=1, num_clips=1, parts=("bare",), against="none").run()


# The ways of reading ----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_pytorchvideo_reads_our_clips(numbered):
    dataset = VideoDataset([numbered], sampler=RandomClips(shape=SHAPE), seed=0)
    clips = [clip_of(dataset[SampleIndex(0, repeat=repeat)], SHAPE) for repeat in range(5)]
    windows = [Window.of_frames(clip.path, clip.frames[0], clip.frames[0] + SHAPE.span(), 30) for clip in clips]
    with closing(PyTorchVideoPeer(windows, clip_len=SHAPE.clip_len, batch_size=2, num_workers=2)) as peer:
        delivered = [peer.frames("pyav"), peer.frames("decord")]
    assert len({window.start_seconds for window in windows}) > 1
    for clip, window in zip(clips, windows, strict=True):
        for frames in delivered:
            numbers = [read_number(frame) for frame in frames[window].permute(1, 2, 3, 0).byte().numpy()]
            assert numbers[0] == clip.frames[0]
            assert np.abs(np.subtract(numbers, clip.frames)).max() <= 1  # it rounds positions down from floats


@each_case("clip_len", [4, 40])  # the longer one passes the end
def test_a_decode_per_view_reads_the_same_views(numbered, clip_len):
    shape = ClipShape(clip_len=clip_len, frame_interval=2)
    video = VideoDataset([numbered], sampler=UniformClips(shape=shape, num_clips=10), seed=0)[SampleIndex(0)]
    for which, positions in enumerate(video.clips):
        clip = clip_of(video, shape, which)
        for read_clip in (read, read_sparsely):
            assert (read_clip(clip) == video.frames[positions].numpy()).all()
        planes, colors = read_planes(clip)
        assert colors is not None
        frames = np.unique(np.array(clip.frames) % 60, return_inverse=True)[1]
        assert (rgb_by_decoder(planes, colors)[frames] == video.frames[positions].numpy()).all()


@pytest.mark.slow
def test_other_loaders_read_our_clips(numbered):
    clips = [Clip(numbered.path, (0, 2)), Clip(numbered.path, (30, 58)), Clip(numbered.path, (58, 61))]
    for name, make_epoch in (("torchcodec", torchcodec_epoch), ("spdl", spdl_epoch)):
        if why_missing(PEERS[name]):
            continue
        make = partial(make_epoch, clips, batch_size=2, num_workers=1)
        with closing(PeerProcess(name, make, num_clips=3)) as peer:
            assert peer.epoch() > 0, name


def no_clips() -> Epoch:
    return lambda: 0


@pytest.mark.slow
def test_a_peer_that_leaves_out_clips_is_an_error():
    with (
        closing(PeerProcess("peer", no_clips, num_clips=3)) as peer,
        pytest.raises(RuntimeError, match="peer read 0 of 3"),
    ):
        peer.epoch()


def endless() -> Epoch:
    threading.Event().wait()
    return lambda: 0


def test_a_peer_that_does_not_end_is_killed(monkeypatch):
    monkeypatch.setattr("videoctx.bench.peer_process.PATIENCE_SECONDS", 0.1)
    peer = PeerProcess("peer", endless, num_clips=1)
    peer.close()
    assert peer._process.exitcode == -signal.SIGKILL


def test_a_module_that_cannot_be_imported_has_a_reason(tmp_path, monkeypatch):
    (tmp_path / "broken_peer.py").write_text("raise OSError('libpeer.so: not found\\nmore')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    assert [why_missing(name) for name in ("json", "no_such_peer", "broken_peer")] == [
        *(None, "No module named 'no_such_peer'", "libpeer.so: not found"),
    ]


def test_the_rows_of_a_manifest_are_measured_with_and_without_quotes():
    measured = manifest_rows(100)
    assert measured.keys() == KINDS.keys()
    for figures in measured.values():
        assert figures["rows"] == 100
        assert figures["cpu_seconds"] > 0
        assert figures["peak_bytes"] >= 0
        assert 50 < figures["bytes_per_process"] < 1000


def test_bare_decoding_decodes_every_view(numbered):
    with closing(BareDecoding(1)) as bare:
        assert bare.per_view([Clip(numbered.path, (0, 2))], num_crops=3) > 0
        with pytest.raises(RuntimeError, match=r"nowhere\.mp4"):
            bare.clips([Clip("nowhere.mp4", (0, 2))])


def test_a_clip_that_is_scaled_where_it_is_decoded_takes_fewer_bytes(numbered):
    settings = {"batch_size": 1, "num_workers": 1, "num_clips": 1}
    settings |= {"parts": frozenset(), "exact": frozenset(), "peers": frozenset()}
    height, width = (TrainingClips(shape=SHAPE, **settings)._dataset([numbered])[SampleIndex(0)]).size
    assert height <= width
    for size, expected in ((None, height * width), (height // 2, height * width // 4)):
        clips = TrainingClips(shape=SHAPE, decoded_short_side_px=size, **settings)
        assert clips.clip_bytes([numbered]) == pytest.approx(SHAPE.clip_len * expected * 1.5, rel=0.02)


def test_every_stage_of_reading_a_clip_takes_time(numbered):
    dataset = VideoDataset([numbered], sampler=RandomClips(shape=SHAPE), seed=0)
    transform = TrainTransform(
        crop_size_px=32, short_side_px=(32, 40), flip_probability=0.5, normalize=Normalize((0.5,) * 3, (0.5,) * 3)
    )
    samples = [SampleIndex(0, repeat=repeat) for repeat in range(3)]
    seconds = stage_seconds(dataset, samples, transform=transform, batch_size=2, device=torch.device("cpu"))
    assert seconds.keys() == set(STAGES)
    assert all(value >= 0 for value in seconds.values())
    assert min(seconds[stage] for stage in ("open", "seek", "transfer", "device transform")) > 0


@pytest.mark.slow
def test_the_memory_of_the_loader_is_measured_over_the_videos(numbered):
    measured = loader_memory([numbered], SHAPE, batch_size=8, num_videos=400)
    assert measured["videos"] == [200, 304, 400]
    assert min(measured["bytes"]) > 50e6  # five processes with torch


# The videos -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_synthetic_videos_are_like_those_of_kinetics_and_encoded_once(tmp_path):
    (path,) = synthetic_videos(tmp_path, gop=16, num_videos=1, num_frames=40)
    container = probe(str(path))
    assert (container.width, container.height, container.fps) == (WIDTH, HEIGHT, 30)
    assert container.gop_lengths == (16, 16, 8)
    assert container.has_b_frames
    assert container.decoders[:2] == ("sparse", "decord")
    with open_video(str(path)) as reader:
        first, _, last = reader.read(np.array([0, 20, 39])).astype(int)
    assert np.abs(first - last).mean() > 5  # it moves
    written = path.stat().st_mtime_ns
    calls: list[int] = []
    again = synthetic_videos(tmp_path, gop=16, num_videos=1, num_frames=40, on_video=lambda: calls.append(1))
    assert (again, path.stat().st_mtime_ns, calls) == ([path], written, [1])
    assert list(Path(tmp_path).iterdir()) == [path]


# Ratios and the bottleneck ----------------------------------------------------------------------------------------


def rounds(*seconds: float) -> list[dict[str, float]]:
    return [{"seconds": value, "cpu_seconds": value} for value in seconds]


def test_ratios_are_medians_over_rounds():
    measured = Measurements(
        {},
        rounds={
            "gop250": {
                "ours": rounds(1, 2, 4),
                "bare_sparse_yuv": rounds(1, 1, 3.6),
                "bare_sparse_rgb": rounds(1, 1.5, 3.6),
                "bare_decord": rounds(2, 2, 7.2),
                "torchcodec": rounds(3, 8, 16),
                "pytorchvideo_pyav": rounds(3, 8, 16),
                "pytorchvideo_decord": rounds(5, 10, 8),
            },
            "gop16": {"ours": rounds(1), "bare_sparse_yuv": rounds(0.8)},
            "manifest": {"bare_sparse_yuv": rounds(1), "bare_spdl": rounds(4)},
        },
        views={
            "8x8": {"gop16": {"ours": [1.0, 2.0, 4.0], "per_view": [6.0, 14.0, 4.0]}},
            "32x2": {"gop16": {"ours": [1.0], "per_view": [99.0]}},
        },
        memory={"videos": [200, 300, 400], "bytes": [100, 104, 103]},
    )
    assert measured.ratios() == {
        "vs_bare_decode": pytest.approx(0.8),  # of 0.9 and 0.8
        "vs_bare_decord_gop250": pytest.approx(1.8),
        "vs_decord_cpu_gop250": pytest.approx(1.8),
        "sparse_yuv_of_decord_cpu_gop250": pytest.approx(0.5),
        "sparse_rgb_of_decord_cpu_gop250": pytest.approx(0.5),
        "sparse_yuv_of_spdl_cpu_manifest": pytest.approx(0.25),
        "vs_sparse_cpu_gop250": pytest.approx(0.9),
        "vs_torchcodec_cpu_gop250": pytest.approx(4),
        "vs_pytorchvideo_gop250": pytest.approx(4),  # of 4 and 5
        "vs_pytorchvideo_cpu_gop250": pytest.approx(4),
        "vs_sparse_cpu_gop16": pytest.approx(0.8),
        "views_vs_per_view_gop16": pytest.approx(6),
        "memory_growth": pytest.approx(1.04),
    }


def test_the_bottleneck_is_described():
    stages = {"open": 0.002, "seek": 0.03, "decode": 0.015, "sample": 0.001, "transfer": 0.002}
    stages |= {"collate": 0.0, "device transform": 0.003, "wait": 0.001}
    measured = Measurements({}, stages={"gop250": stages, "gop16": {**stages, "seek": 0.005}})
    assert bottleneck(measured, "gop250") == (
        "Seek takes 60% of a clip's 50 ms. A device that trains on 100 clips per second needs 5 cores to decode them,"
        " or a key frame every 16 frames instead of 250: 2.0 times faster here."
        " Where it only crops and normalizes, it waits for clips 25% of the time."
    )
    assert bottleneck(measured, "gop16").startswith("Decode takes 60% of a clip's 25 ms. ")
    measured.stages["manifest"] = stages
    assert "5 cores to decode them, or files with a key frame every 16 frames." in bottleneck(measured, "manifest")
