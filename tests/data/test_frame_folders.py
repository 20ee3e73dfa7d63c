"""Tests of videos that are stored as images: which images are their frames, their pixels, and every refusal."""

import os
import shutil
import struct
import subprocess
import tarfile
import zipfile
import zlib
from dataclasses import replace
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.each_case import each_case
from tests.frame_folders import tar_of, write_images, zip_of
from tests.numbered import paint, read_number
from videoctx.data.annotations import AnnotationError, ProbeResult, VideoRecord, VideoRecords, read_manifest
from videoctx.data.decoding import image_files, image_pixels
from videoctx.data.decoding.containers import VideoDecodeError
from videoctx.data.decoding.image_names import ImageNamesError, ordered_frames
from videoctx.data.decoding.image_pixels import decode_image
from videoctx.data.decoding.video_reader import open_video
from videoctx.data.fingerprint import fingerprint

NAMES = ["{:05}.jpg", "{}.png", "img_{:05}.jpg", "image_{:05}.JPG", "frame{:d}.jpeg", "-5KQ66-{:06}.jpg", "a b {}.jpg"]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder of twelve images. Tests copy it before they change it."""
    return write_images(tmp_path_factory.mktemp("images") / "video", 12)


@pytest.fixture
def copy(images, tmp_path):
    return Path(shutil.copytree(images, tmp_path / "copy"))


def numbers(path, indices=None, **options) -> list[int]:
    with open_video(str(path), **({"fps": 12.0} | options)) as reader:
        wanted = np.arange(reader.num_frames) if indices is None else np.asarray(indices)
        return [read_number(frame) for frame in reader.read(wanted)]


def refusal(path, **options) -> str:
    with pytest.raises(VideoDecodeError) as caught:
        numbers(path, **options)
    assert caught.value.path == str(path)
    assert len(caught.value.reason.splitlines()) == 1
    return caught.value.reason


# Which images are the frames ------------------------------------------------------------------------------------------


@each_case("name", NAMES)
@each_case("first", [0, 1, 95])
def test_frames_are_in_the_order_of_their_numbers(tmp_path_factory, name, first):
    folder = write_images(tmp_path_factory.mktemp("names") / "video", 12, name=name, first=first)
    (folder / "notes 7.txt").write_text("no image")
    (folder / ".hidden_1.jpg").write_text("no image")
    (folder / "2").mkdir()
    assert numbers(folder) == list(range(12))
    assert numbers(folder, [0, 3, 11]) == [0, 3, 11]


@each_case(
    "flow",
    [["flow_x_{}.jpg", "flow_y_{}.jpg"], ["flow_{}.png"], ["x_{}.jpg", "y_{}.jpg"], ["v-x_{}.jpg", "v-y_{}.jpg"]],
)
def test_optical_flow_is_left_out(flow):
    frames = [f"img_{number}.jpg" for number in range(5)]
    assert ordered_frames([name.format(number) for name in flow for number in range(9)] + frames) == frames


@each_case(
    ("names", "reason"),
    [
        (["a.txt"], "no images; expected JPEG or PNG files"),
        (["1.jpg", "cover.jpg"], "1 images without a number at the end (cover.jpg)"),
        (["1.jpg", "2.jpg", "4.jpg", "9.jpg"], "the images from 1 to 9 lack 5 (3, 5, 6, 7, …)"),
        (["1.jpg", "999999999999999999.jpg"], "lack 999999999999999997 (2, 3, 4, 5, …)"),
        ([f"{'9' * 5000}.jpg"], "without a number"),
        (["1.jpg", "01.jpg", "2.jpg"], "01.jpg and 1.jpg have the same number"),
        (["1.jpg", "1.png"], "1.jpg and 1.png have the same number"),
        (["img_1.jpg", "depth_1.jpg", "flow_x_1.jpg"], "2 sets of images (depth_*: 1, img_*: 1)"),
        (["flow_x_1.jpg", "flow_y_1.jpg"], "only optical flow (flow_x_*: 1, flow_y_*: 1)"),
        (["١.jpg"], "without a number"),
    ],
)
def test_images_that_are_not_one_video_are_refused(names, reason):
    with pytest.raises(ImageNamesError) as caught:
        ordered_frames(names)
    assert reason in str(caught.value)


def test_a_set_that_is_named_after_a_flow_is_no_optical_flow():
    assert ordered_frames(["river_flow_1.jpg"]) == ["river_flow_1.jpg"]
    assert ordered_frames(["x_1.jpg"]) == ["x_1.jpg"]


# Archives -------------------------------------------------------------------------------------------------------------


@each_case("inside", ["", "a/b/", "../../", "/etc/"])
def test_archives_have_the_frames_of_their_folder(copy, inside):
    before = sorted(copy.parent.rglob("*"))
    stored = partial(zip_of, method=zipfile.ZIP_STORED)
    for archive_of in (zip_of, stored, tar_of):
        path = archive_of(copy, inside=inside)
        assert numbers(path, [0, 5, 11]) == [0, 5, 11]
        path.unlink()
    assert sorted(copy.parent.rglob("*")) == before  # nothing is unpacked


def test_archives_that_are_not_of_one_video_are_refused(copy, tmp_path):
    nested = zip_of(copy)
    shutil.move(nested, copy / "inner.zip")
    assert "archives in the archive (inner.zip)" in refusal(zip_of(copy))
    assert "archives in the archive (inner.zip)" in refusal(tar_of(copy))
    (copy / "inner.zip").unlink()
    path = tmp_path / "two.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(copy / "img_00001.jpg", "a/img_00001.jpg")
        archive.write(copy / "img_00002.jpg", "b/img_00002.jpg")
    assert "images in 2 folders (a, b)" in refusal(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(copy / "img_00001.jpg", "img_00001.jpg")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.write(copy / "img_00002.jpg", "img_00001.jpg")
    assert "have the same number" in refusal(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as archive:
        archive.write(copy / "img_00001.jpg", "img_00001.jpg")
    assert "is not compressed by deflate" in refusal(path)
    content = bytearray(zip_of(copy).read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # the bit of encryption, as no writer is at hand
        start = -1
        while (start := content.find(signature, start + 1)) >= 0:
            content[start + offset] |= 1
    path.write_bytes(content)
    assert "is encrypted" in refusal(path)
    for name in ("a.tar.gz", "a.tgz", "a.7z", "a.rar"):
        (tmp_path / name).write_bytes(b"x")
        assert "expected .zip, .tar or a folder" in refusal(tmp_path / name)
    with tarfile.open(tmp_path / "gz.tar", "w:gz") as archive:
        archive.add(copy / "img_00001.jpg", "img_00001.jpg")
    assert "not compressed" in refusal(tmp_path / "gz.tar")


def test_links_in_archives_are_not_followed(copy, tmp_path):
    secret = tmp_path / "secret.jpg"
    Image.new("RGB", (64, 48)).save(secret)
    (copy / "img_00013.jpg").symlink_to(secret)
    assert "img_00013.jpg is a link" in refusal(tar_of(copy))
    path = tmp_path / "link.zip"
    with zipfile.ZipFile(path, "w") as archive:
        link = zipfile.ZipInfo("1.jpg")
        link.create_system, link.external_attr = 3, 0o120777 << 16
        archive.writestr(link, str(secret))
    assert "1.jpg is a link" in refusal(path)


def test_bombs_are_refused(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("1.jpg", bytes(2**20))
    monkeypatch.setattr(image_files, "MOST_BYTES", 2**19)
    assert "1.jpg: more than 524288 bytes" in refusal(tmp_path / "bomb.zip")
    monkeypatch.setattr(image_files, "MOST_MEMBERS", 0)
    assert "more than 0 files" in refusal(tmp_path / "bomb.zip")
    folder = tmp_path / "large"
    folder.mkdir()
    header = b"IHDR" + struct.pack(">IIBBBBB", 30_000, 30_000, 1, 0, 0, 0, 0)  # 900 million pixels
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    (folder / "1.png").write_bytes(start + b"\0\0\0\1IDAT")
    assert "1.png: too large; expected at most" in refusal(folder)
    monkeypatch.setattr(image_pixels, "MOST_PIXELS", 64 * 48 - 1)
    assert "1.jpg: 64×48 pixels; expected at most 3071" in refusal(write_images(tmp_path / "small", 1, name="{}.jpg"))


def test_damaged_archives_are_refused(copy, tmp_path):
    for path in (zip_of(copy), tar_of(copy)):
        content = path.read_bytes()
        for num_bytes in (0, 10, len(content) // 2, len(content) - 30):
            path.write_bytes(content[:num_bytes])
            if path.suffix == ".tar" and num_bytes == len(content) - 30:  # the padding at the end
                continue
            assert refusal(path)
        flipped = bytearray(content)
        flipped[len(content) // 3] ^= 0xFF
        path.write_bytes(flipped)
        if path.suffix == ".zip":  # which has checksums
            assert "img_" in refusal(path)
    assert "No such file" in refusal(tmp_path / "missing.zip")
    content = tar_of(copy).read_bytes()
    with tarfile.open(tmp_path / "copy.tar") as archive:
        eighth = archive.getmembers()[7].offset
    path = tmp_path / "part.tar"
    for part in (content[:eighth], content[: eighth + 100], content[:eighth] + b"x" + content[eighth + 1 :]):
        path.write_bytes(part)
        assert "damaged or truncated after 7 files" in refusal(path)


# Pixels ---------------------------------------------------------------------------------------------------------------


def encoded(image, **options) -> bytes:
    file = BytesIO()
    image.save(file, options.pop("format", "PNG"), **options)
    return file.getvalue()


def test_pixels_are_those_of_the_image():
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    assert (decode_image(encoded(image)) == pixels).all()
    gray = np.repeat(pixels[..., :1], 3, axis=2)
    assert (decode_image(encoded(Image.fromarray(pixels[..., 0]))) == gray).all()
    assert (decode_image(encoded(Image.fromarray(pixels[..., 0].astype(np.uint16) * 256 + 255))) == gray).all()
    alpha = np.dstack([pixels, pixels[..., 0]])
    assert (decode_image(encoded(Image.fromarray(alpha, "RGBA"))) == pixels).all()
    palette = image.quantize(16)
    assert (decode_image(encoded(palette)) == np.asarray(palette.convert("RGB"))).all()
    assert (decode_image(encoded(palette, transparency=bytes(16))) == np.asarray(palette.convert("RGB"))).all()
    black = Image.fromarray(pixels[..., 0] > 127)
    assert (decode_image(encoded(black)) == np.where(gray > 127, 255, 0)).all()


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
def test_16_bits_and_jpeg_are_decoded_as_by_ffmpeg(tmp_path):
    source = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc2=size=64x48:rate=1:duration=1"]
    subprocess.run([*source, "-pix_fmt", "rgb48be", tmp_path / "1.png"], check=True)
    deep = np.frombuffer(
        subprocess.run(
            ["ffmpeg", "-v", "error", "-i", tmp_path / "1.png", "-f", "rawvideo", "-pix_fmt", "rgb48le", "-"],
            check=True,
            capture_output=True,
        ).stdout,
        np.uint16,
    ).reshape(48, 64, 3)
    assert (decode_image((tmp_path / "1.png").read_bytes()) == deep >> 8).all()


def test_jpeg_of_gray_and_cmyk_and_exif_orientation():
    image = Image.fromarray(paint(37, width=64, height=48))
    assert read_number(decode_image(encoded(image, format="JPEG"))) == 37
    cmyk = decode_image(encoded(image.convert("CMYK"), format="JPEG", quality=95))
    assert read_number(cmyk) == 37
    gray = decode_image(encoded(image.convert("L"), format="JPEG"))
    assert gray.shape == (48, 64, 3)
    assert (gray == gray[..., :1]).all()
    turns = {
        3: Image.Transpose.ROTATE_180,
        6: Image.Transpose.ROTATE_90,
        8: Image.Transpose.ROTATE_270,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
    }
    for orientation, turn in turns.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        upright = decode_image(encoded(image.transpose(turn), format="JPEG", exif=exif))
        assert upright.shape == (48, 64, 3)
        assert read_number(upright) == 37, orientation


def test_images_that_cannot_be_decoded_are_named(copy, tmp_path):
    whole = (copy / "img_00003.jpg").read_bytes()
    for content, reason in {
        whole[: len(whole) // 2]: "img_00003.jpg: damaged: ",
        whole[:-30]: "img_00003.jpg: damaged: image file is truncated",
        b"": "img_00003.jpg: neither a JPEG nor a PNG image",
        b"no image": "img_00003.jpg: neither a JPEG nor a PNG image",
        encoded(Image.new("RGB", (64, 48)), format="GIF"): "img_00003.jpg: neither a JPEG nor a PNG image",
        encoded(
            Image.new("RGB", (48, 64))
        ): "images of several sizes: img_00001.jpg has 64×48 pixels and img_00003.jpg 48×64",
    }.items():
        (copy / "img_00003.jpg").write_bytes(content)
        assert reason in refusal(copy)
        assert numbers(copy, [4, 5]) == [4, 5]  # only what is requested is read
    (copy / "img_00003.jpg").unlink()
    assert "lack 1 (3)" in refusal(copy)
    os.mkfifo(copy / "img_00003.jpg")
    assert "img_00003.jpg is not a file" in refusal(copy)
    assert "not a file, and a folder without images" in refusal(tmp_path)


def test_a_folder_that_disappears_is_the_failure_of_its_video(copy):
    with open_video(str(copy), fps=12.0) as reader:
        shutil.rmtree(copy)
        with pytest.raises(VideoDecodeError, match=r"img_00001.jpg: No such file or directory"):
            reader.read(np.array([0]))


# The frame rate, and the identity of the images -----------------------------------------------------------------------


def test_a_frame_rate_is_needed(images, tmp_path):
    assert "images state no frame rate; expected it in the manifest's column fps" in refusal(images, fps=None)
    with open_video(str(images), fps=12.5) as reader:
        assert (reader.fps, reader.num_frames, reader.frame_seconds) == (12.5, 12, None)
    manifest = tmp_path / "manifest.csv"
    rows = {"": "state no frame rate", "0": "state no frame rate", "fast": "fps is 'fast'", "-1": "fps is '-1'"}
    for fps, reason in rows.items():
        manifest.write_text(f"path,label,split,fps\n{images},run,train,{fps}\n")
        with pytest.raises(AnnotationError) as caught:
            read_manifest(manifest, ["run"], split="train")
        assert reason in str(caught.value)
    manifest.write_text(f"path,label,split,fps\n{images},run,train,12.5\n")
    (record,) = read_manifest(manifest, ["run"], split="train")
    assert record.fps == 12.5
    assert VideoRecords.of([record]) == [record]


def test_images_that_have_changed_since_inspection_are_refused(copy):
    size = sum(file.stat().st_size for file in copy.iterdir())
    found = ProbeResult(size, ("frames",), 12, 12.0)
    assert numbers(copy, probe_result=found, fps=None) == list(range(12))
    assert f"12 images of {size} bytes, but 12 of {size + 1} in the manifest" in refusal(
        copy, probe_result=replace(found, size_bytes=size + 1)
    )
    (copy / "img_00012.jpg").unlink()
    assert "11 images of" in refusal(copy, probe_result=found)
    assert refusal(copy, probe_result=replace(found, problem="of two sizes")) == "of two sizes"
    path = zip_of(copy)
    found = ProbeResult(path.stat().st_size, ("frames",), 11, 12.0)
    assert len(numbers(path, probe_result=found)) == 11
    assert "bytes, but 7 in the manifest" in refusal(path, probe_result=replace(found, size_bytes=7))


def test_the_fingerprint_depends_on_the_frame_rate_of_images_alone():
    def print_of(**options):
        return fingerprint([VideoRecord("a", 0, "train", **options)], ["run"], root="")

    inspected = ProbeResult(9, ("frames",), 5, 12.0)
    assert print_of(fps=12.0) == print_of(probe_result=inspected) != print_of(fps=24.0)
    video = replace(inspected, decoders=("pyav",))
    assert print_of() == print_of(probe_result=video) == print_of(probe_result=replace(video, fps=30.0))
