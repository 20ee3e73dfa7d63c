"""Planes of YUV 4:2:0 become the RGB of the decoder, or a video comes as RGB."""

import platform
from dataclasses import replace
from itertools import product

import av
import numpy as np
import pytest
import torch

from tests.each_case import each_case
from videoctx.data.annotations import VideoRecord
from videoctx.data.decoding import yuv_frames
from videoctx.data.decoding.frame_collector import FrameCollector, upright
from videoctx.data.decoding.yuv_frames import MATRICES, YuvColors, colors_of, rgb_by_decoder, rgb_by_torch
from videoctx.data.loading.arena import Slots
from videoctx.data.loading.dataset import DecodedBatch, DecodedVideo, SampleIndex, VideoDataset
from videoctx.data.loading.shared_frames import pack, unpack
from videoctx.data.sampling.clip_samplers import ClipShape, RandomClips
from videoctx.data.settings import LoadingSettings
from videoctx.data.transforms import batch_resampling
from videoctx.data.transforms.normalize import IMAGENET_MEAN, IMAGENET_STD, Normalize
from videoctx.data.transforms.resize import Resizing
from videoctx.data.transforms.rgb_frames import rgb_frames
from videoctx.data.transforms.train_transform import TrainTransform
from videoctx.data.transforms.view_transform import ViewTransform

BT709, BT601 = YuvColors(1, full_range=False), YuvColors(6, full_range=False)
FULL_BT2020 = YuvColors(9, full_range=True)
IS_EXACT = platform.machine() == "x86_64"


