"""Whether a packet that is marked as a key frame holds one."""

import shutil
import subprocess
from collections import Counter

import av
import pytest

from tests import corpus
from videoctx.data.decoding.containers import probe
from videoctx.data.decoding.key_frames import is_key_frame

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="FFmpeg's command line is not installed")


@needs_ffmpeg
def test_packets_of_encoders_are_what_they_are_marked_as(tmp_path):
    found = {}
    for name in ("h264_closed.mp4", "hevc_closed.mp4", "mpeg4.avi", "vp8.webm", "vp9.webm", "av1.mp4"):
        with av.open(str(corpus.make(name, tmp_path))) as container:
            stream = container.streams.video[0]
            codec, extradata = stream.codec_context.codec.canonical_name, bytes(stream.codec_context.extradata or b"")
            packets = [packet for packet in container.demux(stream) if packet.size]
        found[name] = Counter((packet.is_keyframe, is_key_frame(codec, bytes(packet), extradata)) for packet in packets)
    assert found == {name: {(True, True): 3, (False, False): 57} for name in found}


@needs_ffmpeg
@pytest.mark.parametrize("name", ["h264_closed.mp4", "vp9.mp4", "av1.mp4"])
def test_a_key_frame_of_the_table_that_is_none_is_found(name, tmp_path):
    path = tmp_path / name
    if name == "vp9.mp4":
        source = corpus.make("vp9.webm", tmp_path)
        subprocess.run(["ffmpeg", "-v", "error", "-i", str(source), "-c", "copy", str(path)], check=True)
    else:
        corpus.make(name, tmp_path)
    content = bytearray(path.read_bytes())
    second = content.index(b"stss") + 16
    assert content[second : second + 4] == (25).to_bytes(4, "big")
    content[second : second + 4] = (31).to_bytes(4, "big")
    path.write_bytes(content)
    container = probe(str(path))
    assert container.num_false_key_frames == 1
    assert not {"decord", "torchcodec"} & set(container.decoders)


def test_headers_that_are_cut_off_are_taken_for_key_frames():
    assert is_key_frame("av1", bytes([0x0A]), b"")
    assert is_key_frame("av1", bytes([0x12, 0x00]), b"")  # a temporal delimiter alone
    assert not is_key_frame("vp9", bytes([0xA2 | 0x04]), b"")
    assert is_key_frame("vp9", bytes([0xB0]), b"")  # profile 3
    assert not is_key_frame("vp9", bytes([0xB2]), b"")
