"""How other projects test a video network: which frames make a video's views, and how they are resized and cropped.

Imported weights reproduce the results of their project only under its own test. The rules, for n clips of T frames,
`interval` apart, of a video of N frames at `fps`; W = T · interval · fps / 30 is the length of a clip for projects that
count frames at 30 per second:

| protocol       | clip i starts at frame         | its frames                    | a video that is too short    |
|----------------|--------------------------------|-------------------------------|------------------------------|
| `videoctx`     | ⌊i · last / (n - 1)⌋           | every `interval`-th           | set by `short_videos`        |
| `nonlocal`     | ⌊i · N / n⌋                    | every `interval`-th           | wraps around                 |
| `mmaction2`    | round(i · last / (n - 1))      | every `interval`-th           | wraps around                 |
| `pyslowfast`   | i · (N - W) / n                | T, evenly in W, rounded down  | repeats its last frame       |
| `pytorchvideo` | ⌈i · (N - W) / n⌉              | T, evenly among those in W    | T, evenly among all          |
| `torchvision`  | ⌊i · last / (n - 1)⌋           | T, 30 / `interval` per second | left out; here: failed       |

`last` is N minus the frames that a clip spans. With `torchvision`, N is the number of frames at 30 / `interval` per
second. A single clip is in the middle (`videoctx`, `mmaction2`) or at the start (the others). With `nonlocal` the last
clips of every video pass its end and wrap around.

| protocol       | resize: short side, and long side        | crops               | the project's usual sizes, views |
|----------------|------------------------------------------|---------------------|----------------------------------|
| `videoctx`     | rounded down, with antialiasing          | any number          | 256, 256; 10 × 3                 |
| `nonlocal`     | rounded down                             | 1, 3, steps ⌊r / 2⌋ | 256, 256; 10 × 3                 |
| `mmaction2`    | rounded                                  | 1, 3, steps ⌊r / 2⌋ | 256, 256; 10 × 3                 |
| `pyslowfast`   | rounded down                             | 1, 3, middle ⌈r / 2⌉| 256, 256; 10 × 3                 |
| `pytorchvideo` | rounded down                             | 1, 3, middle ⌈r / 2⌉| 256, 256; 10 × 3                 |
| `torchvision`  | 4/3 of the short one, aspect not kept    | 1                   | 128, 112; 5 × 1                  |

With `nonlocal`, `pyslowfast` and `pytorchvideo`, the network classifies windows of its last feature map
(`videoctx.models.test_head`), which differs from classifying the whole map for crops of more than 224 pixels.

r is the longer side minus the crop. The last column is `test.short_side_px`, `test.crop_size_px` and
`test.views`. All average the probabilities of the views, as this package does. `mean` and `std` belong to the weights.

`pyslowfast`, `pytorchvideo` and `torchvision` (its training scripts) resize in floats. `nonlocal` and `mmaction2` round
the resized frame to bytes once. `videoctx` resizes bytes, as it does in training, and rounds along either axis.
Against floats, bytes resized so are off by up to one gray level, and without antialiasing they are half a level too
bright, on average, where both sides are halved.

Differs from the projects: OpenCV, which resizes for video-nonlocal-net and mmaction2, truncates products, so that one
value in eight is one gray level darker there (of random images; none where both sides are halved). PySlowFast's default
decoder scales while it decodes.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np
import torch

from videoctx.data.sampling.clip_samplers import ClipGrid, ClipShape, NoClipError, crop_corner, uniform_clips

ProtocolName = Literal["videoctx", "nonlocal", "pyslowfast", "mmaction2", "pytorchvideo", "torchvision"]
# Where clip i of n starts, from 0 to 1: i / n, or i / (n - 1) with a single clip in the middle or at the start
ClipPlacement = Literal["from_start", "ends_or_middle", "ends_or_start"]
Arithmetic = Literal["bytes", "float", "rounded"]
FPS = 30  # frames per second at which the projects count a clip's frames


class UnknownFrameRateError(NoClipError):
    """The protocol counts frames by time, and the video has no frame rate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """The rules of one project.

    Args:
        clips: Returns the frame indices of a video's clips.
        clip_placement: Where the clips start.
        size: Returns the height and width to resize to, given height, width and the requested short side. None:
            torchvision's own rule.
        corner: Returns top and left of a crop, given height, width, crop size, number of the crop and number of crops.
        antialias: Whether frames are filtered before they are shrunk.
        arithmetic: Whether frames are resized as bytes, or in floats, or in floats that are then rounded to bytes.
        num_crops: Numbers of crops that the project has a rule for. None: any number.
    """

    clips: ClipGrid
    clip_placement: ClipPlacement
    size: Callable[[int, int, int], tuple[int, int]] | None = None
    corner: Callable[[int, int, int, int, int], tuple[int, int]] = crop_corner
    antialias: bool = False
    arithmetic: Arithmetic = "float"
    num_crops: tuple[int, ...] | None = (1, 3)

    def check(self, name: str, num_crops: int) -> None:
        """Raise a ValueError if the project has no rule for this number of crops."""
        if self.num_crops and num_crops not in self.num_crops:
            accepted = " or ".join(map(str, self.num_crops))
            raise ValueError(f"{num_crops} crops per clip; expected {accepted} with protocol {name}")