def noise(height, width, *, num_frames=3, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (num_frames, height * 3 // 2, width), dtype=np.uint8)


def frame_of(height, width, pixel_format, colors=BT709) -> av.VideoFrame:
    """A frame of noise in any format."""
    frame, rng = av.VideoFrame(width, height, pixel_format), np.random.default_rng(0)
    for plane in frame.planes:
        plane.update(rng.integers(0, 256, plane.buffer_size, dtype=np.uint8).tobytes())
    frame.colorspace, frame.color_range = colors.matrix, 2 if colors.full_range else 1
    return frame


def assert_within_a_level(found, wanted):
    assert found.shape == wanted.shape
    difference = np.abs(found.astype(int) - wanted)
    assert difference.max() <= (0 if IS_EXACT else 1)
    assert difference.mean() <= 0.3


@each_case(("matrix", "full_range"), list(product(MATRICES, (False, True))))
def test_every_matrix_and_range_is_that_of_the_decoder(matrix, full_range):
    for height, width in ((64, 96), (62, 70), (34, 30), (2, 2)):
        planes, colors = noise(height, width), YuvColors(matrix, full_range)
        assert_within_a_level(rgb_by_torch(torch.from_numpy(planes), colors).numpy(), rgb_by_decoder(planes, colors))


def test_every_color_is_that_of_the_decoder():
    """All values of chroma, with luma in steps, in frames of one chroma value per two by two pixels."""
    u, v = np.meshgrid(np.arange(256, dtype=np.uint8), np.arange(256, dtype=np.uint8))
    planes = np.stack(
        [np.concatenate([np.full(512 * 512, y, np.uint8), u.ravel(), v.ravel()]) for y in (0, 16, 90, 255)]
    )
    planes = planes.reshape(-1, 768, 512)
    assert_within_a_level(rgb_by_torch(torch.from_numpy(planes), BT709).numpy(), rgb_by_decoder(planes, BT709))


@each_case("colors", [BT709, BT601, FULL_BT2020, YuvColors(2, full_range=False)])
def test_planes_of_a_frame_are_handed_over_as_they_are(colors):
    frame = frame_of(32, 48, "yuv420p", colors)
    assert colors_of(frame) == colors
    collector = FrameCollector(1, "yuv")
    collector.add(0, frame)
    pixels, found = collector.result()
    assert found == colors
    assert pixels.shape == (1, 48, 48)
    np.testing.assert_array_equal(pixels[0], frame.to_ndarray())
    np.testing.assert_array_equal(rgb_by_decoder(pixels, colors)[0], upright(frame))


OTHERS = {
    "odd width": lambda: frame_of(32, 47, "yuv420p"),
    "odd height": lambda: frame_of(31, 48, "yuv420p"),
    **{
        name: lambda name=name: frame_of(32, 48, name)
        for name in ("yuv422p", "yuv444p", "yuv420p10le", "gray", "rgb24", "gbrp", "nv12", "yuva420p")
    },
}


@each_case("name", OTHERS)
def test_frames_in_other_formats_are_rgb(name):
    frame = OTHERS[name]()
    assert colors_of(frame) is None
    collector = FrameCollector(2, "yuv")
    for row in (1, 0):
        collector.add(row, frame)
    pixels, colors = collector.result()
    assert colors is None
    np.testing.assert_array_equal(pixels, np.stack([upright(frame)] * 2))


def test_a_matrix_that_the_converter_refuses_is_not_converted_by_another():
    assert colors_of(frame_of(32, 48, "yuv420p", YuvColors(8, full_range=False))) is None  # YCgCo


def test_a_video_that_changes_its_colors_is_rgb():
    first, second = (frame_of(32, 48, "yuv420p", colors) for colors in (BT709, BT601))
    collector = FrameCollector(3, "yuv")
    for row, frame in enumerate((first, second, first)):
        collector.add(row, frame)
    pixels, colors = collector.result()
    assert colors is None
    np.testing.assert_array_equal(pixels, np.stack([upright(frame) for frame in (first, second, first)]))


def test_where_the_decoder_converts_in_another_way_frames_are_rgb(monkeypatch):
    original = rgb_by_decoder
    monkeypatch.setattr(yuv_frames, "rgb_by_decoder", lambda *given: original(*given) // 2)
    frame = frame_of(32, 58, "yuv420p")
    yuv_frames.is_converted_alike.cache_clear()
    try:
        assert colors_of(frame) is None
    finally:
        yuv_frames.is_converted_alike.cache_clear()
    monkeypatch.undo()
    assert colors_of(frame) == BT709


# ---------------------------------------------------------------------- on the way to the device


def mixed_batch() -> DecodedBatch:
    """Videos of RGB and of planes, of several sizes and colors, with two clips each."""
    videos = []
    for seed, (height, width, colors) in enumerate(
        [(48, 64, BT709), (64, 48, None), (50, 66, FULL_BT2020), (50, 50, None), (48, 64, BT601)]
    ):
        planes = noise(height, width, num_frames=5, seed=seed)
        frames = torch.from_numpy(planes if colors else rgb_by_decoder(planes, BT709))
        clips = torch.tensor([[0, 1, 3], [4, 4, 2]])
        videos.append(DecodedVideo(f"{seed}.mp4", seed, seed, seed, frames, clips, [0, 2], colors=colors))
        assert videos[-1].size == (height, width)
    return DecodedBatch(videos)


def in_rgb(batch) -> DecodedBatch:
    return DecodedBatch([replace(video, frames=rgb_frames(video), colors=None) for video in batch.videos])


def transform(**arguments) -> TrainTransform:
    given = {"crop_size_px": 32, "short_side_px": (36, 60), "flip_probability": 0.5}
    return TrainTransform(**given | {"normalize": Normalize(IMAGENET_MEAN, IMAGENET_STD)} | arguments)


@each_case("arguments", [{}, {"crop_area": (0.2, 1.0)}])
def test_training_clips_of_a_mixed_batch_are_those_of_its_rgb(arguments):
    batch = mixed_batch()
    alone, of_rgb = (transform(**arguments)(videos) for videos in (batch, in_rgb(batch)))
    assert torch.equal(alone.clips, of_rgb.clips)
    together, of_rgb = (transform(**arguments, together=True)(videos) for videos in (batch, in_rgb(batch)))
    torch.testing.assert_close(together.clips, of_rgb.clips, rtol=0, atol=1e-4)
    assert together.clips.is_contiguous(memory_format=torch.channels_last_3d)


def test_windows_of_planes_begin_and_end_anywhere():
    for seed in range(12):
        batch = mixed_batch()
        for video in batch.videos:
            video.seed = 100 * seed + video.row
        made = transform(crop_area=(0.05, 0.5), together=True)
        torch.testing.assert_close(made(batch).clips, made(in_rgb(batch)).clips, rtol=0, atol=1e-4)


def test_half_precision_holds_the_levels_of_planes(monkeypatch):
    batch, made = mixed_batch(), transform(together=True)
    expected = made(batch).clips
    monkeypatch.setattr(batch_resampling, "compute_type", lambda *_: torch.float16)
    assert (made(batch).clips - expected).abs().max() < 0.5 / 255 / min(IMAGENET_STD)


def test_views_of_planes_are_those_of_their_rgb():
    batch = mixed_batch()
    views = ViewTransform(
        crop_size_px=32, resizing=Resizing(short_side_px=36), num_crops=3, normalize=Normalize((0.5,) * 3, (0.5,) * 3)
    )
    assert torch.equal(views(batch, num_clips=2).clips[:], views(in_rgb(batch), num_clips=2).clips[:])


# ---------------------------------------------------------------------- from the file


def dataset(path, frames, decoder="auto") -> VideoDataset:
    sampler = RandomClips(shape=ClipShape(clip_len=4, frame_interval=3))
    return VideoDataset([VideoRecord(str(path), 0, "train")], sampler=sampler, seed=0, frames=frames, decoder=decoder)


@each_case("decoder", ["auto", "sparse", "pyav"])
def test_planes_take_half_the_memory_and_show_the_same_clip(closed_gop_mp4, decoder):
    rgb, yuv = (dataset(closed_gop_mp4.path, frames, decoder)[SampleIndex(0)] for frames in ("rgb", "yuv"))
    slots = Slots()
    slot = slots.take()
    received = unpack(pack(yuv, slot.place), slot, slots)
    assert received.colors is not None
    assert received.frames.nbytes * 2 == rgb.frames.nbytes
    assert received.size == rgb.size == tuple(rgb.frames.shape[1:3])
    assert torch.equal(rgb_frames(received), rgb.frames)
    assert torch.equal(received.clips, rgb.clips)
    del received


def test_a_decoder_without_planes_hands_over_rgb(closed_gop_mp4):
    pytest.importorskip("decord")
    rgb, yuv = (dataset(closed_gop_mp4.path, frames, "decord")[SampleIndex(0)] for frames in ("rgb", "yuv"))
    assert yuv.colors is None
    assert torch.equal(yuv.frames, rgb.frames)


def test_training_takes_planes_and_evaluation_rgb_unless_told():
    cases = {None: ("yuv", "rgb"), "yuv": ("yuv", "yuv"), "rgb": ("rgb", "rgb")}
    for frames, expected in cases.items():
        settings = LoadingSettings(frames=frames)
        assert (settings.training_frames, settings.evaluation_frames) == expected
    with pytest.raises(ValueError, match=r"loading\.frames is 'nv12'; expected one of yuv, rgb"):
        LoadingSettings(frames="nv12")
    with pytest.raises(ValueError, match="frames is 'bgr'; expected one of yuv, rgb"):
        dataset("a.mp4", "bgr")
