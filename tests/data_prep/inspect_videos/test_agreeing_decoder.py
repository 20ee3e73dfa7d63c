"""Inspection names only decoders that return PyAV's frames, and survives those that hang or crash."""

import os
import shutil
from pathlib import Path

import av
import numpy as np
import pytest

from data_prep.inspect_videos import decoder_process, inspection
from data_prep.inspect_videos.agreeing_decoder import agreeing_decoder
from data_prep.inspect_videos.compared_frames import SampledFrames, frames_to_compare, sample_pixels
from data_prep.inspect_videos.decoder_process import DecoderProcess, Request
from data_prep.inspect_videos.inspection import inspect_file
from tests import corpus
from tests.numbered import write_video
from videoctx.data.annotations import ProbeResult
from videoctx.data.decoding.containers import probe
from videoctx.data.decoding.pyav_reader import decode
from videoctx.data.decoding.video_reader import is_installed, open_video
from videoctx.data.storage.local_files import LocalFiles

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="FFmpeg's command line is not installed")
needs_decord = pytest.mark.skipif(not is_installed("decord"), reason="decord is not installed")
MAX_MEAN_DIFFERENCE = 1.5
ALIKE = {corpus.HANGING, "default_second.mkv", "default_second.mp4", "cover.mp4"}  # to others of the corpus


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("compared")


def inspect(path: Path) -> dict[str, str]:
    return inspect_file(str(path), files=LocalFiles())


def lie_about_key_frames(source: Path, target: Path, numbers: list[int]) -> Path:
    """Copy an MP4 with other numbers, from 1, in its table of key frames."""
    content = bytearray(source.read_bytes())
    start = content.index(b"stss") + 12
    for place, number in enumerate(numbers):
        content[start + 4 * place : start + 4 * place + 4] = number.to_bytes(4, "big")
    target.write_bytes(content)
    return target


def odd_files(folder: Path) -> dict[str, Path]:
    """Files on which decoders that seek return other frames than were asked for, or might."""
    closed = corpus.make("h264_closed.mp4", folder)  # key frames 1, 25, 49
    files = {name: corpus.make(name, folder) for name in sorted(corpus.UNSURE - ALIKE)}
    files["lying table"] = lie_about_key_frames(closed, folder / "lying.mp4", [1, 20, 40])
    files["one lie"] = lie_about_key_frames(closed, folder / "one_lie.mp4", [1, 25, 43])
    for name, codec in {"codec.mkv": "mpeg2video", "codec.3gp": "h263"}.items():
        size = {"width": 176, "height": 144}
        options = {"g": "20"}
        files[name] = write_video(folder / name, num_frames=60, codec=codec, options=options, **size).path
    files["h263 lying"] = lie_about_key_frames(files["codec.3gp"], folder / "lying.3gp", [1, 11, 31])
    return files


@needs_ffmpeg
def test_decoders_that_are_named_return_ffmpeg_s_frames(folder):
    incorrect = []
    for name, path in odd_files(folder).items():
        found, wanted = inspect(path), corpus.expect(path)
        assert found["problem"] == "", name
        assert int(found["num_frames"]) == len(wanted), name
        assert found["decoders"].split()[-1] == "pyav", name
        probe_result = ProbeResult(
            path.stat().st_size, (), len(wanted), float(found["fps"]), video_stream=int(found["video_stream"])
        )
        for decoder in found["decoders"].split():
            for start in range(0, len(wanted), 11):
                indices = np.arange(start, min(start + 16, len(wanted)), 3)
                with open_video(str(path), decoder, probe_result) as reader:
                    frames = reader.read(indices)
                if np.abs(frames.astype(np.int16) - wanted[indices]).mean((1, 2, 3)).max() > MAX_MEAN_DIFFERENCE:
                    incorrect.append((name, decoder, start))
    assert not incorrect


class Lie:
    """What a decoder returns that does not return what it was asked for."""

    honest = staticmethod(lambda frames, index: frames[index])
    next_frame = staticmethod(lambda frames, index: frames[min(index + 1, len(frames) - 1)])
    frame_before = staticmethod(lambda frames, index: frames[max(index - 1, 0)])
    gray_after_a_seek = staticmethod(lambda frames, index: frames[index] if index < 24 else frames[index] * 0 + 128)
    last_is_repeated = staticmethod(lambda frames, index: frames[min(index, len(frames) - 2)])
    smaller = staticmethod(lambda frames, index: frames[index][::2, ::2])
    brighter = staticmethod(lambda frames, index: np.minimum(frames[index], 250) + 4)


