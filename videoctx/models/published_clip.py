"""The clips and crops that a published network was trained on, from its stored config or its file's name."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from videoctx.models.checkpoint_formats import USUAL_CLIP, Format
from videoctx.models.stored_config import mmaction2_test_pipeline
from videoctx.models.test_head import USUAL_TRAIN_CROP

STORED = (  # clip_len and frame_interval in the configs of PySlowFast and mmaction2
    (r"\bNUM_FRAMES: (\d+)", r"\bSAMPLING_RATE: (\d+)"),
    (r"\bclip_len=(\d+)", r"\bframe_interval=(\d+)"),
)
# `8x8` in SLOW_8x8_R50.pkl, `32x2` in i3d_r50_8xb8-32x2x1-100e_kinetics400-rgb.pth; not resnext50_32x4d or 224x224
IN_NAME = re.compile(r"(?<![a-z0-9])(4|8|16|32|64)x([1-9]|1[0-6])(?:x\d+)?(?![a-z0-9])", re.IGNORECASE)
# `1x1x8` in tsm_r50_8xb16-1x1x8-50e_sthv2-rgb.pth, `segment8` in TSM_something_RGB_resnet50_segment8_e45.pth
SINGLE_FRAMES = re.compile(r"(?<![a-z0-9])(?:1x1x|segment)(\d+)(?![a-z0-9])", re.IGNORECASE)
DENSE = re.compile(r"(?<![a-z])dense(?![a-z])")  # in a name
DENSE_RANGE = 64  # frames of a video that the frames of a dense clip are taken from, where each is sampled on its own
X3D_IN_NAME = re.compile(r"x3d[_-]?(xs|s|m|l)(?![a-z0-9])", re.IGNORECASE)


class X3DVariant(NamedTuple):
    """The clips of a published X3D: PySlowFast's configs/Kinetics/X3D_*.yaml."""

    clip: tuple[int, int]
    train_crop_px: int
    test_crop_px: int


X3D_VARIANTS = {
    "xs": X3DVariant((4, 12), 160, 182),
    "s": X3DVariant((13, 6), 160, 182),
    "m": X3DVariant((16, 5), 224, 256),
    "l": X3DVariant((16, 5), 312, 356),
}
USUAL_X3D_DEPTH, X3D_L_DEPTH = 2.2, 5.0  # `depth_factor`


class PublishedClip(NamedTuple):
    """What a clip is.

    Args:
        clip_len: Number of frames.
        frame_interval: Distance between the frames of a dense clip.
        sampling: `dense` or `segments` (`videoctx.data.sampling.grids`).
        is_dense_range: Whether dense clips are those of mmaction2's `DenseSampleFrames`.
        sample_range: Its `sample_range`, where that is not clip_len · frame_interval.
        is_told: Whether the weights, a stored config or the file's name tell the clip, or the project has but one.
    """

    clip_len: int
    frame_interval: int
    sampling: str
    is_dense_range: bool = False
    sample_range: int | None = None
    is_told: bool = True


def published_train_crop(
    known: Format, config_text: str, file_name: str, net: Mapping[str, Any] | None = None
) -> int | None:
    """Return the side of the training crops: in a stored config of PySlowFast, or of the X3D (`x3d_variant`).

    None: they differ.

    >>> from videoctx.models.checkpoint_formats import OURS
    >>> published_train_crop(OURS, "DATA:\\n  TRAIN_CROP_SIZE: 160\\n", "some.pth")
    160
    """
    if re.search(r"\bSHORT_CYCLE: [Tt]rue\b", config_text):
        return None
    if stored := re.search(r"\bTRAIN_CROP_SIZE: (\d+)", config_text):
        return int(stored[1])
    variant = x3d_variant(file_name, net) if getattr(known, "family", "") == "X3D" else None
    return X3D_VARIANTS[variant].train_crop_px if variant else USUAL_TRAIN_CROP


