"""Fewer views than were tested: which of the stored ones stand for a test with fewer clips or crops.

A test with n clips puts clip i at a share of the video that its protocol fixes (`clip_placement` in the file of scores):

| clip_placement           | clip i of n                | a single clip |
|------------------|----------------------------|---------------|
| `from_start`     | i / n                      | 0             |
| `ends_or_middle` | i / (n - 1)                | 1/2           |
| `ends_or_start`  | i / (n - 1)                | 0             |

A grid of m clips takes the stored clip nearest to each of its m places, the earlier of two that are as near. Where all
of them are met exactly, the result is that of a test with m clips: of 10 `from_start`, 1, 2, 5 and 10 clips; of 10
`ends_or_middle`, 2, 4 and 10. Elsewhere it is `nearest`, and says so. (A protocol that computes in floating point may
round a start to the neighboring frame.)

A grid of one crop takes the middle one of an odd number. More clips or crops than were tested cannot be had.
"""

import re
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from videoctx.evaluation.view_scores import ViewScores

ONE_OF = {"from_start": Fraction(0), "ends_or_middle": Fraction(1, 2), "ends_or_start": Fraction(0)}


class Views(NamedTuple):
    """Clips × crops of every video."""

    num_clips: int
    num_crops: int

    def __str__(self) -> str:
        return f"{self.num_clips}x{self.num_crops}"

    @classmethod
    def parse(cls, text: str) -> "Views":
        """`10x3`. Raises ValueError."""
        if not (match := re.fullmatch(r"([1-9]\d*)[x×]([1-9]\d*)", text)):
            raise ValueError(f"views are {text!r}; expected clips x crops, such as 10x3")
        return cls(int(match[1]), int(match[2]))


class Subset(NamedTuple):
    """Some of the views of every video."""

    views: Views
    clips: list[int]  # of the stored ones
    exact: bool  # the clips of a test with as many
    scores: ViewScores


def places(clip_placement: str, num_clips: int) -> list[Fraction]:
    """Where the clips of a grid start, from 0 to 1."""
    if num_clips == 1:
        return [ONE_OF[clip_placement]]
    parts = num_clips if clip_placement == "from_start" else num_clips - 1
    return [Fraction(clip, parts) for clip in range(num_clips)]


def nearest_clips(clip_placement: str, *, stored: int, wanted: int) -> tuple[list[int], bool]:
    """The stored clips nearest to a grid of `wanted`, and whether they are that grid."""
    have, want = places(clip_placement, stored), places(clip_placement, wanted)
    clips = [min(range(stored), key=lambda clip: abs(have[clip] - place)) for place in want]
    return clips, [have[clip] for clip in clips] == want


def choose_views(stored: ViewScores, views: Views) -> Subset:
    """
    Raises:
        ValueError: the stored views do not hold such ones.
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
        if stored.clip_placement not in ONE_OF:
            raise ValueError(f"views {views}: the scores do not say where the clips start; expected {_accepted(have)}")
        clips, exact = nearest_clips(stored.clip_placement, stored=have.num_clips, wanted=views.num_clips)
    crops = range(have.num_crops) if views.num_crops == have.num_crops else [have.num_crops // 2]
    kept = np.isin(stored.clip, clips) & np.isin(stored.crop, crops)
    return Subset(views, clips, exact, stored.keep(kept, views_expected=views.num_clips * views.num_crops))


def _accepted(have: Views) -> str:
    crops = f"{have.num_crops}" if have.num_crops == 1 or have.num_crops % 2 == 0 else f"1 or {have.num_crops}"
    return f"1 to {have.num_clips} clips and {crops} crops"
