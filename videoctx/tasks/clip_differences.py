"""What differs between the clips that weights were trained on and those of a run."""

import math
from collections.abc import Mapping
from typing import Any

# Chosen per test, where the options that the protocol stands for are compared, and where another order of the frames is
# a control; and what is no setting of a test.
NOT_COMPARED = ("views", "protocol", "frame_order", "train_crop_size_px")
COLORS = ("mean", "std")  # what every checkpoint of another project is known to expect


def clip_differences(trained: Mapping[str, Any] | None, used: Mapping[str, Any] | None) -> dict[str, dict[str, Any]]:
    """Return the settings that differ, each with its value of `trained` and of `used`.

    Args:
        trained: The preprocessing that is stored with the weights, or the part of it that is known.
        used: The preprocessing of the run.

    >>> clip_differences({"clip_len": 8, "mean": [0.5]}, {"clip_len": 16, "mean": [0.5]})
    {'clip_len': {'trained': 8, 'used': 16}}
    """
    return {
        name: {"trained": trained[name], "used": used[name]}
        for name in (used if trained and used else ())
        if trained and used and name in trained and name not in NOT_COMPARED and not _equal(trained[name], used[name])
    }


def describe_differences(differences: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the differences in one line.

    >>> describe_differences({"clip_len": {"trained": 8, "used": 16}})
    'clip_len 16 instead of 8'
    """
    return ", ".join(f"{name} {value['used']} instead of {value['trained']}" for name, value in differences.items())


def _equal(first: Any, second: Any) -> bool:
    if isinstance(first, list | tuple) and isinstance(second, list | tuple):
        return len(first) == len(second) and all(map(_equal, first, second))
    if isinstance(first, float) or isinstance(second, float):
        return math.isclose(first, second, rel_tol=1e-6)
    return bool(first == second)
