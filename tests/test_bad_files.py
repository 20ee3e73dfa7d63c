"""No file and no path ends a run: each is named, with the reason, and the other videos are used."""

import csv
import shutil
import subprocess

import av
import numpy as np
import pytest

from tests.tiny_runs import manifest_of, result_of
from tests.tiny_set import encode
from videoctx.cli.commands import is_user_error
from videoctx.data.annotations import ProbeResult
from videoctx.data.decoding.accepted_formats import FFMPEG_OPTIONS
from videoctx.data.decoding.containers import VideoDecodeError, decoder_errors, probe
from videoctx.data.decoding.video_reader import is_installed, open_video

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="FFmpeg's command line is not installed")

# A path in the manifest, and words of the reason.
BAD_PATHS = {
    "text.mp4": "a text file",
    "hls.mp4": "a playlist",
    "concat.mp4": "a playlist",
    "image.mp4": "an image or a list of files",
    "photo.mp4": "a JPEG image, or several",
    "truncated.mp4": "the file has no index",
    "zeroed.flv": "damaged",
    "song.m4a": "no video stream",
    "song_with_cover.m4a": "no video stream",
    "http://[::1": "not a URL: Invalid IPv6 URL",
    "http://127.0.0.1:1/a.mp4": "cannot be fetched",
    "wat://host/a.mp4": "wat:// is not accepted; expected file, http",
    "reference://a.mp4::http://127.0.0.1:1/a.json": "reference:// is not accepted",
    "file://host/a.mp4": "file:// with the host 'host'",
    "http:///a.mp4": "it names no host",
    "http://127.0.0.1:99999/a.mp4": "not a URL",
    "http://127.0.0.1:1/%2e%2e/%00caf%E9.mp4": "cannot be fetched",
    "gopher://host/a.mp4": "gopher:// is not accepted",
}


def ffmpeg(*arguments):
    subprocess.run(["ffmpeg", "-v", "error", "-y", *arguments], check=True)


@pytest.fixture(scope="module")
def bad_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bad")
    encode(folder / "good.mp4", name="blue_up", seed=1)
    content = (folder / "good.mp4").read_bytes()
    (folder / "truncated.mp4").write_bytes(content[: len(content) // 2])
    (folder / "text.mp4").write_text("no video at all\n" * 99)
    (folder / "hls.mp4").write_text(
        f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{folder}/good.mp4\n#EXT-X-ENDLIST\n"
    )
    (folder / "concat.mp4").write_text("ffconcat version 1.0\nfile 'good.mp4'\n")
    good = ("-i", str(folder / "good.mp4"))
    ffmpeg(*good, "-frames:v", "1", "-c:v", "png", "-f", "image2", str(folder / "image.mp4"))
    ffmpeg(*good, "-frames:v", "1", "-c:v", "mjpeg", "-f", "image2", str(folder / "photo.mp4"))
    ffmpeg(*good, "-c:v", "flv1", str(folder / "flv.flv"))
    flv = bytearray((folder / "flv.flv").read_bytes())
    flv[500:2500] = bytes(2000)
    (folder / "zeroed.flv").write_bytes(flv)
    sound = ("-f", "lavfi", "-i", "sine=d=1", "-c:a", "aac")
    ffmpeg(*sound, str(folder / "song.m4a"))
    cover = "-map 1 -map 0 -frames:v 1 -c:v png -disposition:v attached_pic"
    ffmpeg(*good, *sound, *cover.split(), str(folder / "song_with_cover.m4a"))
    for suffix in ("mp4", "mkv", "avi"):
        tags = (b"-metadata", b"title=caf\xe9", b"-metadata:s:v", b"handler_name=caf\xe9")
        ffmpeg(*good, "-c", "copy", *tags, str(folder / f"tags.{suffix}"))
    return folder


@needs_ffmpeg
@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi"])
def test_tags_that_are_not_utf8_do_no_harm(bad_files, suffix):
    path = str(bad_files / f"tags.{suffix}")
    assert probe(path).num_packets == 20
    for decoder in filter(is_installed, ("sparse", "decord", "torchcodec", "pyav")):
        with open_video(path, decoder) as reader:
            assert reader.read(np.array([0, 5])).shape == (2, 80, 96, 3)


@needs_ffmpeg
@pytest.mark.parametrize("decoder", ["decord", "torchcodec"])
def test_a_manifest_that_names_a_decoder_opens_no_playlist_with_it(bad_files, decoder):
    if not is_installed(decoder):
        pytest.skip(f"{decoder} is not installed")
    path = bad_files / "concat.mp4"
    named = ProbeResult(path.stat().st_size, (decoder,), 20, 10.0)
    with pytest.raises(VideoDecodeError, match="a playlist"), open_video(str(path), "auto", named):
        pass


@needs_ffmpeg
@pytest.mark.parametrize("name", ["text.mp4", "hls.mp4", "concat.mp4", "image.mp4", "photo.mp4"])
@pytest.mark.parametrize("decoder", ["auto", "sparse", "decord", "torchcodec", "pyav"])
def test_only_containers_of_videos_are_opened(bad_files, name, decoder):
    if decoder != "auto" and not is_installed(decoder):
        pytest.skip(f"{decoder} is not installed")
    with pytest.raises(VideoDecodeError, match=BAD_PATHS[name]), open_video(str(bad_files / name), decoder):
        pass


@needs_ffmpeg
def test_the_ffmpeg_program_has_the_same_limits(bad_files):
    arguments = ["ffmpeg", "-v", "error", *FFMPEG_OPTIONS, "-i", f"file:{bad_files}/concat.mp4", "-f", "null", "-"]
    assert subprocess.run(arguments, check=False, capture_output=True).returncode != 0
    arguments[arguments.index(f"file:{bad_files}/concat.mp4")] = f"file:{bad_files}/good.mp4"
    subprocess.run(arguments, check=True)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("29 is not a valid Type"),
        IndexError("list index out of range"),
        UnicodeDecodeError("utf-8", b"\xe9", 0, 1, "unexpected end"),
        type("DECORDLimitReachedError", (Exception,), {})("limit\nreached"),
        av.error.MemoryError(12, "Cannot allocate memory"),
    ],
)
def test_whatever_a_decoder_raises_is_the_files_failure(error):
    with pytest.raises(VideoDecodeError) as failed, decoder_errors("a.mp4"):
        raise error
    assert failed.value.path == "a.mp4"
    assert "\n" not in str(failed.value)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError(), VideoDecodeError("b.mp4", "damaged")])