# Frames ---------------------------------------------------------------------------------------------------------------


def nonlocal_clips(num_frames: int, fps: float, shape: ClipShape, num_clips: int) -> np.ndarray:  # noqa: ARG001
    """video-nonlocal-net: `DecodeClipFromVideoFileFlex`, in single precision.

    https://github.com/facebookresearch/video-nonlocal-net/blob/main/caffe2_customized_ops/video/customized_video_io.cc
    """
    gap = np.float32(num_frames) / np.float32(num_clips)
    starts = (gap * np.arange(num_clips, dtype=np.float32)).astype(np.int64)
    return (starts[:, None] + shape.frame_interval * np.arange(shape.clip_len)) % num_frames


def mmaction2_clips(num_frames: int, fps: float, shape: ClipShape, num_clips: int) -> np.ndarray:  # noqa: ARG001
    """mmaction2 1.2: `SampleFrames` with `test_mode`, without `target_fps` and `twice_sample`.

    https://github.com/open-mmlab/mmaction2/blob/main/mmaction/datasets/transforms/loading.py
    """
    last = max(num_frames - shape.span, 0)
    if shape.clip_len == 1:  # a 2D network: the middle of each of n segments
        segment = num_frames / num_clips
        starts = np.arange(num_clips) * segment + segment / 2
    elif num_clips == 1:
        starts = np.array([last // 2])
    else:
        starts = np.round(np.arange(num_clips) * (last / (num_clips - 1)))
    return (starts.astype(np.int64)[:, None] + shape.frame_interval * np.arange(shape.clip_len)) % num_frames


def pyslowfast_clips(num_frames: int, fps: float, shape: ClipShape, num_clips: int) -> np.ndarray:
    """PySlowFast: `get_start_end_idx` and `temporal_sampling`, without `USE_OFFSET_SAMPLING`.

    Differs from PySlowFast if it decodes only a clip's segment: its frames are then up to one frame later, because it
    rounds the start of the segment up before it distributes the frames.

    https://github.com/facebookresearch/SlowFast/blob/main/slowfast/datasets/decoder.py
    """
    length = max(1.0, shape.frame_interval * shape.clip_len / FPS * _known(fps))
    room = max(num_frames - length, 0)
    starts = [room * clip / num_clips for clip in range(num_clips)]
    clips = torch.stack([torch.linspace(start, start + length - 1, shape.clip_len) for start in starts])
    return clips.clamp(0, num_frames - 1).long().numpy()  # (num_clips, clip_len)


def pytorchvideo_clips(num_frames: int, fps: float, shape: ClipShape, num_clips: int) -> np.ndarray:
    """PyTorchVideo: `ConstantClipsPerVideoSampler`, `get_clip` and `uniform_temporal_subsample`, in exact fractions.

    A clip lasts T · interval / 30 seconds, as in the project's tutorials. The duration of a video excludes its sound.
    Clips are placed as in the releases up to 0.1.5, with which the model zoo was evaluated. Since April 2022 the
    unreleased main branch divides by n - 1.

    https://github.com/facebookresearch/pytorchvideo/blob/0.1.5/pytorchvideo/data/clip_sampling.py
    https://github.com/facebookresearch/pytorchvideo/blob/main/pytorchvideo/data/encoded_video_decord.py
    https://github.com/facebookresearch/pytorchvideo/blob/main/pytorchvideo/transforms/functional.py

    Raises:
        NoClipError: No frame falls into a clip, which is shorter than a frame.
    """
    rate = Fraction(_known(fps)).limit_denominator(1001)  # 29.97… is 30000 / 1001
    length = shape.clip_len * shape.frame_interval * rate / FPS
    step = max(num_frames - length, Fraction(0)) / num_clips
    clips = []
    for clip in range(num_clips):
        first, stop = math.ceil(step * clip), min(math.ceil(step * clip + length), num_frames)
        if stop <= first:
            raise NoClipError(f"a clip of {float(length):g} frames from {float(step * clip):g} holds none")
        clips.append(first + torch.linspace(0, stop - first - 1, shape.clip_len).long())
    return torch.stack(clips).numpy()  # (num_clips, clip_len)


def torchvision_clips(num_frames: int, fps: float, shape: ClipShape, num_clips: int) -> np.ndarray:
    """torchvision's references: `VideoClips` with a step of 1 and `UniformClipSampler`, applied to each video.

    https://github.com/pytorch/vision/blob/main/torchvision/datasets/video_utils.py
    https://github.com/pytorch/vision/blob/main/torchvision/datasets/samplers/clip_sampler.py

    Raises:
        NoClipError: The video is shorter than a clip. torchvision leaves such videos out of its accuracy.
    """
    rate = FPS / shape.frame_interval
    step = _known(fps) / rate
    if step.is_integer():
        kept = torch.arange(0, num_frames, int(step))
    else:
        kept = (torch.arange(math.floor(num_frames * rate / fps), dtype=torch.float32) * step).floor().long()
    windows = len(kept) - shape.clip_len + 1
    if windows < 1:
        raise NoClipError(
            f"{len(kept)} frames at {rate:g} per second, a clip has {shape.clip_len}; protocol torchvision leaves such"
            " videos out"
        )
    starts = torch.linspace(0, windows - 1, num_clips).floor().long()
    return kept[starts[:, None] + torch.arange(shape.clip_len)].numpy()  # (num_clips, clip_len)


def _known(fps: float) -> float:
    if not fps > 0:
        raise UnknownFrameRateError(f"its frame rate is not known ({fps:g}), and the protocol counts frames by time")
    return fps


# Resizing and crops --------------------------------------------------------------------------------------------------


def floor_size(height: int, width: int, short_side_px: int) -> tuple[int, int]:
    """`random_short_side_scale_jitter` of PySlowFast, `short_side_scale` of PyTorchVideo."""
    if min(height, width) == short_side_px:
        return height, width
    if width < height:
        return math.floor(height / width * short_side_px), short_side_px
    return short_side_px, math.floor(width / height * short_side_px)


def single_precision_size(height: int, width: int, short_side_px: int) -> tuple[int, int]:
    """`ScaleTransform` of video-nonlocal-net, which may make a side one pixel shorter than requested; this does not."""
    ratio = np.float32(short_side_px) / np.float32(min(height, width))
    long_side = max(int(np.float32(max(height, width)) * ratio), short_side_px)
    return (long_side, short_side_px) if height > width else (short_side_px, long_side)


def rounded_size(height: int, width: int, short_side_px: int) -> tuple[int, int]:
    """`Resize` of mmaction2, which is mmcv's `rescale_size`."""
    scale = short_side_px / min(height, width)
    return int(height * scale + 0.5), int(width * scale + 0.5)


def four_by_three(height: int, width: int, short_side_px: int) -> tuple[int, int]:  # noqa: ARG001
    """`VideoClassificationPresetEval` of torchvision: 128 × 171, whatever the aspect ratio."""
    return short_side_px, round(short_side_px * 4 / 3)


def stepped_corner(height: int, width: int, size: int, crop: int, num_crops: int) -> tuple[int, int]:
    """`ClipTransformFlex` of video-nonlocal-net, `ThreeCrop` and `CenterCrop` of mmaction2."""
    top, left = (height - size) // 2, (width - size) // 2
    if num_crops == 1:
        return top, left
    return (top * crop, left) if height > width else (top, left * crop)


def ceiled_corner(height: int, width: int, size: int, crop: int, num_crops: int) -> tuple[int, int]:
    """`uniform_crop` of PySlowFast and PyTorchVideo, in which a single crop is the middle one of three."""
    crop = crop if num_crops == 3 else 1
    top, left = ((room if crop == 2 else math.ceil(room / 2) if crop else 0) for room in (height - size, width - size))
    middle_top, middle_left = math.ceil((height - size) / 2), math.ceil((width - size) / 2)
    return (top, middle_left) if height > width else (middle_top, left)


def rounded_corner(height: int, width: int, size: int, crop: int, num_crops: int) -> tuple[int, int]:  # noqa: ARG001
    """`center_crop` of torchvision."""
    return round((height - size) / 2), round((width - size) / 2)


PROTOCOLS: dict[ProtocolName, Protocol] = {
    "videoctx": Protocol(
        clips=uniform_clips, clip_placement="ends_or_middle", antialias=True, arithmetic="bytes", num_crops=None
    ),
    "nonlocal": Protocol(
        clips=nonlocal_clips,
        clip_placement="from_start",
        size=single_precision_size,
        corner=stepped_corner,
        arithmetic="rounded",
    ),
    "pyslowfast": Protocol(clips=pyslowfast_clips, clip_placement="from_start", size=floor_size, corner=ceiled_corner),
    "mmaction2": Protocol(
        clips=mmaction2_clips,
        clip_placement="ends_or_middle",
        size=rounded_size,
        corner=stepped_corner,
        arithmetic="rounded",
    ),
    "pytorchvideo": Protocol(
        clips=pytorchvideo_clips, clip_placement="from_start", size=floor_size, corner=ceiled_corner
    ),
    "torchvision": Protocol(
        clips=torchvision_clips,
        clip_placement="ends_or_start",
        size=four_by_three,
        corner=rounded_corner,
        num_crops=(1,),
    ),
}
