"""Videos that look alike, among very many.

Two videos are alike if at least `MIN_ALIKE` of their eight frames are, each with the frame at the same part of the
other video; two frames are alike if their hashes (`data_prep.inspect_videos.frame_hashes`) differ in at most `MAX_BITS` of 63 bits.

As two of eight frames may differ, of any three at least one is alike: every pair is first tried by three frames
only. These are passes over blocks of pairs, without a loop in Python over pairs: 240 000 videos take two minutes of one
processor, whatever they look like; an index of hash bands is slow where many pictures are of one kind.

The numbers are measured. Of the 128 real clips that the project is measured on (UT-Interaction: cuts of 20 sequences
before two backgrounds; Kinetics-400), the two most alike have their sixth most alike frames 14 bits apart; between a
clip and its re-encodings (codec, 40% of the size, another shape, CRF 38, brightness and contrast) it is 6 bits at most.
"""

import numpy as np

from data_prep.inspect_videos.frame_hashes import FLAT, NUM_FRAMES

MAX_BITS = 8
MIN_ALIKE = 6
TRIED_FIRST = (1, 4, 6)  # frames; one more than may differ
MIN_SEEN = 4  # frames that show something; with less of them, videos cannot be compared
BLOCK = 512  # videos by as many: the pairs that are looked at in one go, which a processor's cache holds

assert len(TRIED_FIRST) == NUM_FRAMES - MIN_ALIKE + 1


def comparable(hashes: np.ndarray) -> np.ndarray:
    """(V,) bool: which of the videos' (V, 8) hashes say enough."""
    return (hashes != FLAT).sum(1) >= MIN_SEEN


def groups_of_alike(hashes: np.ndarray) -> np.ndarray:
    """Number the groups of videos that are alike, also if only by way of others between them.

    So two videos of a group need not be alike; but where a group has videos of two splits, some two of different
    splits are.

    Args:
        hashes: (V, 8) uint64, of comparable videos.

    Returns:
        (V,) int: the group of each video, which has the number of its first. Most are alone in theirs.
    """
    distinct, which = np.unique(hashes, axis=0, return_inverse=True)  # copies would make very many pairs
    which = which.ravel()
    frames = np.ascontiguousarray(distinct.T)
    group = np.arange(len(distinct))
    for top in range(0, len(distinct), BLOCK):
        for left in range(top, len(distinct), BLOCK):
            first, second = _alike(frames[:, top : top + BLOCK], frames[:, left : left + BLOCK])
            group = connect(group, first + top, second + left)
    of_video = group[which]
    _, first_place, which_group = np.unique(of_video, return_index=True, return_inverse=True)
    return first_place[which_group.ravel()]


def connect(group: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Join the groups of each pair of members.

    Args:
        group: (V,) int: a number of one of its members for the group of each member.
        first, second: (P,) int: the members of the pairs.

    Returns:
        (V,) int: as `group`, the lowest number of those that were joined.
    """
    while True:
        one, other = group[first], group[second]
        apart = one != other
        if not apart.any():
            return group
        lowest = np.arange(len(group))
        np.minimum.at(lowest, np.maximum(one, other)[apart], np.minimum(one, other)[apart])
        while ((lower := lowest[lowest]) != lowest).any():
            lowest = lower
        group = lowest[group]


def mean_bits(one: np.ndarray, other: np.ndarray) -> float:
    """By how many bits of 63 two videos' (8,) hashes differ on average, 0 to 63."""
    return float(np.bitwise_count(one ^ other).mean())


def _alike(one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places of the videos that are alike, in one (8, V) and in other (8, W)."""
    tried = np.zeros((one.shape[1], other.shape[1]), bool)
    for frame in TRIED_FIRST:
        tried |= np.bitwise_count(one[frame, :, None] ^ other[frame]) <= MAX_BITS
    first, second = np.nonzero(tried)
    num_alike = (np.bitwise_count(one[:, first] ^ other[:, second]) <= MAX_BITS).sum(0)
    return first[num_alike >= MIN_ALIKE], second[num_alike >= MIN_ALIKE]
