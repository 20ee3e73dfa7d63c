"""Checks of the class names and labels of a training set before a run begins."""

import logging
import re
from collections.abc import Sequence
from typing import Literal

from videoctx.data.annotations import VideoRecord, VideoRecords
from videoctx.first_few import first_few

logger = logging.getLogger(__name__)

FlipLabels = Literal["refuse", "swap"]

# Words that a flip exchanges. Longer words come first, because they contain the shorter ones.
MIRRORED = {
    "counterclockwise": "clockwise",
    "clockwise": "counterclockwise",
    "left": "right",
    "right": "left",
}
DIRECTION = re.compile("|".join(MIRRORED))
COUNTERCLOCKWISE = re.compile("(counter|anti)[-_ ]?clockwise")


def mirror_classes(class_names: Sequence[str]) -> dict[str, str]:
    """Return the classes that a horizontal flip turns into another class, each with its partner.

    The partner is the name with left and right exchanged. A name such as "pulling it right out" has no partner among
    the classes and is left out.

    >>> mirror_classes(["turn left", "turn right", "clap"])
    {'turn left': 'turn right', 'turn right': 'turn left'}
    """
    partners = {}
    spelled = {COUNTERCLOCKWISE.sub("counterclockwise", name.casefold()): name for name in class_names}
    for spelling, name in spelled.items():
        mirrored = DIRECTION.sub(lambda found: MIRRORED[found[0]], spelling)
        if mirrored != spelling and mirrored in spelled:
            partners[name] = spelled[mirrored]
    return partners


def flipped_classes(class_names: Sequence[str]) -> list[int]:
    """Return K indices: the class that a flipped clip of each class shows, its partner or itself.

    >>> flipped_classes(["turn left", "turn right", "clap"])
    [1, 0, 2]
    """
    partners = mirror_classes(class_names)
    index = {name: position for position, name in enumerate(class_names)}
    return [index[partners.get(name, name)] for name in class_names]


def check_flip(class_names: Sequence[str], *, flip_probability: float) -> None:
    """Check that training does not flip clips of one class into another.

    Raises:
        ValueError: It does.
    """
    partners = mirror_classes(class_names)
    if flip_probability and partners:
        one = next(iter(partners))
        raise ValueError(
            f"train.flip_probability is {flip_probability:g}, but a flipped clip of {one!r} shows {partners[one]!r},"
            f" and {len(partners)} of {len(class_names)} classes are like that; expected flip_labels swap, which trains"
            " it as that, or flip_probability 0"
        )


def check_training_classes(
    records: Sequence[VideoRecord],
    class_names: Sequence[str],
    *,
    split: str,
    flip_probability: float,
    flip_labels: FlipLabels,
    warn: bool,
) -> None:
    """Check the class names against flips, and warn of classes without training videos.

    Args:
        split: Name of the training split, for the warning.
        warn: Whether to log the warning. One rank does.

    Raises:
        ValueError: Training flips clips of one class into another, and `flip_labels` is `refuse`.
    """
    if flip_labels == "refuse":
        check_flip(class_names, flip_probability=flip_probability)
    if warn:
        swaps = flip_probability and flip_labels == "swap"
        flipped_to = flipped_classes(class_names) if swaps else ()
        warn_of_untrained_classes(records, class_names, split=split, flipped_to=flipped_to)


def warn_of_untrained_classes(
    records: Sequence[VideoRecord], class_names: Sequence[str], *, split: str, flipped_to: Sequence[int] = ()
) -> None:
    """Log a warning with the classes that no video of the training split shows.

    Args:
        split: Name of the training split, for the message.
        flipped_to: Class that each class becomes by a flip (`flipped_classes`), if flipped clips are trained on as that
            class.
    """
    shown = VideoRecords.of(records).shown_classes()
    if flipped_to:
        shown |= {flipped_to[index] for index in shown}
    untrained = [name for index, name in enumerate(class_names) if index not in shown]
    if untrained:
        logger.warning(
            f"{len(untrained)} of {len(class_names)} classes have no video in split {split!r}, so they are not"
            f" learned: {first_few(untrained, most=4)}"
        )
