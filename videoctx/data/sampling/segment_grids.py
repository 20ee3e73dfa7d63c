"""Clips that cover the whole video: one frame of each of T equal parts (`segments`), or evenly spaced ones (`uniform`).

Segments are those of Wang et al., "Temporal Segment Networks" (ECCV 2016, arXiv 1608.00859). Training takes a random
frame of each part, and test the middle one; further clips of a test take frames at other offsets. For part i of T
(from 0) of a video of N frames, and clip k of n; s = (N - 1) / T:

| grid                | training: a frame from … to …  | test                                  | clips |
|---------------------|--------------------------------|---------------------------------------|-------|
| `videoctx`          | ⌊iN / T⌋ to ⌊(i + 1)N / T⌋ - 1 | ⌊(i + (2k + 1) / 2n) · N / T⌋         | any   |
| `tsm`               | i⌊N / T⌋ to (i + 1)⌊N / T⌋ - 1 | ⌊(i + 1/2) · N / T⌋, then ⌊i · N / T⌋ | 1, 2  |
| `mmaction2`         | as `tsm`                       | as `tsm`                              | 1, 2  |
| `mmaction2_uniform` | round(si) to round(s(i + 1))   | round(si) + ⌊s(k + 1) / (n + 1)⌋      | any   |
| `mmaction2_frames`  | ⌊iN / T⌋ to ⌊(i + 1)N / T⌋ - 1 | as in training, with a fixed seed     | any   |
| `pyslowfast`        | round(si) to round(s(i + 1))   | ⌊(round(si) + round(s(i + 1))) / 2⌋   | 1     |
| `pytorchvideo`      | as `pyslowfast`                | as `pyslowfast`                       | 1     |

With `tsm` and `mmaction2` training never takes the last N mod T frames. With fewer than 2T frames, `mmaction2_frames`
leaves out N - T frames, at most one between two that it takes. `round` takes the even of two neighbors.

Uniform clips are the same in training and test: frame ⌊i · (N - 1) / (T - 1)⌋, from the first to the last.

A video with fewer frames than T shows frames more than once, in order. Differing from this, training with `tsm` takes
the first frame T times, and with `mmaction2` round(i · N / T), where N is frame 0; `mmaction2_frames` takes consecutive
frames and wraps around. With `short_videos` `refuse` such a video is an error with every grid.

Sources: `TSNDataSet` of TSM (`_sample_indices`, `_get_test_indices`, `twice_sample`); `SampleFrames` with `clip_len` 1
and T `num_clips` and `twice_sample`, `UniformSample` and `UniformSampleFrames`, of mmaction2 1.2; `get_seq_frames` of
PySlowFast's ssv2.py, which PyTorchVideo's `SSv2` repeats; `uniform_temporal_subsample` of PyTorchVideo.
"""

# ruff: noqa: ARG001 - all grids have one signature

from functools import wraps

import numpy as np
import torch

from videoctx.data.sampling.clip_samplers import ClipGrid, ClipShape, ClipTooLongError, RandomGrid


def check_length(num_frames: int, shape: ClipShape) -> None:
    """Raise a ClipTooLongError if a video has fewer frames than a clip and `short_videos` is `refuse`."""
    if shape.short_videos == "refuse" and num_frames < shape.clip_len:
        raise ClipTooLongError(
            f"{num_frames} frames, but a clip takes one of each of {shape.clip_len} parts; expected short_videos 'wrap'"
            " or 'repeat_last', which repeat frames, or a shorter clip"
        )


def refusing(grid: ClipGrid) -> ClipGrid:
    """Let a grid of whole videos follow `short_videos` `refuse`."""

    @wraps(grid)
    def checked(num_frames: int, fps: float, shape: ClipShape, num_clips: int) -> np.ndarray:
        check_length(num_frames, shape)
        return grid(num_frames, fps, shape, num_clips)

    return checked


