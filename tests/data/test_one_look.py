"""A file is opened once and its packets are read once, on the way to a clip."""

from dataclasses import replace

import numpy as np
import pytest

from tests.each_case import each_case
from tests.numbered import read_number, write_uneven_video, write_video
from videoctx.data.annotations import VideoRecord
from videoctx.data.decoding import containers, packet_list, pyav_versions, video_stream
from videoctx.data.decoding.containers import VideoDecodeError, probe
from videoctx.data.decoding.video_reader import open_video, probe_result_of
from videoctx.data.loading.dataset import SampleIndex, VideoDataset
from videoctx.data.sampling.clip_samplers import ClipShape, UniformClips


@pytest.fixture
def looks(monkeypatch):
    """What PyAV is asked for: `open` or `demux`. Nothing is known of any file."""
    asked = []

    def opened(*arguments, **options):
        asked.append("open")
        return open_input(*arguments, **options)

    def demuxed(*arguments):
        asked.append("demux")
        return demux(*arguments)

    open_input, demux = pyav_versions.open_input, video_stream.demux
    monkeypatch.setattr(containers, "_known", {})
    monkeypatch.setattr(containers, "open_input", opened)
    for module in (containers, packet_list):
        monkeypatch.setattr(module, "demux", demuxed)
    return asked


@pytest.fixture(scope="module", params=["even", "uneven"])
def path(request, tmp_path_factory):
    made = tmp_path_factory.mktemp("one_look") / f"{request.param}.mp4"
    if request.param == "even":
        write_video(made, num_frames=12)
    else:
        write_uneven_video(made)
    return made


def clip(path, probe_result=None, **segment):
    record = VideoRecord(str(path), 0, "train", probe_result=probe_result, **segment)
    sampler = UniformClips(shape=ClipShape(clip_len=2, frame_interval=1), num_clips=1)
    return VideoDataset([record], sampler=sampler, seed=0)[SampleIndex(0)]


@each_case("segment", [{}, {"start_seconds": 0.1, "end_seconds": 0.35}])
@each_case("is_inspected", [False, True])
def test_a_clip_takes_one_open_and_one_demux(path, looks, segment, is_inspected):
    probe_result = None
    if is_inspected:
        container = probe(str(path))
        probe_result = probe_result_of(container, num_frames=12, size_bytes=path.stat().st_size)
    for _ in range(2):
        looks.clear()
        assert clip(path, probe_result, **segment).failure is None
        assert looks == ["open", "demux"]
    containers._known.clear()


def test_the_sparse_decoder_takes_over_the_open_file(path, looks):
    with open_video(str(path)) as reader:
        shown = [read_number(frame) for frame in reader.read(np.array([0, 5, 11]))]
        assert [read_number(frame) for frame in reader.read(np.array([3]))] == [3]
    assert shown == [0, 5, 11]
    assert looks == ["open", "demux"]


def test_large_files_are_looked_into_once_and_then_sought(path, looks, monkeypatch):
    monkeypatch.setattr(packet_list, "MOST_KEPT_BYTES", 0)
    with open_video(str(path)) as reader:
        assert [read_number(frame) for frame in reader.read(np.array([2, 9]))] == [2, 9]
    assert looks == ["open", "demux"]  # what is demuxed after seeking, from the key frame on, is not counted here
    looks.clear()
    with open_video(str(path)) as reader:
        assert [read_number(frame) for frame in reader.read(np.array([4]))] == [4]
    assert looks == ["open"]


@pytest.fixture
def closes(monkeypatch):
    """One entry per file that was opened for a walk and is closed."""
    closed, close = [], containers.OpenFile.close

    def recorded(file):
        closed.append(file)
        close(file)

    monkeypatch.setattr(containers.OpenFile, "close", recorded)
    return closed


@pytest.mark.usefixtures("looks")
def test_the_file_is_closed_when_no_decoder_needs_it(path, closes):
    with open_video(str(path), "pyav"):
        assert len(closes) == 1
    containers._known.clear()
    with open_video(str(path), "sparse") as reader:
        assert len(closes) == 1
        reader.read(np.array([1]))
    assert len(closes) == 2
    containers._known.clear()
    with pytest.raises(ZeroDivisionError), open_video(str(path)):
        raise ZeroDivisionError
    assert len(closes) == 3


def test_a_file_that_is_refused_is_closed(tmp_path, closes):
    video = write_video(tmp_path / "a.mp4", num_frames=12, container_options={"movflags": "faststart"})
    content = video.path.read_bytes()
    video.path.write_bytes(content[:-200])
    with pytest.raises(VideoDecodeError, match="truncated"), open_video(str(video.path)):
        pass
    assert len(closes) == 1


@pytest.mark.usefixtures("looks")
def test_times_of_frames_are_those_of_the_walk(path):
    container = probe(str(path))
    known = probe_result_of(container, num_frames=12, size_bytes=path.stat().st_size)
    for decoder in ("sparse", "pyav"):
        with open_video(str(path), decoder, known) as reader:
            assert (reader.frame_seconds is not None) == container.variable_frame_rate
        with open_video(str(path), decoder, replace(known, variable_frame_rate=True)) as reader:
            np.testing.assert_array_equal(reader.frame_seconds, container.frame_seconds)


def test_what_is_known_of_files_is_bounded(path, looks, monkeypatch):
    monkeypatch.setattr(containers, "MOST_KNOWN", 1)
    probe(str(path))
    other = path.with_name("other.mp4")
    write_video(other, num_frames=3)
    assert probe(str(other)).num_packets == 3
    assert len(containers._known) == 1
    assert looks == ["open", "demux"] * 2
    probe(str(other))
    assert len(looks) == 4
