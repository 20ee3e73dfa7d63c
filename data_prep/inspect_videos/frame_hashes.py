"""Perceptual hashes of a few frames, which do not depend on codec, size, bit rate or brightness.

The hash is pHash (Zauner 2010, https://www.phash.org/docs/pubs/thesis_zauner.pdf), computed by ImageHash
(https://github.com/JohannesBuchner/imagehash): whether each of the lowest frequencies of the cosine transform of a gray
32 × 32 image is above their median. The mean is left out, which leaves 63 bits. Eight frames are hashed, from the
middles of the eighths of the video.

Not recognized: a mirrored video, another crop, black borders, more than a few frames cut off.
"""

import av
import imagehash
import numpy as np
from PIL import Image

from data_prep.inspect_videos.compared_frames import SampledFrames
from videoctx.data.decoding.display_matrix import display_matrix
from videoctx.data.decoding.pyav_reader import decode

NUM_FRAMES = 8
SIDE_PX = 32
NUM_BITS = 63
FLAT_LEVELS = 3.0  # standard deviation, of 0 to 255: the hash of a black or white frame would be noise
MAX_COUNT_ERROR = 0.02  # of the number of frames: beyond it the file is decoded again to find the middles
FLAT = 0  # the hash of such a frame; no other frame has it, because half of its bits are 1

_WEIGHTS = 1 << np.arange(NUM_BITS, dtype=np.uint64)


def hashed_frames(expected_frames: int) -> list[int]:
    """Return the indices of the frames to hash, the middles of the eighths of the video."""
    return [int((place + 0.5) * expected_frames / NUM_FRAMES) for place in range(NUM_FRAMES)]


def hash_frames(
    path: str, *, expected_frames: int, samples: SampledFrames | None = None
) -> tuple[int, tuple[int, ...]]:
    """Decode all of a file, and a second time if the container promises a clearly different number of frames.

    Args:
        expected_frames: the number of frames that the container promises. If it is slightly incorrect, the positions
            of the hashed frames are so too.
        samples: gets every frame.

    Returns:
        The number of frames, and the hashes of `NUM_FRAMES` of them, or no hashes if there are no frames.

    Raises:
        VideoDecodeError: as `videoctx.data.decoding.pyav_reader.decode`.
    """
    wanted = hashed_frames(expected_frames)
    hashes: list[int] = []
    frame, num_frames = None, 0
    for index, frame in enumerate(decode(path)):
        num_frames += 1
        if samples is not None:
            samples.add(index, frame)
        if index in wanted:
            hashes += [hash_frame(frame)] * wanted.count(index)
    if abs(num_frames - expected_frames) > MAX_COUNT_ERROR * num_frames + 1:
        return hash_frames(path, expected_frames=num_frames)
    if frame is not None:
        hashes += [hash_frame(frame)] * (NUM_FRAMES - len(hashes))  # a few frames less than promised
    return num_frames, tuple(hashes)


def hash_frame(frame: av.VideoFrame) -> int:
    """Return the hash of the upright frame, 63 bits."""
    gray = frame.reformat(width=SIDE_PX, height=SIDE_PX, format="gray", interpolation="AREA").to_ndarray()
    (row_right, row_down), (column_right, column_down) = display_matrix(frame)
    if row_right == 0:  # stored rows are shown as columns
        gray = gray.T
    gray = gray[:: row_down + column_down, :: row_right + column_right]
    if gray.std() < FLAT_LEVELS:
        return FLAT
    bits = imagehash.phash(Image.fromarray(gray)).hash.ravel()[1:]  # without the mean
    return int(_WEIGHTS[bits].sum())


def to_text(hashes: tuple[int, ...]) -> str:
    """Return the hashes as one cell of a manifest."""
    return "".join(f"{one:016x}" for one in hashes)


def from_text(text: str) -> tuple[int, ...]:
    """Return the hashes in a cell of a manifest, or none if the cell does not contain eight hashes."""
    try:
        hashes = tuple(int(text[start : start + 16], 16) for start in range(0, len(text), 16))
    except ValueError:
        return ()
    return hashes if len(text) == 16 * NUM_FRAMES else ()