def published_clip(
    known: Format, config_text: str, file_name: str, net: Mapping[str, Any] | None = None
) -> PublishedClip:
    """Return what a clip is: as stored, or as in the file's name, or as usual in the project.

    Args:
        known: The project's format.
        config_text: Its stored config.
        file_name: Of the weights.
        net: The config of the network.

    >>> from videoctx.models.checkpoint_formats import OURS
    >>> published_clip(OURS, "DATA:\\n  NUM_FRAMES: 32\\n  SAMPLING_RATE: 2\\n", "some.pth")[:3]
    (32, 2, 'dense')
    >>> published_clip(OURS, "", "SLOW_4x16_R50.pkl")[:3]
    (4, 16, 'dense')
    >>> published_clip(OURS, "", "tsm_imagenet-pretrained-r50_8xb16-1x1x8-50e_sthv2-rgb.pth")[:3]
    (8, 8, 'segments')
    """
    sampled = next((step for step in mmaction2_test_pipeline(config_text) if "SampleFrames" in str(step["type"])), None)
    if sampled:  # before the clips of the training, which may be shorter
        config_text = ", ".join(f"{name}={value}" for name, value in sampled.items())
    is_dense = "DenseSampleFrames" in config_text or bool(DENSE.search(file_name))
    ranged = re.search(r"\bsample_range=(\d+)", config_text)
    sample_range = int(ranged[1]) if ranged and is_dense else DENSE_RANGE
    for of_len, of_interval in STORED:
        lengths, intervals = re.search(of_len, config_text), re.search(of_interval, config_text)
        if lengths and intervals and int(lengths[1]) > 1:
            clip = int(lengths[1]), int(intervals[1])
            return PublishedClip(*clip, "dense", is_dense, _other_range(*clip, sample_range) if is_dense else None)
        if lengths and (frames := re.search(r"\bnum_clips=(\d+)", config_text)) and int(frames[1]) > 1:
            return _of_single_frames(int(frames[1]), sample_range, is_dense=is_dense)
    if single := SINGLE_FRAMES.search(file_name):
        return _of_single_frames(int(single[1]), sample_range, is_dense=is_dense)
    family = getattr(known, "family", "")
    if family == "X3D" and (variant := x3d_variant(file_name, net)):
        return PublishedClip(*X3D_VARIANTS[variant].clip, "dense")
    if named := IN_NAME.search(file_name):
        clip_len, interval = int(named[1]), int(named[2])
        alpha = (alpha_in_name(file_name) or 1) if family == "SlowFast" else 1
        clip = clip_len * alpha, interval // alpha
        return PublishedClip(*clip, "dense", is_dense, _other_range(*clip, sample_range) if is_dense else None)
    is_told = known.clip != USUAL_CLIP
    return PublishedClip(*known.clip, "dense" if is_dense else known.sampling, is_dense, is_told=is_told)


def _of_single_frames(clip_len: int, sample_range: int, *, is_dense: bool) -> PublishedClip:
    """Return the clip of a 2D network: one frame of each part, or frames evenly spaced in a range of the video."""
    interval = max(sample_range // clip_len, 1)
    if not is_dense:
        return PublishedClip(clip_len, interval, "segments")
    return PublishedClip(clip_len, interval, "dense", is_dense, _other_range(clip_len, interval, sample_range))


def _other_range(clip_len: int, interval: int, sample_range: int) -> int | None:
    return None if sample_range == clip_len * interval else sample_range


def x3d_variant(file_name: str, net: Mapping[str, Any] | None) -> str | None:
    """Return which published X3D a network is. XS, S and M are one network, and are told by the file's name, or else M.

    Args:
        file_name: Of the weights.
        net: The config of the network, whose depth is that of X3D-L or of the others. None: only the name tells it.

    >>> x3d_variant("X3D_XS.pyth", None), x3d_variant("x3d_m.pyth", {"init_args": {"depth_factor": 5.0}})
    ('xs', 'l')
    """
    found = X3D_IN_NAME.search(file_name)
    named = found[1].lower() if found else None
    if net is None:
        return named
    depth = net.get("init_args", {}).get("depth_factor", USUAL_X3D_DEPTH)
    if depth == X3D_L_DEPTH:
        return "l"
    if depth != USUAL_X3D_DEPTH:
        return None  # none of the published ones
    return named if named not in (None, "l") else "m"


def alpha_in_name(file_name: str) -> int | None:
    """Return α of a SlowFast by the clip of the slow pathway in its file's name; the fast one has one frame in 2.

    >>> alpha_in_name("SLOWFAST_4x16_R50.pyth"), alpha_in_name("SLOWFAST_16x8_R101_50_50.pyth")
    (8, 4)
    """
    named = IN_NAME.search(file_name)
    interval = int(named[2]) if named else 0
    return interval // 2 if interval >= 4 and interval % 2 == 0 else None
