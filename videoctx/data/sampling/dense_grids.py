"""Other projects' dense clips: T frames, `interval` apart, in training and in test.

The rules, for n clips of T frames of a video of N frames at `fps`; W = T · interval · fps / 30 is the length of a clip
for projects that count frames by time, at `target_fps` where that is not 30:

| grid              | clip i of a test starts at         | a clip's frames             | a video that is too short |
|-------------------|------------------------------------|-----------------------------|---------------------------|
| `videoctx`        | ⌊i · last / (n - 1)⌋               | every `interval`-th         | set by `short_videos`     |
| `nonlocal`        | ⌊i · N / n⌋                        | every `interval`-th         | wraps around              |
| `mmaction2`       | round(i · last / (n - 1))          | every `interval`-th         | wraps around              |
| … with target_fps | i · ⌊(N - W) / (n - 1)⌋            | T, evenly in W, rounded down | wraps around             |
| `mmaction2_dense` | ⌊i · (N - T · interval) / (n - 1)⌋ | every `interval`-th         | wraps around              |
| `tsm`             | as `mmaction2_dense`               |                             |                           |
| `pyslowfast`      | i · (N - W) / n                    | T, evenly in W, rounded down | repeats its last frame   |
| `pytorchvideo`    | ⌈i · (N - W) / n⌉                  | T, evenly among those in W  | T, evenly among all       |
| `torchvision`     | ⌊i · last / (n - 1)⌋               | T, 30 / `interval` per second | left out; here: failed  |

`last` is N minus the frames that a clip spans. With `torchvision`, N is the number of frames at 30 / `interval` per
second. A single clip is in the middle (`videoctx`, `mmaction2`) or at the start (the others). With `nonlocal` the last
clips of every video pass its end and wrap around.

In training a clip starts anywhere from 0 to: `last` (`videoctx`, `torchvision`), N - T · interval (`nonlocal`,
`mmaction2`; N - W with target_fps), N - T · interval - 1 (`mmaction2_dense`, `tsm`), or N - W, also between frames
(`pyslowfast`, `pytorchvideo`). It starts at 0 if that is negative.

`mmaction2_dense` is `DenseSampleFrames`. `data.clips.sample_range` is its `sample_range`, which replaces T · interval
in these formulas; its frames of a 2D network are ⌊sample_range / T⌋ apart. In its configs it is 64, which T · interval
is as well wherever T divides 64. Its `num_sample_positions`, 10, is the number of clips.
"""

import math
from fractions import Fraction

import numpy as np
import torch

from videoctx.data.sampling.clip_samplers import ClipShape, NoClipError, exact_rate

FPS = 30  # frames per second at which projects count a clip's frames


def nonlocal_clips(num_frames: int, fps: float, shape: ClipShape, num_clips: int) -> np.ndarray:
    """video-nonlocal-net: `DecodeClipFromVideoFileFlex`, in single precision.

    https://github.com/facebookresearch/video-nonlocal-net/blob/main/caffe2_customized_ops/video/customized_video_io.cc
    """
    gap = np.float32(num_frames) / np.float32(num_clips)
    starts = (gap * np.arange(num_clips, dtype=np.float32)).astype(np.int64)
    return (starts[:, None] + shape.offsets(fps)) % num_frames


def wrapped_random_clips(
    num_frames: int, fps: float, shape: ClipShape, num_clips: int, rng: np.random.Generator
) -> np.ndarray:
    """Training of video-nonlocal-net and mmaction2: a clip covers `clip_len` intervals, and wraps around."""
    if shape.target_fps is not None:
        length, offsets = _mmaction2_clip(fps, shape)
        starts = rng.integers(0, max(math.floor(num_frames - length + 1), 1), size=num_clips)
        return (starts[:, None] + offsets) % num_frames
    starts = rng.integers(0, max(num_frames - shape.clip_len * shape.frame_interval + 1, 1), size=num_clips)
    return (starts[:, None] + shape.offsets()) % num_frames


