"""How a stored frame is turned to be upright."""

from collections.abc import Callable, Mapping
from typing import Any, cast

import av
import numpy as np
from av.sidedata.sidedata import SideDataContainer, Type

UPRIGHT = np.eye(2, dtype=int)
UPRIGHT.flags.writeable = False
_ROTATIONS = {  # display matrices by degrees counterclockwise
    0: UPRIGHT,
    90: np.array([[0, -1], [1, 0]]),
    180: -np.eye(2, dtype=int),
    270: np.array([[0, 1], [-1, 0]]),
}

# Not `frame.side_data`: the frame keeps that and is kept by it, so that its pixels would stay in memory until the
# garbage collector runs. PyAV's stubs do not name the argument, and give other keys in each version.
_side_data_of: Callable[[av.VideoFrame], Mapping[Any, Any]] = cast(Any, SideDataContainer)


def display_matrix(frame: av.VideoFrame) -> np.ndarray:
    """Return the rotation and mirroring of a stored frame, (2, 2) int of 0, 1 and -1.

    The rows are the directions (right, down) of the stored rows and columns in the upright frame: [[1, 0], [0, 1]] if
    nothing is turned. More than two entries that are not 0 mean a rotation by other than a multiple of 90 degrees.
    """
    try:
        matrix = _side_data_of(frame).get(Type.DISPLAYMATRIX)
    except ValueError:  # PyAV does not know the type of another entry, such as that of spatial video
        return _ROTATIONS.get(round(frame.rotation) % 360, np.ones((2, 2), int))
    if matrix is None:
        return UPRIGHT  # making an array costs more than the rest
    signs = np.sign(np.frombuffer(matrix, np.int32).reshape(3, 3)[:2, :2])
    return signs if signs.any() else UPRIGHT


def is_upright(frame: av.VideoFrame) -> bool:
    """Return whether a stored frame is shown as it is."""
    matrix = display_matrix(frame)
    return matrix is UPRIGHT or bool((matrix == UPRIGHT).all())
