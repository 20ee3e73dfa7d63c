"""The frame rate of a video by the times of its packets, because containers often state another one."""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

STATED_RATE_TOLERANCE = 0.002  # between the rate that a container states and that of its frames' times
USUAL_RATES = tuple(Fraction(rate * 1000, 1001) for rate in (24, 30, 60, 120))  # and whole numbers


def packet_rate(
    shown: np.ndarray | None, decoded: np.ndarray, unit_seconds: float, stated: Sequence[Fraction]
) -> Fraction:
    """Return the frame rate of a video of constant rate, or 0 if it is unknown.

    Args:
        shown: (num_frames,) sorted times at which frames are shown, in units. None: the container stores none.
        decoded: Sorted, distinct times at which packets are decoded, which are then used instead.
        stated: What the container states, the most trusted first.
    """
    if shown is not None:
        span = float(shown[-1] - shown[0]) * unit_seconds if len(shown) else 0.0
        return constant_rate(len(shown), span, unit_seconds, stated)
    # A packet of AVI takes its turn whether it shows a frame or not, and turns may be left out.
    if len(decoded) < 2:
        return constant_rate(0, 0.0, unit_seconds, stated)
    return constant_rate(2, float(np.median(np.diff(decoded))) * unit_seconds, 0.0, stated)


def constant_rate(num_frames: int, span_seconds: float, unit_seconds: float, stated: Sequence[Fraction]) -> Fraction:
    """Return the frame rate of frames at even distances.

    The result is a rate that the container states, or else a usual one, if the times agree with it; otherwise the
    rate of the times. Without times it is the first stated rate.

    Args:
        span_seconds: From the first frame to the last.
        unit_seconds: The times are rounded to multiples of this.
        stated: What the container states, the most trusted first.

    Example:
        >>> constant_rate(61, 2.002, 0.001, [Fraction(1000)])
        Fraction(30000, 1001)
    """
    if num_frames < 2 or span_seconds <= 0:
        return stated[0] if stated else Fraction(0)
    measured = (num_frames - 1) / span_seconds
    rounding = 2 * unit_seconds / span_seconds
    usual = (*USUAL_RATES, Fraction(max(1, round(measured))))
    for rates, tolerance in ((stated, max(STATED_RATE_TOLERANCE, rounding)), (usual, 1e-4 + rounding)):
        nearest = min(rates, key=lambda rate: abs(measured - float(rate)), default=None)
        if nearest is not None and abs(measured / float(nearest) - 1) <= tolerance:
            return nearest
    return Fraction(measured).limit_denominator(1001)