def mmaction2_clips(num_frames: int, fps: float, shape: ClipShape, num_clips: int) -> np.ndarray:
    """mmaction2 1.2: `SampleFrames` with `test_mode`, with and without `target_fps`.

    https://github.com/open-mmlab/mmaction2/blob/main/mmaction/datasets/transforms/loading.py
    """
    if shape.target_fps is not None:
        length, offsets = _mmaction2_clip(fps, shape)
        room = max(num_frames - length, 0)
        whole = (
            [math.floor(room / (num_clips - 1)) * clip for clip in range(num_clips)] if num_clips > 1 else [room // 2]
        )
        return (np.array(whole, dtype=np.int64)[:, None] + offsets) % num_frames
    last = max(num_frames - shape.span(), 0)
    if shape.clip_len == 1:  # a 2D network: the middle of each of n segments
        segment = num_frames / num_clips
        starts = np.arange(num_clips) * segment + segment / 2
    elif num_clips == 1:
        starts = np.array([last // 2])
    else:
        starts = np.round(np.arange(num_clips) * (last / (num_clips - 1)))
    return (starts.astype(np.int64)[:, None] + shape.offsets()) % num_frames


def _mmaction2_clip(fps: float, shape: ClipShape) -> tuple[float, np.ndarray]:
    """Return the length in frames of a clip whose frames are counted by time, and the offsets of its frames."""
    assert shape.target_fps is not None
    exact_rate(fps)  # an unknown rate is an error
    length = max(1.0, shape.clip_len * shape.frame_interval * (fps / shape.target_fps))
    return length, np.linspace(0, length - 1, shape.clip_len).astype(np.int64)


def dense_range_clips(num_frames: int, fps: float, shape: ClipShape, num_clips: int) -> np.ndarray:
    """mmaction2's `DenseSampleFrames`, and the `dense_sample` of TSM, in test."""
    starts = np.linspace(0, max(num_frames - _dense_range(fps, shape), 0), num=num_clips, dtype=np.int64)
    return (starts[:, None] + shape.offsets(fps)) % num_frames


def random_dense_range_clips(
    num_frames: int, fps: float, shape: ClipShape, num_clips: int, rng: np.random.Generator
) -> np.ndarray:
    """mmaction2's `DenseSampleFrames`, and the `dense_sample` of TSM, in training."""
    starts = rng.integers(0, max(num_frames - _dense_range(fps, shape), 1), size=num_clips)
    return (starts[:, None] + shape.offsets(fps)) % num_frames


def _dense_range(fps: float, shape: ClipShape) -> int:
    intervals = Fraction(shape.sample_range or shape.clip_len * shape.frame_interval, shape.frame_interval)
    return math.floor(intervals * shape.step(fps))


def pyslowfast_clips(num_frames: int, fps: float, shape: ClipShape, num_clips: int) -> np.ndarray:
    """PySlowFast: `get_start_end_idx` and `temporal_sampling`, without `USE_OFFSET_SAMPLING`.

    Differs from PySlowFast if it decodes only a clip's segment: its frames are then up to one frame later, because it
    rounds the start of the segment up before it distributes the frames.

    https://github.com/facebookresearch/SlowFast/blob/main/slowfast/datasets/decoder.py
    """
    length = _pyslowfast_length(fps, shape)
    room = max(num_frames - length, 0)
    return _evenly_in(length, [room * clip / num_clips for clip in range(num_clips)], num_frames, shape)


def pyslowfast_random_clips(
    num_frames: int, fps: float, shape: ClipShape, num_clips: int, rng: np.random.Generator
) -> np.ndarray:
    """PySlowFast in training: a clip may start between two frames."""
    length = _pyslowfast_length(fps, shape)
    starts = rng.uniform(0, max(num_frames - length, 0), size=num_clips)
    return _evenly_in(length, starts.tolist(), num_frames, shape)


def _pyslowfast_length(fps: float, shape: ClipShape) -> float:
    exact_rate(fps)  # an unknown rate is an error
    return max(1.0, shape.frame_interval * shape.clip_len / (shape.target_fps or FPS) * fps)


def _evenly_in(length: float, starts: list[float], num_frames: int, shape: ClipShape) -> np.ndarray:
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
    length = _pytorchvideo_length(fps, shape)
    step = max(num_frames - length, Fraction(0)) / num_clips
    return _subsampled(length, [step * clip for clip in range(num_clips)], num_frames, shape)


def pytorchvideo_random_clips(
    num_frames: int, fps: float, shape: ClipShape, num_clips: int, rng: np.random.Generator
) -> np.ndarray:
    """PyTorchVideo's `RandomClipSampler`: a clip may start between two frames.

    Raises:
        NoClipError: No frame falls into a clip, which is shorter than a frame.
    """
    length = _pytorchvideo_length(fps, shape)
    room = float(max(num_frames - length, Fraction(0)))
    return _subsampled(length, [Fraction(start) for start in rng.uniform(0, room, num_clips)], num_frames, shape)


def _pytorchvideo_length(fps: float, shape: ClipShape) -> Fraction:
    return shape.clip_len * shape.frame_interval * exact_rate(fps) / exact_rate(shape.target_fps or FPS)


def _subsampled(length: Fraction, starts: list[Fraction], num_frames: int, shape: ClipShape) -> np.ndarray:
    clips = []
    for start in starts:
        first, stop = math.ceil(start), min(math.ceil(start + length), num_frames)
        if stop <= first:
            raise NoClipError(f"a clip of {float(length):g} frames from {float(start):g} holds none")
        clips.append(first + torch.linspace(0, stop - first - 1, shape.clip_len).long())
    return torch.stack(clips).numpy()  # (num_clips, clip_len)


def torchvision_clips(num_frames: int, fps: float, shape: ClipShape, num_clips: int) -> np.ndarray:
    """torchvision's references: `VideoClips` with a step of 1 and `UniformClipSampler`, applied to each video.

    https://github.com/pytorch/vision/blob/main/torchvision/datasets/video_utils.py
    https://github.com/pytorch/vision/blob/main/torchvision/datasets/samplers/clip_sampler.py

    Raises:
        NoClipError: The video is shorter than a clip. torchvision leaves such videos out of its accuracy.
    """
    kept, windows = _torchvision_windows(num_frames, fps, shape)
    starts = torch.linspace(0, windows - 1, num_clips).floor().long()
    return kept[starts[:, None] + torch.arange(shape.clip_len)].numpy()  # (num_clips, clip_len)


def torchvision_random_clips(
    num_frames: int, fps: float, shape: ClipShape, num_clips: int, rng: np.random.Generator
) -> np.ndarray:
    """torchvision's `RandomClipSampler`: any of the windows.

    Raises:
        NoClipError: The video is shorter than a clip. torchvision leaves such videos out of its training.
    """
    kept, windows = _torchvision_windows(num_frames, fps, shape)
    starts = torch.from_numpy(rng.integers(0, windows, size=num_clips))
    return kept[starts[:, None] + torch.arange(shape.clip_len)].numpy()  # (num_clips, clip_len)


def _torchvision_windows(num_frames: int, fps: float, shape: ClipShape) -> tuple[torch.Tensor, int]:
    """Return the frames that are kept at the lower frame rate, and the number of clips among them."""
    exact_rate(fps)  # an unknown rate is an error
    rate = (shape.target_fps or FPS) / shape.frame_interval
    step = fps / rate
    if step.is_integer():
        kept = torch.arange(0, num_frames, int(step))
    else:
        kept = (torch.arange(math.floor(num_frames * rate / fps), dtype=torch.float32) * step).floor().long()
    windows = len(kept) - shape.clip_len + 1
    if windows < 1:
        raise NoClipError(
            f"{len(kept)} frames at {rate:g} per second, a clip has {shape.clip_len}; clip grid torchvision leaves such"
            " videos out"
        )
    return kept, windows
