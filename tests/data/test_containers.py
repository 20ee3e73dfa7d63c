"""The probe result on a container, and that `auto` is exact whatever the probe result is."""

import gc
import shutil
import subprocess
from dataclasses import replace
from fractions import Fraction
from types import SimpleNamespace

import av
import numpy as np
import pytest

from tests.numbered import CLOSED_GOP, read_number, write_video
from videoctx.data.decoding import display_matrix as display_matrix_file
from videoctx.data.decoding.containers import VideoDecodeError, probe
from videoctx.data.decoding.display_matrix import display_matrix
from videoctx.data.decoding.frame_rate import constant_rate
from videoctx.data.decoding.video_reader import is_installed, open_video
from videoctx.data.decoding.video_stream import decode_stream, demux
from videoctx.inference.timed_frames import open_timed_frames

OPEN_GOP = CLOSED_GOP | {"x264-params": "open-gop=1:b-adapt=0:b-pyramid=normal:threads=1:log-level=none"}
MPEG4 = {"g": "24", "bf": "2"}
KINDS = {  # file name: codec, options, the part of the probe result that it must name (None: decord)
    "closed.mp4": ("libx264", CLOSED_GOP, None),
    "closed.mkv": ("libx264", CLOSED_GOP, None),
    "intra.mkv": ("mjpeg", {}, None),
    "vp9.webm": ("libvpx-vp9", {"g": "24", "deadline": "realtime"}, None),
    "open.mp4": ("libx264", OPEN_GOP, "open GOP"),
    "open.mkv": ("libx264", OPEN_GOP, "open GOP"),
    "hevc.mkv": ("libx265", {"x265-params": "keyint=24:log-level=none"}, "open GOP"),
    "mpeg4.mp4": ("mpeg4", MPEG4, "open GOP"),
    "mpeg4.avi": ("mpeg4", MPEG4, "AVI"),
    "closed.asf": ("libx264", CLOSED_GOP, "asf"),
    "closed.ts": ("libx264", CLOSED_GOP, "mpegts"),
    "mpeg1.mpg": ("mpeg1video", {"g": "24"}, "mpeg"),
}


@pytest.fixture(scope="module", params=KINDS)
def video(request, tmp_path_factory):
    codec, options, _ = KINDS[request.param]
    if codec not in av.codecs_available:
        pytest.skip(f"this FFmpeg has no {codec}")
    path = tmp_path_factory.mktemp("kinds") / request.param
    pixel_format = {"pixel_format": "yuvj420p"} if codec == "mjpeg" else {}
    return write_video(path, num_frames=60, fps=25, codec=codec, options=options, **pixel_format)


def test_probe_result(video):
    reason = KINDS[video.path.name][2]
    container = probe(str(video.path))
    assert ("decord" in container.decoders) == (reason is None)
    assert reason is None or reason in container.why_not["decord"]


@pytest.mark.parametrize("indices", [range(60), range(0, 60, 7), (59,), (25,), (1, 23, 24, 49)])
def test_auto_is_exact(video, indices):
    with open_video(str(video.path)) as reader:
        assert reader.num_frames == 60
        frames = reader.read(np.array(indices))
    assert [read_number(frame) for frame in frames] == list(indices)


def test_the_container_counts_not_the_suffix(b_frame_avi, tmp_path):
    path = shutil.copy(b_frame_avi.path, tmp_path / "renamed.mp4")
    assert probe(str(path)).format == "avi"
    assert probe(str(path)).decoders == ("pyav",)


def test_facts(closed_gop_mp4):
    container = probe(str(closed_gop_mp4.path))
    assert container.codec == "h264"
    assert (container.num_packets, container.num_discarded) == (60, 0)
    assert container.gop_lengths == (24, 24, 12)
    assert container.fps == 30
    assert container.duration_seconds == pytest.approx(2.0)
    assert container.has_b_frames
    assert not container.open_gop
    assert not container.variable_frame_rate


def test_narrow_frames_go_to_pyav(tmp_path):
    narrow = write_video(tmp_path / "narrow.mp4", num_frames=3, width=72, height=96)
    with open_video(str(narrow.path)) as reader:  # decord cannot read frames 72 pixels wide
        assert [read_number(frame) for frame in reader.read(np.arange(3))] == [0, 1, 2]


def test_a_changed_file_is_probed_again(tmp_path):
    path = tmp_path / "video.mp4"
    write_video(path, num_frames=3)
    assert probe(str(path)).num_packets == 3
    write_video(path, num_frames=5)
    assert probe(str(path)).num_packets == 5


