"""The views with which a published network was tested, from its stored config or its file's name."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from videoctx.models.checkpoint_formats import Format
from videoctx.models.published_clip import X3D_VARIANTS, x3d_variant
from videoctx.models.stored_config import mmaction2_test_pipeline, pyslowfast_values

NUM_CROPS = {"CenterCrop": 1, "ThreeCrop": 3, "TenCrop": 10}  # of mmaction2
CLIPS_OF_DENSE_FRAMES = 10  # `num_sample_positions` of mmaction2's DenseSampleFrames


class PublishedTest(NamedTuple):
    """The sizes and the views of a test.

    Args:
        short_side_px: Short side that frames are resized to. None: not told, and so for the others.
        crop_size_px: Side of the crops.
        num_clips: Number of clips per video.
        num_crops: Number of crops per clip.
        target_fps: Frames per second at which frames are counted.
    """

    short_side_px: int | None = None
    crop_size_px: int | None = None
    num_clips: int | None = None
    num_crops: int | None = None
    target_fps: float | None = None


def published_test(
    known: Format, config_text: str, file_name: str, net: Mapping[str, Any] | None = None
) -> PublishedTest:
    """Return the test as stored, or as that of the X3D (`x3d_variant`).

    >>> from videoctx.models.checkpoint_formats import FORMATS
    >>> pyslowfast = next(known for known in FORMATS if known.name == "PySlowFast")
    >>> published_test(pyslowfast, "TEST: {NUM_ENSEMBLE_VIEWS: 5}", "some.pyth").num_clips
    5
    """
    if known.project == "PySlowFast":
        found = _of_pyslowfast(pyslowfast_values(config_text))
    else:
        found = _of_mmaction2(mmaction2_test_pipeline(config_text))
    variant = x3d_variant(file_name, net) if getattr(known, "family", "") == "X3D" else None
    if variant and found.crop_size_px is None:
        size_px = X3D_VARIANTS[variant].test_crop_px
        found = found._replace(short_side_px=size_px, crop_size_px=size_px)
    return found


def _of_pyslowfast(config: Mapping[str, Any]) -> PublishedTest:
    size_px = _count(config.get("DATA.TEST_CROP_SIZE"))
    clips, crops = (_count(config.get(f"TEST.NUM_{name}")) for name in ("ENSEMBLE_VIEWS", "SPATIAL_CROPS"))
    return PublishedTest(size_px, size_px, clips, crops)


def _of_mmaction2(pipeline: list[dict[str, Any]]) -> PublishedTest:
    short_side_px = crop_size_px = num_clips = num_crops = target_fps = None
    for step in pipeline:
        kind, scale = step.get("type"), step.get("scale")
        if kind == "DenseSampleFrames":
            num_clips = step.get("num_sample_positions", CLIPS_OF_DENSE_FRAMES)
        elif kind == "SampleFrames":
            clips = 1 if step.get("clip_len") == 1 else step.get("num_clips", 1)  # frames of one clip, not clips
            num_clips = 2 * clips if step.get("twice_sample") and isinstance(clips, int) else clips
            target_fps = step.get("target_fps")
        elif kind == "Resize" and isinstance(scale, list) and len(scale) == 2 and scale[0] == -1:
            short_side_px = scale[1]
        elif kind in NUM_CROPS:
            crop_size_px, num_crops = step.get("crop_size"), NUM_CROPS[kind]
    fps = float(target_fps) if isinstance(target_fps, int | float) and target_fps > 0 else None
    return PublishedTest(_count(short_side_px), _count(crop_size_px), _count(num_clips), _count(num_crops), fps)


def _count(value: Any) -> int | None:
    """Return a number that may be one of pixels or views, or None."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
