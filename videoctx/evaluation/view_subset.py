"""Chooses from the stored views those of a test with fewer clips or crops.

The protocol of a test with n clips fixes where clip i starts, as a share of the video (`clip_placement` in the scores):

| clip_placement   | clip i of n                | a single clip |
|------------------|----------------------------|---------------|
| `from_start`     | i / n                      | 0             |
| `ends_or_middle` | i / (n - 1)                | 1/2           |
| `ends_or_start`  | i / (n - 1)                | 0             |
| `part_centers`   | (2i + 1) / 2n              | 1/2           |
| `part_inner`     | (i + 1) / (n + 1)          | 1/2           |
| `part_middle_then_start` | 1/2, then 0        | 1/2           |

Clips that have one frame of each of T parts of the video take it there in every part.

A test with m clips is replaced by the stored clip nearest to each of its m starts; of two equally near clips, by the
earlier one. Where all starts are the same, the result is that of a test with m clips, and called `exact`: of 10 clips
`from_start`, 1, 2, 5 and 10; of 10 `ends_or_middle`, 2, 4 and 10. Otherwise it is called `nearest`. (A protocol that
computes in floating point may round a start to the neighboring frame.)

One crop is the middle one of an odd number of crops. There are never more clips or crops than were tested.
"""

import re
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from videoctx.evaluation.view_scores import ViewScores

HALF = Fraction(1, 2)
SINGLE_CLIP = {
    "from_start": Fraction(0),
    "ends_or_middle": HALF,
    "ends_or_start": Fraction(0),
    "part_centers": HALF,
    "part_inner": HALF,
    "part_middle_then_start": HALF,
}


class Views(NamedTuple):
    """The number of clips and of crops of every video.

    Example:
        >>> Views.parse("10x3")
        Views(num_clips=10, num_crops=3)
        >>> str(Views(10, 3))
        '10x3'
    """

    num_clips: int
    num_crops: int

    def __str__(self) -> str:
        return f"{self.num_clips}x{self.num_crops}"

    @classmethod
    def parse(cls, text: str) -> "Views":
        """Return the views that a text such as `10x3` gives.

        Raises:
            ValueError: the text has another form.
        """
        if not (match := re.fullmatch(r"([1-9]\d*)[x×]([1-9]\d*)", text)):
            raise ValueError(f"views are {text!r}; expected clips x crops, such as 10x3")
        return cls(int(match[1]), int(match[2]))


class Subset(NamedTuple):
    """Some of the views of every video.

    Args:
        views: how many they are.
        clips: the numbers of the stored clips.
        exact: whether a test with as many clips has the same ones.
        scores: of these views.
    """

    views: Views
    clips: list[int]
    exact: bool
    scores: ViewScores


def clip_starts(clip_placement: str, num_clips: int) -> list[Fraction]:
    """Return where the clips of a test start, as shares of the video from 0 to 1.

    Example:
        >>> [str(start) for start in clip_starts("from_start", 4)]
        ['0', '1/4', '1/2', '3/4']
    """
    if num_clips == 1:
        return [SINGLE_CLIP[clip_placement]]
    if clip_placement == "part_centers":
        return [Fraction(2 * clip + 1, 2 * num_clips) for clip in range(num_clips)]
    if clip_placement == "part_inner":
        return [Fraction(clip + 1, num_clips + 1) for clip in range(num_clips)]
    if clip_placement == "part_middle_then_start":
        return [HALF, Fraction(0)]
    parts = num_clips if clip_placement == "from_start" else num_clips - 1
    return [Fraction(clip, parts) for clip in range(num_clips)]


def nearest_clips(clip_placement: str, *, stored: int, wanted: int) -> tuple[list[int], bool]:
    """Return the stored clips nearest to those of a test with `wanted` clips, and whether their starts are equal."""
    have, want = clip_starts(clip_placement, stored), clip_starts(clip_placement, wanted)
    clips = [min(range(stored), key=lambda clip: abs(have[clip] - start)) for start in want]
    return clips, [have[clip] for clip in clips] == want


def choose_views(stored: ViewScores, views: Views) -> Subset:
    """Return those of the stored views that a test with `views` has.

    Raises:
        ValueError: the stored views do not include them.
    """
    have = Views(*stored.shape)
    if views == have:
        return Subset(views, list(range(have.num_clips)), True, stored)
    if views.num_clips > have.num_clips or views.num_crops not in {1, have.num_crops} or have == (0, 0):
        raise ValueError(f"views {views} are not among those tested, {have}; expected {_accepted(have)}")
    if views.num_crops != have.num_crops and have.num_crops % 2 == 0:
        raise ValueError(f"views {views}: of {have.num_crops} crops none is in the middle; expected {_accepted(have)}")
    clips, exact = list(range(have.num_clips)), True
    if views.num_clips != have.num_clips:
        if stored.clip_placement not in SINGLE_CLIP:
            raise ValueError(f"views {views}: it is not known where the clips start; expected {_accepted(have)}")
        clips, exact = nearest_clips(stored.clip_placement, stored=have.num_clips, wanted=views.num_clips)
    crops = range(have.num_crops) if views.num_crops == have.num_crops else [have.num_crops // 2]
    kept = np.isin(stored.clip, clips) & np.isin(stored.crop, crops)
    return Subset(views, clips, exact, stored.keep(kept, views_expected=views.num_clips * views.num_crops))


def _accepted(have: Views) -> str:
    crops = f"{have.num_crops}" if have.num_crops == 1 or have.num_crops % 2 == 0 else f"1 or {have.num_crops}"
    return f"1 to {have.num_clips} clips and {crops} crops"