def refusing_random(grid: RandomGrid) -> RandomGrid:
    """Let a grid of random frames of whole videos follow `short_videos` `refuse`."""

    @wraps(grid)
    def checked(num_frames: int, fps: float, shape: ClipShape, num_clips: int, rng: np.random.Generator) -> np.ndarray:
        check_length(num_frames, shape)
        return grid(num_frames, fps, shape, num_clips, rng)

    return checked


@refusing
def segment_clips(num_frames: int, fps: float, shape: ClipShape, num_clips: int) -> np.ndarray:
    """Return the frame at offset (2k + 1) / 2n of each part, for clip k of n: (num_clips, clip_len)."""
    halves = 2 * num_clips * np.arange(shape.clip_len) + 2 * np.arange(num_clips)[:, None] + 1
    return halves * num_frames // (2 * num_clips * shape.clip_len)


@refusing_random
def random_segment_clips(
    num_frames: int,
    fps: float,
    shape: ClipShape,
    num_clips: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return a random frame of each part, (num_clips, clip_len). Every frame belongs to one part."""
    edges = np.arange(shape.clip_len + 1) * num_frames // shape.clip_len
    stops = np.maximum(edges[1:], edges[:-1] + 1)  # a part without a frame shows the one at its start
    return rng.integers(edges[:-1], stops, size=(num_clips, shape.clip_len))


@refusing
def tsm_clips(num_frames: int, fps: float, shape: ClipShape, num_clips: int) -> np.ndarray:
    """TSM: `_get_test_indices`, in which the second clip is that of `twice_sample`.

    https://github.com/mit-han-lab/temporal-shift-module/blob/master/ops/dataset.py
    """
    tick = num_frames / shape.clip_len
    starts = tick * np.arange(shape.clip_len)
    return np.stack([tick / 2 + starts, starts])[:num_clips].astype(np.int64)


@refusing_random
def tsm_random_clips(
    num_frames: int,
    fps: float,
    shape: ClipShape,
    num_clips: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """TSM: `_sample_indices`."""
    size = (num_clips, shape.clip_len)
    if (part := num_frames // shape.clip_len) == 0:
        return np.zeros(size, dtype=np.int64)
    return part * np.arange(shape.clip_len) + rng.integers(part, size=size)


@refusing_random
def mmaction2_random_segments(
    num_frames: int, fps: float, shape: ClipShape, num_clips: int, rng: np.random.Generator
) -> np.ndarray:
    """mmaction2: `_get_train_clips` of `SampleFrames` with `clip_len` 1 and T clips."""
    if num_frames >= shape.clip_len:
        return tsm_random_clips(num_frames, fps, shape, num_clips, rng)
    frames = np.around(np.arange(shape.clip_len) * (num_frames / shape.clip_len)).astype(np.int64) % num_frames
    return np.tile(frames, (num_clips, 1))


def _rounded_edges(num_frames: int, clip_len: int) -> np.ndarray:
    """Return the rounded edges (clip_len + 1,) of the parts between the first frame and the last."""
    return np.round((num_frames - 1) / clip_len * np.arange(clip_len + 1)).astype(np.int64)


@refusing
def pyslowfast_segments(num_frames: int, fps: float, shape: ClipShape, num_clips: int) -> np.ndarray:
    """PySlowFast: `get_seq_frames` in test, where all clips are the same.

    https://github.com/facebookresearch/SlowFast/blob/main/slowfast/datasets/ssv2.py
    """
    edges = _rounded_edges(num_frames, shape.clip_len)
    return np.tile((edges[:-1] + edges[1:]) // 2, (num_clips, 1))


@refusing_random
def pyslowfast_random_segments(
    num_frames: int,
    fps: float,
    shape: ClipShape,
    num_clips: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """PySlowFast: `get_seq_frames` in training. The frame between two parts belongs to both."""
    edges = _rounded_edges(num_frames, shape.clip_len)
    return rng.integers(edges[:-1], edges[1:], size=(num_clips, shape.clip_len), endpoint=True)


@refusing
def mmaction2_uniform_segments(num_frames: int, fps: float, shape: ClipShape, num_clips: int) -> np.ndarray:
    """mmaction2: `UniformSample` with `test_mode`, whose training is PySlowFast's."""
    part = (num_frames - 1) / shape.clip_len
    offsets = (part / (num_clips + 1) * np.arange(1, num_clips + 1)).astype(np.int64)
    return _rounded_edges(num_frames, shape.clip_len)[:-1] + offsets[:, None]


@refusing
def mmaction2_frames_segments(num_frames: int, fps: float, shape: ClipShape, num_clips: int) -> np.ndarray:
    """mmaction2: `UniformSampleFrames` with `test_mode`, which is random with the seed 255 for every video.

    https://github.com/open-mmlab/mmaction2/blob/main/mmaction/datasets/transforms/pose_transforms.py
    """
    if num_frames < shape.clip_len:
        clips = np.arange(num_clips)
        starts = clips if num_frames < num_clips else clips * num_frames // num_clips
        return (starts[:, None] + np.arange(shape.clip_len)) % num_frames
    generator = np.random.RandomState(255)
    return np.stack([_random_frames(num_frames, shape.clip_len, generator) for _ in range(num_clips)])


@refusing_random
def mmaction2_frames_random_segments(
    num_frames: int, fps: float, shape: ClipShape, num_clips: int, rng: np.random.Generator
) -> np.ndarray:
    """mmaction2: `UniformSampleFrames` in training."""
    if num_frames < shape.clip_len:
        return (rng.integers(num_frames, size=(num_clips, 1)) + np.arange(shape.clip_len)) % num_frames
    return np.stack([_random_frames(num_frames, shape.clip_len, rng) for _ in range(num_clips)])


def _random_frames(num_frames: int, clip_len: int, rng: np.random.Generator | np.random.RandomState) -> np.ndarray:
    """Return a random frame of each part, (clip_len,), of at least as many frames as parts."""
    if num_frames < 2 * clip_len:
        left_out = np.zeros(clip_len + 1, dtype=np.int64)
        left_out[rng.choice(clip_len + 1, num_frames - clip_len, replace=False)] = 1
        return np.arange(clip_len) + np.cumsum(left_out)[:-1]
    edges = np.arange(clip_len + 1) * num_frames // clip_len
    sizes = np.diff(edges)
    offsets = rng.integers(sizes) if isinstance(rng, np.random.Generator) else rng.randint(sizes)
    return edges[:-1] + offsets


@refusing
def evenly_spaced_clips(num_frames: int, fps: float, shape: ClipShape, num_clips: int) -> np.ndarray:
    """Return evenly spaced frames from the first to the last, (num_clips, clip_len). A single one is in the middle."""
    if shape.clip_len == 1:
        frames = np.array([(num_frames - 1) // 2])
    else:
        frames = np.arange(shape.clip_len) * (num_frames - 1) // (shape.clip_len - 1)
    return np.tile(frames, (num_clips, 1))


@refusing
def pytorchvideo_spaced_clips(num_frames: int, fps: float, shape: ClipShape, num_clips: int) -> np.ndarray:
    """PyTorchVideo: `uniform_temporal_subsample` of the whole video, in single precision."""
    return np.tile(torch.linspace(0, num_frames - 1, shape.clip_len).long().numpy(), (num_clips, 1))


def evenly_spaced_random_clips(
    num_frames: int,
    fps: float,
    shape: ClipShape,
    num_clips: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return the frames of `evenly_spaced_clips`, which are no random ones."""
    return evenly_spaced_clips(num_frames, fps, shape, num_clips)


def pytorchvideo_spaced_random_clips(
    num_frames: int,
    fps: float,
    shape: ClipShape,
    num_clips: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return the frames of `pytorchvideo_spaced_clips`, which are no random ones."""
    return pytorchvideo_spaced_clips(num_frames, fps, shape, num_clips)