def test_a_size_that_changes_is_an_error_not_a_crash(tmp_path):
    parts = [write_video(tmp_path / f"{width}.ts", num_frames=8, width=width, height=96).path for width in (112, 160)]
    path = tmp_path / "both.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    with pytest.raises(VideoDecodeError, match="112×96 to 160×96"), open_video(str(path)) as reader:
        reader.read(np.arange(reader.num_frames))


def test_an_unknown_decoder_is_refused(closed_gop_mp4):
    with (
        pytest.raises(ValueError, match="'opencv'; expected one of auto, sparse, decord, torchcodec, pyav"),
        open_video(str(closed_gop_mp4.path), "opencv"),
    ):
        pass


def test_every_packet_that_may_show_nothing_is_counted(tmp_path):
    whole = write_video(tmp_path / "whole.avi", num_frames=12, codec="mpeg4", options={"bf": "0"}).path
    path = tmp_path / "as_before.avi"
    with av.open(str(whole)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(source.demux(video=0)):
            if not packet.size:
                continue
            if number == 5:  # the start of a image, and that it is as before: what Xvid writes for a doubled frame
                nothing = av.Packet(b"\x00\x00\x01\xb6\x5f\x00\x7f")
                nothing.pts, nothing.dts, nothing.time_base = packet.pts, packet.dts, packet.time_base
                packet = nothing
            packet.stream = stream
            target.mux(packet)
    container = probe(str(path))
    assert (container.num_packets, container.num_empty, container.num_frames) == (12, 1, None)
    assert container.decoders == ("pyav",)


def test_all_key_frames_are_believed_of_no_codec_that_has_others(tmp_path):
    intra = write_video(tmp_path / "intra.mp4", num_frames=12, options={"g": "1", "x264-params": "log-level=none"})
    assert probe(str(intra.path)).decoders == ("sparse", "pyav")  # which reads the packets themselves


class ContainerThatEndsWithAnError:
    """What PyAV makes of an NSV file, which FFmpeg cannot write."""

    def __init__(self, name):
        self.format = SimpleNamespace(name=name)

    def decode(self, _stream):
        yield "first"
        raise av.error.PermissionError(1, "Operation not permitted")

    demux = decode


def test_the_end_of_an_nsv_file_is_no_damage():
    stream = SimpleNamespace(decode=lambda: ["last"])
    nsv, other = ContainerThatEndsWithAnError("nsv"), ContainerThatEndsWithAnError("flv")
    assert list(decode_stream(nsv, stream)) == ["first", "last"]
    assert list(demux(nsv, stream)) == ["first"]
    for function in (decode_stream, demux):
        with pytest.raises(PermissionError):
            list(function(other, stream))


def test_key_frames_out_of_order_are_left_to_those_that_read_packets(closed_gop_mp4):
    container = replace(probe(str(closed_gop_mp4.path)), key_frames=(1, 0, 24))
    assert container.decoders == ("sparse", "pyav")


def test_a_file_that_does_not_start_with_a_key_frame_is_left_to_pyav(tmp_path, closed_gop_mp4):
    path = tmp_path / "headless.mkv"
    with av.open(str(closed_gop_mp4.path)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(source.demux(video=0)):
            if packet.size and number > 4:
                packet.stream = stream
                target.mux(packet)
    assert "key frame" in probe(str(path)).why_not["torchcodec"]
    assert probe(str(path)).decoders == ("pyav",)


@pytest.mark.parametrize(
    ("degrees", "matrix"), [(0, [[1, 0], [0, 1]]), (90, [[0, -1], [1, 0]]), (-90, [[0, 1], [-1, 0]])]
)
def test_unknown_side_data_does_not_hide_the_rotation(degrees, matrix, monkeypatch):
    def unknown(_):  # an entry that PyAV has no name for, as spatial video and some cover art have
        raise ValueError("29 is not a valid Type")

    monkeypatch.setattr(display_matrix_file, "_side_data_of", unknown)
    assert display_matrix(SimpleNamespace(rotation=degrees)).tolist() == matrix


def test_no_frame_waits_for_the_garbage_collector(closed_gop_mp4):
    def num_frames() -> int:
        return sum(type(one) is av.VideoFrame for one in gc.get_objects())

    gc.collect()
    before = num_frames()
    gc.disable()
    try:
        for decoder in ("pyav", "sparse"):
            with open_video(str(closed_gop_mp4.path), decoder) as reader:
                reader.read(np.arange(4))
                reader.read_yuv(np.arange(4))
            del reader  # with its decoder, which holds an empty frame for the next image
            assert num_frames() == before, decoder
        with open_timed_frames(str(closed_gop_mp4.path)) as opened:
            assert sum(image.size > 0 for image, _ in opened.frames) > 4
        del opened
        assert num_frames() == before
    finally:
        gc.enable()


needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="FFmpeg's command line is not installed")


def ffmpeg(*arguments):
    subprocess.run(["ffmpeg", "-v", "error", "-y", *arguments], check=True)


@needs_ffmpeg
def test_a_song_with_a_cover_is_no_video(tmp_path):
    cover = (
        "-f lavfi -i sine=d=1 -f lavfi -i testsrc=d=0.04 -map 0 -map 1 -c:a aac -c:v png -disposition:v attached_pic"
    )
    ffmpeg(*cover.split(), str(tmp_path / "song.m4a"))
    with pytest.raises(VideoDecodeError, match="no video stream"):
        probe(str(tmp_path / "song.m4a"))


@needs_ffmpeg
@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
@pytest.mark.parametrize("default", [None, 0])
def test_one_rule_chooses_among_video_streams(tmp_path, suffix, default):
    sources = "-f lavfi -i testsrc2=s=96x80:r=10:d=1 -f lavfi -i testsrc2=s=160x120:r=25:d=2 -map 0 -map 1 -c:v mpeg4"
    marks = "-disposition:v 0" if default is None else "-disposition:v:0 default -disposition:v:1 0"
    if (suffix, default) == ("mp4", None):
        pytest.skip("FFmpeg always marks a stream of an MP4 as the default")
    path = tmp_path / f"two.{suffix}"
    ffmpeg(*sources.split(), *marks.split(), str(path))
    container = probe(str(path))
    facts = (container.stream_index, container.width, container.fps, container.num_packets)
    assert facts == ((0, 96, 10, 10) if default == 0 else (1, 160, 25, 50))
    assert container.num_video_streams == 2
    for decoder in filter(is_installed, ("torchcodec", "pyav", "auto")):
        with open_video(str(path), decoder) as reader:
            assert reader.num_frames == container.num_packets
            assert reader.read(np.arange(3)).shape[2] == container.width


@pytest.mark.parametrize(
    ("num_frames", "rate", "unit", "stated", "expected"),
    [
        (250, 25, 0.001, [50], 25),  # H.264 with B-frames in AVI
        (300, 31, 0.001, [1000], 31),  # FLV
        (30, Fraction(30000, 1001), 1 / 60000, [60000, Fraction(30000, 1001)], Fraction(30000, 1001)),  # raw DV
        (300, Fraction(30000, 1001), 0.001, [1000], Fraction(30000, 1001)),
        (300, Fraction(30000, 1001), 0.001, [Fraction(30000, 1001)], Fraction(30000, 1001)),
        (300, Fraction(2997, 100), 0.001, [Fraction(2997, 100)], Fraction(2997, 100)),
        (280, 13, 1e-5, [], 13),
        (1, 25, 0.001, [25], 25),
        (1, 25, 0.001, [], 0),
    ],
)
def test_the_rate_is_that_of_the_times(num_frames, rate, unit, stated, expected):
    times = np.round(np.arange(num_frames) / float(rate) / unit) * unit
    assert constant_rate(num_frames, times[-1] - times[0], unit, [Fraction(rate) for rate in stated]) == expected


@needs_ffmpeg
@pytest.mark.parametrize(
    ("name", "rate", "options"),
    [
        ("b_frames.avi", "25", "-c:v libx264 -bf 2"),
        ("odd.flv", "31", "-c:v flv1"),
        ("odd.mkv", "31", "-c:v libx264 -bf 2"),
        ("raw.dv", "30000/1001", "-s 720x480 -pix_fmt yuv411p"),
    ],
)
def test_the_rate_of_a_file_is_that_of_its_packets(tmp_path, name, rate, options):
    ffmpeg(*f"-f lavfi -i testsrc2=s=96x80:r={rate}:d=1 {options}".split(), str(tmp_path / name))
    container = probe(str(tmp_path / name))
    assert container.rate == Fraction(rate)
    assert container.fps == pytest.approx(float(Fraction(rate)))
    assert container.duration_seconds == pytest.approx(1, abs=0.04)
