"""The sparse decoder returns PyAV's frames pixel for pixel, or leaves a file to other decoders."""

import shutil
import subprocess

import numpy as np
import pytest

from tests import corpus
from videoctx.data.decoding import containers, packet_list
from videoctx.data.decoding.containers import probe
from videoctx.data.decoding.packet_use import PacketReader, PacketUse, is_vp9_hidden
from videoctx.data.decoding.parameter_sets import FIELDS_APART, ParameterSets
from videoctx.data.decoding.video_reader import open_video

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="FFmpeg's command line is not installed")

_X264 = "-c:v libx264 -preset veryfast -threads 1 -pix_fmt yuv420p -g 15 -sc_threshold 0 -x264-params log-level=none"
_X265 = "-c:v libx265 -preset superfast -pix_fmt yuv420p -x265-params pools=1:frame-threads=1:log-level=none:keyint=16"
# what is encoded, and what the sparse decoder must not be exact on (None: it is)
KINDS = {
    "pyramid.mp4": (f"{_X264}:bframes=8:b-adapt=0:b-pyramid=normal:ref=4:direct=temporal", None),
    "open_flat.mp4": (f"{_X264}:open-gop=1:b-pyramid=none", None),
    "open_bluray.mp4": (f"{_X264}:open-gop=1:b-pyramid=none:bluray-compat=1", None),  # it lists unused references
    "open_pyramid.mp4": (f"{_X264}:open-gop=1:b-pyramid=normal:bframes=5:b-adapt=0", "open GOPs"),
    "interlaced.mp4": (f"{_X264} -flags +ildct+ilme", None),
    "slices.mp4": (f"{_X264}:slices=3:aud=1:repeat-headers=1", None),
    "intra.mp4": (f"{_X264} -g 1", None),
    "layers.mp4": (f"{_X265}:temporal-layers=3:bframes=7:b-adapt=0", None),
    "radl.mp4": (f"{_X265}:open-gop=0:radl=2:bframes=4:b-adapt=0", None),
    "fields.mp4": (f"{_X265}:interlace=tff", None),
    "mpeg4_interlaced.mp4": ("-c:v mpeg4 -bf 2 -g 12 -flags +ildct+ilme", "B-frames of MPEG-4"),
    "chroma_at_the_top_left.mp4": (f"{_X264}:chromaloc=2", None),
}
INTERLACED = {"interlaced.mp4", "fields.mp4", "mpeg4_interlaced.mp4"}


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("sparse")


def encode(name, options, folder):
    path = folder / name
    source = "testsrc2=s=96x96:r=25:d=1.6,noise=alls=25:allf=t"
    command = ["ffmpeg", "-v", "error", "-nostdin", "-f", "lavfi", "-i", source, *options.split(), str(path)]
    made = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if "Unknown encoder" in made.stderr:
        pytest.skip(made.stderr)
    assert made.returncode == 0, made.stderr
    return path


def requests(num_frames):
    yield np.arange(num_frames)
    yield np.arange(0, num_frames, 7)
    yield from (np.array([index]) for index in range(2, num_frames, 5))
    yield from (np.arange(start, min(start + 17, num_frames), 4) for start in range(1, num_frames, 9))


def assert_equal_to_pyav(path):
    with open_video(str(path), "pyav") as reader:
        wanted = reader.read(np.arange(reader.num_frames))
    for number, indices in enumerate(requests(len(wanted))):
        if number % 2 == 0:
            containers._known.clear()  # so that the decoder continues with the file that was looked into
        with open_video(str(path), "sparse") as reader:
            assert reader.num_frames == len(wanted)
            np.testing.assert_array_equal(reader.read(indices), wanted[indices], err_msg=f"{path.name}: {indices}")


@needs_ffmpeg
@pytest.mark.parametrize("name", KINDS)
def test_every_pixel_is_pyavs(name, folder):
    options, reason = KINDS[name]
    path = encode(name, options, folder)
    why_not = probe(str(path)).why_not.get("sparse")
    assert (corpus.planes_of(path) is None) == (name in INTERLACED)
    if reason is None:
        assert why_not is None
        assert_equal_to_pyav(path)
    else:
        assert reason in why_not


@needs_ffmpeg
def test_large_files_are_sought(folder, monkeypatch):
    monkeypatch.setattr(packet_list, "MOST_KEPT_BYTES", 0)
    for name in ("h264_closed.mp4", "hevc_default.mp4", "cut.mp4", "vp9.webm", "mpeg4.avi"):
        assert_equal_to_pyav(corpus.make(name, folder))


@needs_ffmpeg
def test_the_list_of_a_large_file_is_remembered_until_the_file_changes(folder, monkeypatch):
    monkeypatch.setattr(packet_list, "MOST_KEPT_BYTES", 0)
    path = corpus.make("h264_closed.mp4", folder)

    def listed():
        with open_video(str(path), "sparse") as reader:
            return reader.reader._list

    first = listed()
    assert listed() is first
    path.touch()
    assert listed() is not first


