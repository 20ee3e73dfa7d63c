"""A file that was cut or overwritten is found, and what is behind a complete video does no harm."""

import shutil
import subprocess

import av
import numpy as np
import pytest

from tests.each_case import each_case
from videoctx.data.decoding.containers import VideoDecodeError, probe, probe_whole
from videoctx.data.decoding.video_reader import open_video

pytestmark = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="FFmpeg's command line is not installed")

MADE = {  # FFmpeg's options
    "late_index.mp4": "-c:v libx264 -movflags +faststart",
    "fragments.mp4": "-c:v libx264 -g 10 -movflags frag_keyframe+empty_moov",
    "usual.mkv": "-c:v libx264",
    "usual.webm": "-c:v libvpx",
    "live.webm": "-c:v libvpx -g 10 -f webm -live 1",
    "usual.avi": "-c:v mpeg4",
    "usual.flv": "-c:v flv1",
    "usual.ts": "-c:v libx264",
    "blu_ray.m2ts": "-c:v libx264",
    "usual.ogv": "-c:v libtheora",
    "usual.gif": "",
    "usual.mxf": "-c:v mpeg2video -g 12",
    "usual.ivf": "-c:v libvpx",
}


LEFT_IN_A_BUFFER = bytes(80) + b"LIST" + (1 << 20).to_bytes(4, "little") + b"movi00dc"  # UT-Interaction has it in AVI


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return the path of each file."""
    folder = tmp_path_factory.mktemp("structure")
    source = "ffmpeg -v error -f lavfi -i testsrc2=s=96x80:r=25:d=2"
    for name, options in MADE.items():
        subprocess.run([*source.split(), *options.split(), str(folder / name)], check=True)
    return {name: folder / name for name in MADE}


@each_case("name", MADE)
def test_a_complete_file_is_complete(made, name):
    assert probe(str(made[name])).damage is None


@each_case("name", MADE)
def test_the_first_63_percent_of_a_file_are_refused(made, tmp_path, name):
    part = tmp_path / name
    part.write_bytes(made[name].read_bytes()[: made[name].stat().st_size * 63 // 100])
    with pytest.raises(VideoDecodeError, match=r"truncated|damaged"), open_video(str(part)) as reader:
        reader.read(np.arange(reader.num_frames))


@each_case("name", ["usual.mkv", "live.webm", "usual.avi", "usual.flv"])
def test_a_cut_between_two_frames_is_found_if_a_header_states_the_size(made, tmp_path, name):
    path, part = made[name], tmp_path / name
    with av.open(str(path)) as container:
        places = [packet.pos for packet in container.demux(video=0) if packet.pos]
    part.write_bytes(path.read_bytes()[: places[30]])
    if name == "usual.flv":  # its tags are complete, and no header is trusted to state their number
        assert probe(str(part)).num_packets == 30
        return
    with pytest.raises(VideoDecodeError, match="truncated"):
        probe_whole(str(part))


@each_case("name", ["usual.mkv", "late_index.mp4", "usual.avi", "usual.ogv"])
@each_case("tail", [bytes(999), b"<html>not found</html>" * 30, b"TAG" + bytes(125), LEFT_IN_A_BUFFER])
def test_what_is_behind_a_complete_video_does_no_harm(made, tmp_path, name, tail):
    path = tmp_path / name
    path.write_bytes(made[name].read_bytes() + tail)
    assert probe_whole(str(path)).num_packets == 50


@each_case("name", ["usual.flv", "usual.mkv", "live.webm", "usual.ogv"])
def test_overwritten_bytes_lose_no_frame_unnoticed(made, tmp_path, name):
    with av.open(str(made[name])) as container:
        places = [packet.pos for packet in container.demux(video=0) if packet.pos]
    content = bytearray(made[name].read_bytes())
    start = places[20] + 50
    stop = max(places[23] + 50, start + 300)  # one page of Ogg holds many packets
    content[start:stop] = bytes(stop - start)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(VideoDecodeError, match="damaged"):
        probe_whole(str(tmp_path / name))


def test_a_gif_whose_blocks_break_off_is_damaged(made, tmp_path):
    content = made["usual.gif"].read_bytes()
    place = content.index(b"\x21\xf9", len(content) // 2)  # the extension before an image
    (tmp_path / "a.gif").write_bytes(content[:place] + b"\x99" + content[place + 1 :])
    with pytest.raises(VideoDecodeError, match="damaged"):
        probe_whole(str(tmp_path / "a.gif"))


def test_a_media_box_that_states_too_much_is_no_damage_if_all_frames_are_there(made, tmp_path):
    content = bytearray(made["late_index.mp4"].read_bytes())
    place = content.index(b"mdat") - 4
    stated = int.from_bytes(content[place : place + 4], "big")
    content[place : place + 4] = (stated + 8).to_bytes(4, "big")
    (tmp_path / "a.mp4").write_bytes(content)
    assert probe_whole(str(tmp_path / "a.mp4")).num_packets == 50


def test_a_raw_stream_lasts_as_long_as_its_frames(tmp_path):
    path = tmp_path / "raw.h264"
    source = "ffmpeg -v error -f lavfi -i testsrc2=s=96x80:r=25:d=2 -c:v libx264 -bf 2"
    subprocess.run([*source.split(), str(path)], check=True)
    assert probe(str(path)).duration_seconds == pytest.approx(2)
