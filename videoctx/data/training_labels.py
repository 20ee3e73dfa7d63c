"""What the classes of a training set say about a run before it begins."""

import logging
import re
from collections.abc import Sequence
from typing import Literal

from videoctx.data.annotations import VideoRecord

logger = logging.getLogger(__name__)

FlipLabels = Literal["refuse", "swap"]

# What a flip exchanges; the longer names first, as they hold the shorter ones.
MIRRORED = {
    "counterclockwise": "clockwise",
    "clockwise": "counterclockwise",
    "left": "right",
    "right": "left",
}
DIRECTION = re.compile("|".join(MIRRORED))
COUNTERCLOCKWISE = re.compile("(counter|anti)[-_ ]?clockwise")


def mirror_classes(class_names: Sequence[str]) -> dict[str, str]:
    """Every class that a horizontal flip turns into another, and that other: the name with left and right exchanged.

    A name such as "pulling it right out", which has no partner, is about something else, or cannot be mistaken.
    """
    partners = {}
    spelled = {COUNTERCLOCKWISE.sub("counterclockwise", name.casefold()): name for name in class_names}
    for spelling, name in spelled.items():
        mirrored = DIRECTION.sub(lambda found: MIRRORED[found[0]], spelling)
        if mirrored != spelling and mirrored in spelled:
            partners[name] = spelled[mirrored]
    return partners


def flipped_classes(class_names: Sequence[str]) -> list[int]:
    """K indices: the class that a flipped clip of each class shows, its partner or itself."""
    partners = mirror_classes(class_names)
    index = {name: position for position, name in enumerate(class_names)}
    return [index[partners.get(name, name)] for name in class_names]


def check_flip(class_names: Sequence[str], *, flip_probability: float) -> None:
    """
    Raises:
        ValueError: training would flip clips of a class into another class.
    """
    partners = mirror_classes(class_names)
    if flip_probability and partners:
        one = next(iter(partners))
        raise ValueError(
            f"flip_probability is {flip_probability:g}, but a flipped clip of {one!r} shows {partners[one]!r}, and"
            f" {len(partners)} of {len(class_names)} classes are like that; expected flip_labels swap, which trains it"
            " as that, or flip_probability 0"
        )


def warn_of_untrained_classes(
    records: Sequence[VideoRecord], class_names: Sequence[str], *, split: str, flipped_to: Sequence[int] = ()
) -> None:
    """Name the classes that no video of the training split shows: nothing is learned of them.

    Args:
        flipped_to: where flipped clips are trained on too, the class that each class becomes (`flipped_classes`).
    """
    shown = set()
    for record in records:
        if isinstance(record.label, tuple):
            shown.update(index for index, is_shown in enumerate(record.label) if is_shown)
        else:
            shown.add(record.label)
    if flipped_to:
        shown |= {flipped_to[index] for index in shown}
    untrained = [name for index, name in enumerate(class_names) if index not in shown]
    if untrained:
        listed = ", ".join(untrained[:4]) + (", …" if len(untrained) > 4 else "")
        logger.warning(
            f"{len(untrained)} of {len(class_names)} classes have no video in split {split!r}, so nothing is learned"
            f" of them: {listed}"
        )