@needs_ffmpeg
def test_incorrect_sync_tables_do_not_matter(folder, tmp_path):
    content = corpus.make("h264_closed.mp4", folder).read_bytes()
    entry = content.index(b"stss") + 12  # the first of three: frames 1, 25 and 49
    tables = {
        "none.mp4": content.replace(b"stss", b"free"),  # all frames are marked as key frames
        "others.mp4": content[: entry + 4] + (20).to_bytes(4) + (40).to_bytes(4) + content[entry + 12 :],
    }
    for name, changed in tables.items():
        path = tmp_path / name
        path.write_bytes(changed)
        assert "sparse" in probe(str(path)).decoders, name
        assert_equal_to_pyav(path)


@needs_ffmpeg
def test_only_what_is_needed_is_decoded(folder):
    with open_video(str(encode("pyramid_.mp4", KINDS["pyramid.mp4"][0], folder)), "sparse") as reader:
        shown = [
            reader.reader._list.frames.tolist().index(place)
            for place in reader.reader._needed(0, [reader.reader._list.frames[14]])
        ]
        num_packets = int(reader.reader._list.frames[14]) + 1
    assert 14 in shown
    assert len(shown) < 0.7 * num_packets


def nal(*units):
    return b"".join(len(unit).to_bytes(4) + unit for unit in units)


def test_a_packets_use_is_read_from_its_bytes():
    """Against headers that are written down bit by bit, after the tables of the standards."""
    h264 = PacketReader("h264", b"\x01\x64\x00\x1f\xff")
    hevc = PacketReader("hevc", bytes(21) + b"\x03")
    intra, recovery = b"\x41\x88\x84", b"\x06\x06\x01\xc4\x80"  # first_mb 0, slice type 7; recovery_frame_cnt 0, exact
    cases = {
        "IDR": (h264, nal(b"\x65\x88\x84"), PacketUse(is_start=True)),
        "P": (h264, nal(b"\x41\x9a\x02"), PacketUse()),
        "unreferenced B": (h264, nal(b"\x01\x9e\x44"), PacketUse(is_unreferenced=True)),
        "one of two fields is referenced": (h264, nal(b"\x01\x9e\x44", b"\x41\x9e\x44"), PacketUse()),
        "I without a recovery point": (h264, nal(intra), PacketUse()),
        "I with one": (h264, nal(recovery, intra), PacketUse(is_start=True)),
        "I that recovers after 3 frames": (h264, nal(b"\x06\x06\x01\x24\x80", intra), PacketUse()),
        "P with a recovery point": (h264, nal(recovery, b"\x41\x9a\x02"), PacketUse()),
        "cut off": (h264, nal(b"\x65"), PacketUse()),
        "CRA": (hevc, nal(b"\x2a\x01"), PacketUse(is_start=True)),
        "RASL_N": (hevc, nal(b"\x10\x01"), PacketUse(is_unreferenced=True, is_leading=True)),
        "TRAIL_R": (hevc, nal(b"\x02\x01"), PacketUse()),
        "TSA_N of the second layer": (hevc, nal(b"\x04\x02"), PacketUse(is_unreferenced=True, layer=1)),
        "VP9 key frame": (PacketReader("vp9", b""), b"\x82\x49", PacketUse(is_start=True)),
        "VP9 hidden key frame": (PacketReader("vp9", b""), b"\x80\x49", PacketUse()),
        "VP9 inter frame": (PacketReader("vp9", b""), b"\x86\x00", PacketUse()),
        "AV1 key frame": (PacketReader("av1", b""), b"\x12\x00\x0a\x01\x00\x32\x01\x10", PacketUse(is_start=True)),
        "AV1 inter frame": (PacketReader("av1", b""), b"\x12\x00\x32\x01\x30", PacketUse()),
    }
    for what, (reader, packet, use) in cases.items():
        assert reader.use(memoryview(packet)) == use, what


def test_vp9_packets_that_show_nothing_are_found():
    assert is_vp9_hidden(b"\x84\x00\x00")
    assert not is_vp9_hidden(b"\x86\x00\x00")
    assert not is_vp9_hidden(b"\x84\x00\xc1")  # a superframe


def bits(text):
    text = text.replace(" ", "") + "1"
    return int(text.ljust(-(-len(text) // 8) * 8, "0"), 2).to_bytes(-(-len(text) // 8))


def test_fields_in_packets_of_their_own_are_found():
    # profile 77, level 30, id 0, 4 bits of frame_num, order type 2, 1 reference, no gaps, 6 × 6 macroblocks, fields
    sequence = b"\x67" + bits("01001101 00000000 00011110 1 1 011 010 0 00110 00110 0 1 1 0 0")
    extradata = b"\x01\x4d\x00\x1e\xff\xe1" + len(sequence).to_bytes(2) + sequence + b"\x00"
    frame, top, bottom = (b"\x41" + bits(f"1 1 1 0000 {kind}" + "0" * 40) for kind in ("0", "10", "11"))
    for packets, problem in (
        ([nal(frame), nal(frame)], None),
        ([nal(frame), nal(top, bottom)], None),
        ([nal(frame), nal(top), nal(bottom)], FIELDS_APART),
        ([nal(frame), nal(b"\x67\x4d" + sequence[2:-1] + b"\x77")], "parameter sets change"),
    ):
        watched = ParameterSets(PacketReader("h264", extradata), extradata)
        for packet in packets:
            watched.watch(memoryview(packet))
        assert watched.problem == problem
