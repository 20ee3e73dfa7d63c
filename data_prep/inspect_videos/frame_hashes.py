"""Perceptual hashes of a few frames: what a video looks like, whatever its codec, size, bit rate or brightness.

The hash is pHash (Zauner 2010, https://www.phash.org/docs/pubs/thesis_zauner.pdf): the signs, against their median, of
the 63 lowest frequencies of the cosine transform of a gray 32 × 32 picture, but for the mean, so that brightness does
not count. Eight frames are taken, from the middles of eighths of the video.

Not recognized: a mirrored video, another crop, black borders, more than a few frames cut off.
"""

import av
import numpy as np

from videoctx.data.decoding.containers import display_matrix
from videoctx.data.decoding.pyav_reader import decode

NUM_FRAMES = 8
SIDE_PX = 32
NUM_FREQUENCIES = 8  # in each direction
FLAT_LEVELS = 3.0  # standard deviation, of 0 to 255: below it a picture, black or white, has noise for a hash
MAX_PROMISE_ERROR = 0.02  # of the number of frames: beyond it the places are found anew
FLAT = 0  # the hash of such; no other has it, as half of the bits of any are 1

_COSINES = np.cos(np.pi * np.outer(np.arange(NUM_FREQUENCIES), np.arange(SIDE_PX) + 0.5) / SIDE_PX)
_WEIGHTS = 1 << np.arange(NUM_FREQUENCIES**2 - 1, dtype=np.uint64)


def hash_frames(path: str, *, expected_frames: int) -> tuple[int, tuple[int, ...]]:
    """Decode a whole file once; twice where the container promises far more or fewer frames than there are.

    Args:
        expected_frames: how many it promises; where that is a little wrong, so are the places of the frames.

    Returns:
        The number of frames, and the hash of each of `NUM_FRAMES` of them (none where there are no frames).

    Raises:
        VideoDecodeError: as `videoctx.data.decoding.pyav_reader.decode`.
    """
    wanted = [int((place + 0.5) * expected_frames / NUM_FRAMES) for place in range(NUM_FRAMES)]
    hashes: list[int] = []
    frame, num_frames = None, 0
    for index, frame in enumerate(decode(path)):
        num_frames += 1
        if index in wanted:
            hashes += [hash_frame(frame)] * wanted.count(index)
    if abs(num_frames - expected_frames) > MAX_PROMISE_ERROR * num_frames + 1:
        return hash_frames(path, expected_frames=num_frames)
    if frame is not None:
        hashes += [hash_frame(frame)] * (NUM_FRAMES - len(hashes))  # a few less than promised
    return num_frames, tuple(hashes)


def hash_frame(frame: av.VideoFrame) -> int:
    """63 bits, of the upright picture."""
    gray = frame.reformat(width=SIDE_PX, height=SIDE_PX, format="gray", interpolation="AREA").to_ndarray()
    (row_right, row_down), (column_right, column_down) = display_matrix(frame)
    if row_right == 0:  # stored rows are shown as columns
        gray = gray.T
    gray = gray[:: row_down + column_down, :: row_right + column_right].astype(np.float64)
    if gray.std() < FLAT_LEVELS:
        return FLAT
    frequencies = (_COSINES @ gray @ _COSINES.T).ravel()[1:]
    return int(_WEIGHTS[frequencies > np.median(frequencies)].sum())


def to_text(hashes: tuple[int, ...]) -> str:
    """For a cell of a manifest."""
    return "".join(f"{one:016x}" for one in hashes)


def from_text(text: str) -> tuple[int, ...]:
    """The hashes in a cell of a manifest; none where they are not of this kind."""
    try:
        hashes = tuple(int(text[start : start + 16], 16) for start in range(0, len(text), 16))
    except ValueError:
        return ()
    return hashes if len(text) == 16 * NUM_FRAMES else ()
