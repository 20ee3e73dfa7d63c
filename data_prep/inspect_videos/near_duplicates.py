"""Find the videos that look alike among hundreds of thousands.

Two videos are alike if at least `MIN_ALIKE` of their eight frames are, each compared with the frame at the same
position. Two frames are alike if their hashes (`data_prep.inspect_videos.frame_hashes`) differ in at most `MAX_BITS` of
63 bits.

Two of eight frames may differ, so of any three at least one is alike. Every pair of videos is therefore first compared
by three frames only, in blocks of pairs without a Python loop over pairs. 240,000 videos take two minutes on one core
whatever they show; an index of hash bands is slow if many frames are similar.

The thresholds are measured. Among 128 real clips (UT-Interaction: cuts of 20 sequences with two backgrounds;
Kinetics-400), the two most similar have their sixth most similar frames 14 bits apart. Between a clip and its
re-encodings (codec, 40% of the size, another shape, CRF 38, brightness and contrast) it is at most 6 bits.
"""

import numpy as np

from data_prep.inspect_videos.frame_hashes import FLAT, NUM_FRAMES

MAX_BITS = 8
MIN_ALIKE = 6
COMPARED_FIRST = (1, 4, 6)  # frames; one more than may differ
MIN_COMPARABLE = 4  # frames that show something; videos with fewer of them cannot be compared
BLOCK = 512  # videos: the pairs of two blocks are compared at once, in the cache of a processor

assert len(COMPARED_FIRST) == NUM_FRAMES - MIN_ALIKE + 1


def comparable(hashes: np.ndarray) -> np.ndarray:
    """Return whether each video shows enough to be compared: (V,) bool from (V, 8) hashes."""
    return (hashes != FLAT).sum(1) >= MIN_COMPARABLE


def groups_of_alike(hashes: np.ndarray) -> np.ndarray:
    """Number the groups of videos that are alike, directly or through other videos of the group.

    Two videos of a group need not be alike. But if a group has videos of two splits, two videos of different splits are
    alike.

    Args:
        hashes: (V, 8) uint64, of comparable videos.

    Returns:
        (V,) int: the group of each video, which has the index of its first video. Most videos are alone in theirs.
    """
    distinct, which = np.unique(hashes, axis=0, return_inverse=True)  # copies would make very many pairs
    which = which.ravel()
    frames = np.ascontiguousarray(distinct.T)
    group = np.arange(len(distinct))
    for top in range(0, len(distinct), BLOCK):
        for left in range(top, len(distinct), BLOCK):
            first, second = _alike(frames[:, top : top + BLOCK], frames[:, left : left + BLOCK])
            group = connect(group, first + top, second + left)
    group_of_video = group[which]
    _, first_index, which_group = np.unique(group_of_video, return_index=True, return_inverse=True)
    return first_index[which_group.ravel()]


def connect(group: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Merge the groups of the two members of each pair.

    Args:
        group: (V,) int: for each member, the index of a member of its group.
        first, second: (P,) int: the members of the pairs.

    Returns:
        (V,) int: as `group`; merged groups have the lowest of their indices.
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
    """Return in how many of 63 bits the (8,) hashes of two videos differ on average."""
    return float(np.bitwise_count(one ^ other).mean())


def _alike(one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of the pairs of videos that are alike, from hashes (8, V) and (8, W)."""
    candidates = np.zeros((one.shape[1], other.shape[1]), bool)
    for frame in COMPARED_FIRST:
        candidates |= np.bitwise_count(one[frame, :, None] ^ other[frame]) <= MAX_BITS
    first, second = np.nonzero(candidates)
    num_alike = (np.bitwise_count(one[:, first] ^ other[:, second]) <= MAX_BITS).sum(0)
    return first[num_alike >= MIN_ALIKE], second[num_alike >= MIN_ALIKE]
