"""The most frequent values, for tables and charts."""

from collections import Counter
from collections.abc import Iterable


def most_frequent(values: Iterable[str], most: int) -> list[tuple[str, int]]:
    """Return the values and their counts, the most frequent first.

    If there are more than `most`, the last entry counts all others.

    >>> most_frequent(["h264", "h264", "vp9", "av1"], most=2)
    [('h264', 2), ('2 others', 2)]
    """
    counted = Counter(values).most_common()
    shown = counted if len(counted) <= most else counted[: most - 1]
    num_left = sum(count for _, count in counted[len(shown) :])
    return [*shown, (f"{len(counted) - len(shown)} others", num_left)] if num_left else shown