@needs_ffmpeg
def test_a_decoder_that_lies_is_not_named(folder):
    path = str(corpus.make("h264_closed.mp4", folder))
    container = probe(path)
    frames = corpus.expect(Path(path))
    samples = SampledFrames(frames_to_compare(container, 60, range(3, 60, 8)))
    for index, frame in enumerate(decode(path)):
        samples.add(index, frame)
    fastest, second, *_ = container.decoders

    def named(lie):
        def read(decoder):
            returned = lie if decoder == fastest else Lie.honest
            return [sample_pixels(returned(frames, index)) for index in samples.indices]

        return agreeing_decoder(container, samples, read)

    lies = {name: named(getattr(Lie, name)) for name in vars(Lie) if not name.startswith("_")}
    assert lies.pop("honest") == fastest
    assert lies == dict.fromkeys(lies, second)
    assert agreeing_decoder(container, samples, {}.get) == "pyav"
    assert agreeing_decoder(container, samples, dict.fromkeys(container.decoders, ()).get) == "pyav"


@needs_ffmpeg
def test_inspection_writes_the_decoder_that_agrees(folder, monkeypatch):
    path = corpus.make("h264_closed.mp4", folder)
    fastest, second, *_ = probe(str(path)).decoders
    frames = corpus.expect(path)

    class FirstLies:
        def read(self, request, *, deadline_seconds):
            assert deadline_seconds > 0
            shift = request.decoder == fastest
            return [sample_pixels(frames[index - shift]) for read in request.reads for index in read]

    monkeypatch.setattr(inspection, "_decoders", FirstLies())
    assert inspect(path)["decoders"] == f"{second} pyav"


@needs_decord
def test_a_decoder_that_hangs_is_killed(tmp_path, closed_gop_mp4):
    path = str(corpus.write_hanging_video(tmp_path / "hanging.mp4"))
    process = DecoderProcess()
    probe_result = ProbeResult(os.path.getsize(path), ("decord",), 3000, 25.0)
    assert process.read(Request(path, "decord", [range(1000, 1064, 2)], probe_result), deadline_seconds=2) is None
    path = str(closed_gop_mp4.path)
    probe_result = ProbeResult(os.path.getsize(path), ("decord",), closed_gop_mp4.num_frames, 30.0)
    assert len(process.read(Request(path, "decord", [[3, 9]], probe_result), deadline_seconds=600)) == 2


def test_a_decoder_that_crashes_fails_that_file_only(closed_gop_mp4, monkeypatch):
    path, num_frames = str(closed_gop_mp4.path), closed_gop_mp4.num_frames
    request = Request(path, "pyav", [[3, 9]], ProbeResult(os.path.getsize(path), ("pyav",), num_frames, 30.0))
    crash = (
        "import os; from data_prep.inspect_videos import decoder_process; decoder_process._read = lambda _: os._exit(9)"
    )
    process = DecoderProcess()
    with monkeypatch.context() as patch:
        patch.setattr(decoder_process, "_START", f"{crash}; decoder_process._serve()")
        assert process.read(request, deadline_seconds=600) is None
    assert len(process.read(request, deadline_seconds=600)) == 2
    assert DecoderProcess().read(Request(path, "none", [[3]], request.probe_result), deadline_seconds=600) is None


def test_a_frame_off_by_one_is_noticed_although_colors_differ_a_little():
    samples = SampledFrames([[1, 2, 3, 4]])
    images = [corpus.faint_image(index, width=160, height=120) for index in range(6)]
    for index, image in enumerate(images):
        samples.add(index, av.VideoFrame.from_ndarray(image, format="rgb24"))
    for index in samples.indices:
        assert samples.shows(index, sample_pixels(images[index]))
        assert samples.shows(index, sample_pixels(images[index]) + 1)
        assert not samples.shows(index, sample_pixels(images[index - 1]))
        assert not samples.shows(index, sample_pixels(images[index + 1]))
        assert not samples.shows(index, sample_pixels(images[index]) + 3)
    still = SampledFrames([[1]])
    for index in range(3):
        still.add(index, av.VideoFrame.from_ndarray(images[0], format="rgb24"))
    assert still.shows(1, sample_pixels(images[0]) + 1)  # of three equal frames


@needs_ffmpeg
def test_frames_after_key_frames_and_the_last_are_compared(folder):
    later, first = frames_to_compare(probe(str(corpus.make("h264_closed.mp4", folder))), 60, range(3, 60, 8))
    assert {25, 49, 59} <= set(later)
    assert 1 in first
    (one_gop,) = frames_to_compare(probe(str(corpus.make("h264_one_gop.mp4", folder))), 60, range(3, 60, 8))
    assert one_gop[-1] == 15  # the last one is too far
    assert frames_to_compare(probe(str(corpus.make("one.mp4", folder))), 1, [0] * 8) == [[0]]
