"""Which frames of a video a decoder must return as PyAV does, and whether it did.

Decoders err where they seek, and at the end. So they are compared on a frame after each of some packets that are marked
as key frames, on the last frame, and on some of those that `data_prep.inspect_videos.frame_hashes` hashes. A decoder
decodes from a key frame on. In a long GOP the last frame is therefore replaced by one that is near enough, so that the
comparison decodes about a quarter of the video at most.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from math import isqrt

import av
import numpy as np

from videoctx.data.decoding.exact_decoders import Container
from videoctx.data.decoding.frame_collector import upright

MOST_KEY_FRAMES = 4
SHARE_DECODED = 0.25  # of the frames
MIN_DECODED = 16  # frames
MOST_FRAMES = 8
NUM_PIXELS = 128 * 128  # that are compared per frame
MAX_MEAN_DIFFERENCE = 1.5  # of 0 to 255: versions of FFmpeg round, and interpolate chroma, differently
EIGHT_BIT_FORMATS = ("yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p")  # their first plane is luma
MIN_MOTION = 0.1  # mean difference of two frames; more similar ones cannot be told apart


def frames_to_compare(container: Container, num_frames: int, hashed: Iterable[int]) -> list[list[int]]:
    """Return the indices of the frames to compare, as one or two reads, each sorted.

    The first GOP is read last, so that a reader begins with a seek.

    Args:
        num_frames: Number of frames that the container promises, at least one.
        hashed: Frames whose hashes are computed.
    """
    keys = [key for key in container.key_frames if key < num_frames] or [0]
    places = np.linspace(0, len(keys) - 1, min(len(keys), MOST_KEY_FRAMES)).round().astype(int)
    chosen = {min(keys[place] + 1, num_frames - 1) for place in places}
    decoded: dict[int, int] = {}  # number of frames from each key frame on
    for index in chosen:
        _decode(decoded, keys, index)
    budget = max(MIN_DECODED, int(SHARE_DECODED * num_frames))
    left = max(0, budget - sum(decoded.values()))
    farthest = min(num_frames, keys[-1] + decoded.get(keys[-1], 0) + left) - 1
    for index in (farthest, *sorted(hashed, key=lambda index: index - _key_before(keys, index))):
        with_it = dict(decoded)
        _decode(with_it, keys, index)
        if sum(with_it.values()) <= budget and len(chosen) < MOST_FRAMES:
            decoded = with_it
            chosen.add(index)
    second = keys[1] if len(keys) > 1 else num_frames
    reads = [index for index in chosen if index >= second], [index for index in chosen if index < second]
    return [sorted(read) for read in reads if read]


def sample_pixels(image: np.ndarray) -> np.ndarray:
    """Return pixels of an image (H, W, …) at even distances."""
    height, width = image.shape[:2]
    step = max(1, isqrt(height * width // NUM_PIXELS))
    return np.ascontiguousarray(image[::step, ::step])


class SampledFrames:
    """Pixels of some frames of a video, taken while PyAV decodes it from the first frame to the last.

    Args:
        reads: The frames to keep (`frames_to_compare`).
    """

    def __init__(self, reads: Sequence[Sequence[int]] = ()) -> None:
        self.reads = reads
        self.indices = [index for read in reads for index in read]
        self._pixels: dict[int, np.ndarray] = {}
        self._luma: dict[int, np.ndarray] = {}  # of the neighbors too
        self._near = {index + step for index in self.indices for step in (-1, 0, 1)}

    def add(self, index: int, frame: av.VideoFrame) -> None:
        """Keep the frame if it is wanted."""
        if index in self._near:
            self._luma[index] = sample_pixels(_luma(frame))
            if index in self.indices:
                self._pixels[index] = sample_pixels(upright(frame))

    def shows(self, index: int, pixels: np.ndarray) -> bool:
        """Return whether the pixels of an upright RGB image show frame `index` and not one of its neighbors.

        If they differ a little, they must differ by less than half of the neighbors' distance.
        """
        own = self._pixels.get(index)
        if own is None or own.shape != pixels.shape:
            return False
        difference = _distance(own, pixels)
        if difference == 0:
            return True
        neighbors = [self._luma[near] for near in (index - 1, index + 1) if near in self._luma]
        motions = [motion for near in neighbors if (motion := _distance(self._luma[index], near)) > MIN_MOTION]
        return difference <= MAX_MEAN_DIFFERENCE and all(difference <= motion / 2 for motion in motions)


def _luma(frame: av.VideoFrame) -> np.ndarray:
    """Return the luma of a frame as stored, (H, W) uint8."""
    plane = frame.planes[0]
    if frame.format.name in EIGHT_BIT_FORMATS and plane.buffer_size == plane.line_size * plane.height:
        return np.frombuffer(bytes(plane), np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]
    return frame.to_ndarray(format="gray")


def _distance(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(np.int16) - other).mean())


def _decode(decoded: dict[int, int], keys: Sequence[int], index: int) -> None:
    key = _key_before(keys, index)
    decoded[key] = max(decoded.get(key, 0), index - key + 1)


def _key_before(keys: Sequence[int], index: int) -> int:
    return keys[max(0, bisect_right(keys, index) - 1)]
