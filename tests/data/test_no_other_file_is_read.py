"""A file that comes as a video makes no decoder read another file, whatever it contains and however it is named."""

import os
import shutil
import struct
from pathlib import Path

import pytest

from tests.each_case import each_case
from videoctx.data.decoding.containers import VideoDecodeError
from videoctx.data.decoding.video_reader import is_installed, open_video
from videoctx.inference.live_source import LiveSource, SourceError

DASH = (
    '<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"'
    ' mediaPresentationDuration="PT2S"><Period><AdaptationSet mimeType="video/mp4">'
    '<Representation id="0" bandwidth="1"><BaseURL>other.mp4</BaseURL></Representation></AdaptationSet></Period></MPD>'
)
CONTENTS = {
    "HLS": "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nother.mp4\n#EXT-X-ENDLIST\n",
    "FFconcat": "ffconcat version 1.0\nfile other.mp4\n",
    "DASH": f'<?xml version="1.0"?>\n{DASH}',
    "DASH without a declaration": DASH,
    "DASH after bytes of Matroska": b"\x1a\x45\xdf\xa3\x9f" + DASH.encode(),
    "DASH after an MP4 atom": f"AAAAfree{DASH}",
    "IMF": '<?xml version="1.0"?><CompositionPlaylist xmlns="http://www.smpte-ra.org/schemas/2067-3/2016">other.mp4',
    "SDP": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=a\nc=IN IP4 127.0.0.1\nt=0 0\n"
    "m=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
    "AviSynth": 'FFmpegSource2("other.mp4")\n',
    "VapourSynth": "import vapoursynth\nvapoursynth.core.ffms2.Source('other.mp4').set_output()\n",
    "VobSub": "# VobSub index file, v7\nid: en, index: 0\ntimestamp: 00:00:01:000, filepos: 000000000\n",
    "WebM DASH manifest": b"\x1a\x45\xdf\xa3\x80other.mp4",
    "ASX": '<asx version="3.0"><entry><ref href="other.mp4"/></entry></asx>',
    "RealMedia list": "file:other.mp4\n",
    "movie=, as lavfi reads it": "movie=other.mp4\n",
    "ANSI text": "\x1b[31mother.mp4\x1b[0m\n" * 20,
    "SRT": "1\n00:00:00,000 --> 00:00:02,000\nother.mp4\n",
}
NAMES = (
    *("concat:other.mp4", "concat:other.mp4|other.mp4", "subfile,,start,0,end,0,,:other.mp4", "crypto:other.mp4"),
    *("async:other.mp4", "cache:other.mp4", "file:other.mp4", "data:video/mp4;base64,AAAA", "lavfi:movie=other.mp4"),
    *("other%d.mp4", "oth%*r.mp4", "pipe:0", "fd:0", "rtp:127.0.0.1:5004", "bluray:.", "tee:other.mp4"),
)
LONG_AGO, LATER = 1_000_000_000, 1_000_000_001


@pytest.fixture
def other(closed_gop_mp4, tmp_path, monkeypatch):
    """A video that no test may read, in the working directory. Reading it changes its time of access."""
    monkeypatch.chdir(tmp_path)
    path = Path(shutil.copy(closed_gop_mp4.path, "other.mp4"))
    os.utime(path, (LONG_AGO, LATER))
    with path.open("rb") as file:
        file.read(1)
    if path.stat().st_atime == LONG_AGO:
        pytest.skip("this file system keeps no times of access")
    os.utime(path, (LONG_AGO, LATER))
    return path


def read_with_every_decoder(name):
    for decoder in ("auto", *filter(is_installed, ("decord", "torchcodec", "pyav"))):
        with pytest.raises(VideoDecodeError), open_video(name, decoder):
            pass
    with pytest.raises((SourceError, ValueError)):
        next(LiveSource(name).frames())


@each_case("what", CONTENTS)
def test_no_content_makes_a_decoder_read_another_file(other, what):
    content = CONTENTS[what]
    for name in ("video.mp4", "video.m3u8"):
        Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
        read_with_every_decoder(name)
    assert other.stat().st_atime == LONG_AGO


def with_media_in_another_file(movie: bytes, path: str) -> bytes:
    """Return a QuickTime file whose tracks have their samples in another file, named by an alias in its `dref` atom."""

    def atom(kind: bytes, payload: bytes) -> bytes:
        return struct.pack(">I", 8 + len(payload)) + kind + payload

    def rewritten(data: bytes) -> bytes:
        result, start = b"", 0
        while start < len(data):
            size, kind = struct.unpack_from(">I4s", data, start)
            payload = data[start + 8 : start + size]
            start += size
            if kind in (b"moov", b"trak", b"mdia", b"minf", b"dinf"):
                payload = rewritten(payload)
            elif kind == b"dref":
                payload = struct.pack(">II", 0, 1) + atom(b"alis", bytes(4) + alias)
            if kind != b"mdat":
                result += atom(kind, payload)
        return result

    name = path.encode()
    volume, filename = b"disk".ljust(27, b"\0"), name.ljust(63, b"\0")
    levels = struct.pack(">HH", 1, 1)  # folders up and down
    alias = bytes(10) + b"\x04" + volume + bytes(12) + bytes([len(name)]) + filename + bytes(16) + levels
    for kind in (2, 18):  # the path with colons, and with slashes
        text = name + bytes(len(name) % 2)
        alias += (bytes(16) if kind == 2 else b"") + struct.pack(">HH", kind, len(name)) + text
    return rewritten(movie) + struct.pack(">I4s", 8, b"mdat")


def test_a_movie_with_its_samples_in_another_file_reads_no_other_file(other):
    own = other.read_bytes()
    os.utime(other, (LONG_AGO, LATER))
    for path in (other.name, str(other)):
        Path("video.mov").write_bytes(with_media_in_another_file(own, path))
        read_with_every_decoder("video.mov")
    assert other.stat().st_atime == LONG_AGO


@each_case("name", NAMES)
def test_no_name_makes_a_decoder_read_another_file(other, name):
    read_with_every_decoder(name)
    assert other.stat().st_atime == LONG_AGO
