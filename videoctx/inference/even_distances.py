"""A sample of many items, such as the videos of a manifest."""

from collections.abc import Sequence
from typing import TypeVar

Item = TypeVar("Item")


def at_even_distances(items: Sequence[Item], most: int | None) -> Sequence[Item]:
    """Return `most` of the items at even distances, or all where there are no more or it is None.

    >>> at_even_distances("abcdef", 3)
    ['a', 'c', 'e']
    """
    if not most or most >= len(items):
        return items
    return [items[index * len(items) // most] for index in range(most)]