def test_other_errors_pass_the_border(error):
    with pytest.raises(type(error)) as passed, decoder_errors("a.mp4"):
        raise error
    assert passed.value is error


def test_an_error_of_the_caller_is_not_the_files(closed_gop_mp4):
    with pytest.raises(IndexError), open_video(str(closed_gop_mp4.path)):
        raise IndexError("of the caller")


def test_the_error_printer_bears_code_without_a_module_name():
    with pytest.raises(ValueError, match="generated") as raised:
        exec("raise ValueError('generated')", {})
    raised.value.__traceback__.tb_next.tb_frame.f_globals.pop("__name__", None)
    assert not is_user_error(raised.value)
    assert not is_user_error(ValueError("never raised"))


@pytest.fixture
def bad_set(copy, bad_files, monkeypatch):
    """The tiny set, and one of each bad path in its training and test splits."""
    monkeypatch.setattr("videoctx.data.storage.remote.LONGEST_WAIT_SECONDS", 0)
    for path in bad_files.iterdir():
        shutil.copy(path, copy)
    with (copy / "manifest.csv").open("a", newline="") as file:
        for split in ("train", "test"):
            for path in [*BAD_PATHS, "tags.mp4"]:
                csv.writer(file).writerow([path, "blue_up", split, "", ""])
    return copy


@needs_ffmpeg
def test_a_training_names_each_bad_path_and_ends(run, bad_set, caplog):
    run(
        "fit",
        manifest_of(bad_set),
        "--data.train.max_failed_fraction=0.9",
        "--data.batch_size=1",
        "--trainer.max_epochs=1",
    )
    lines = [message for message in caplog.messages if "left out of training" in message]
    assert_all_named(lines, bad_set)


@needs_ffmpeg
def test_a_test_counts_each_bad_path_as_incorrect(run, place, bad_set, caplog):
    folder = run("test", manifest_of(bad_set), f"--ckpt_path={place.last}")
    assert result_of(folder)["num_failed"] == len(BAD_PATHS)
    assert_all_named([message for message in caplog.messages if "counted as incorrect" in message], bad_set)


def assert_all_named(lines, folder):
    for path, reason in BAD_PATHS.items():
        name = path if "://" in path else str(folder / path)
        (line,) = [line for line in lines if f"{name}: " in line]
        assert reason in line.partition(f"{name}: ")[2]
    assert len(lines) == len(BAD_PATHS)
