"""Frames that are scaled where they are decoded are the same frames, and look as those that are resized later."""

from fractions import Fraction

import av
import pytest
import torch

from tests.numbered import read_number, write_video
from videoctx.bench.synthetic_videos import Scene
from videoctx.data.annotations import VideoRecord
from videoctx.data.decoding.area_scaling import scaled_size
from videoctx.data.decoding.video_reader import LIBRARIES, is_installed
from videoctx.data.decoding.yuv_frames import rgb_by_torch
from videoctx.data.loading.dataset import SampleIndex, VideoDataset
from videoctx.data.sampling.clip_samplers import ClipShape, UniformClips
from videoctx.data.settings import TrainSettings

ALL_FRAMES = ClipShape(clip_len=20, frame_interval=1)
DECODERS = [decoder for decoder in LIBRARIES if is_installed(decoder)]


def frames_of(path, short_side_px, decoder="auto", frames="rgb"):
    """Twenty frames of a file, as the training loader returns them, as RGB."""
    records = [VideoRecord(str(path), None, "train")]
    sampler = UniformClips(shape=ALL_FRAMES, num_clips=1)
    dataset = VideoDataset(
        records, sampler=sampler, seed=0, decoder=decoder, frames=frames, short_side_px=short_side_px
    )
    video = dataset[SampleIndex(0)]
    assert video.failure is None
    assert (video.colors is not None) == (frames == "yuv")
    return video.frames if video.colors is None else rgb_by_torch(video.frames, video.colors)


def test_frame_numbers_are_the_same_with_every_decoder(tmp_path):
    for rotation in (0, 90):  # stored lying
        video = write_video(tmp_path / f"{rotation}.mp4", num_frames=20, width=96, height=128, rotation=rotation)
        for decoder in DECODERS:
            frames = frames_of(video.path, 64, decoder)
            assert frames.shape == (20, 86, 64, 3), decoder
            assert [read_number(frame) for frame in frames.numpy()] == list(range(20)), (rotation, decoder)


def test_frame_numbers_are_the_same_in_scaled_planes(closed_gop_mp4):
    for decoder in ("sparse", "pyav"):
        frames = frames_of(closed_gop_mp4.path, 64, decoder, "yuv")
        assert frames.shape == (20, 64, 90, 3), decoder
        assert [read_number(frame) for frame in frames.numpy()] == list(range(20, 40)), decoder


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """Twenty frames, 340 × 256, that look like photographs."""
    path = tmp_path_factory.mktemp("scene") / "scene.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(30), options={"crf": "18"})
        stream.width, stream.height, stream.pix_fmt = 340, 256, "yuv420p"
        images = Scene(0)
        for index in range(20):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(images.frame(index / 30), format="rgb24")))
        container.mux(stream.encode())
    return path


def covered(num_stored, num_scaled):
    """How much of each scaled pixel a stored one covers, (num_scaled, num_stored)."""
    edges = torch.arange(num_scaled + 1) * num_stored / num_scaled
    stored = torch.arange(num_stored)
    overlap = torch.minimum(edges[1:, None], stored + 1) - torch.maximum(edges[:-1, None], stored)
    return overlap.clamp(min=0) * num_scaled / num_stored


def test_pixels_are_close_to_the_mean_of_their_area(scene):
    stored = frames_of(scene, None).float()
    for short_side_px, width in ((128, 170), (100, 132)):
        of_rows, of_columns = covered(256, short_side_px), covered(340, width)
        expected = torch.einsum("ij,tjkc,lk->tilc", of_rows, stored, of_columns)
        for decoder, frames in (*((decoder, "rgb") for decoder in DECODERS), ("sparse", "yuv"), ("pyav", "yuv")):
            difference = frames_of(scene, short_side_px, decoder, frames).float() - expected
            assert difference.abs().mean() < 1.5, (short_side_px, decoder, frames)  # of 255 levels
            assert difference.mean().abs() < 0.5, (short_side_px, decoder, frames)


def test_frames_that_are_small_are_not_changed(scene):
    for short_side_px in (256, 300):
        assert torch.equal(frames_of(scene, short_side_px), frames_of(scene, None))


def test_the_size_keeps_the_ratio_of_the_sides():
    for size, short_side_px, expected in (
        ((1080, 1920), 320, (320, 568)),
        ((3840, 2160), 320, (568, 320)),
        ((480, 480), 320, (320, 320)),
        ((320, 900), 320, (320, 900)),
        ((1080, 1920), None, (1080, 1920)),
    ):
        assert scaled_size(*size, short_side_px) == expected, size


def test_a_short_side_below_the_crops_is_refused():
    assert TrainSettings(decoded_short_side_px=320).decoded_short_side_px == 320
    for options, needed in (
        ({}, 320),
        ({"crop_area": (0.1, 1.0)}, 224),
        ({"crop_scales": [1.0, 0.75]}, 224),
        ({"fixed_size_px": (240, 320)}, 240),
    ):
        with pytest.raises(ValueError, match=f"decoded_short_side_px is 200; expected {needed} or more"):
            TrainSettings(decoded_short_side_px=200, **options)
