"""Which images of a folder are the frames of a video, and in which order, by their names alone.

    00001.jpg                       Jester, Something-Something v1
    image_00001.jpg                 3D-ResNets
    img_00001.jpg, flow_x_00001.jpg TSN, TSM, mmaction2's raw frames

A name ends with the frame's number, in ASCII digits with or without zeros in front; images with the same text before it
are one set. Optical flow beside the frames is left out. The numbers of the remaining set must be consecutive and may
start anywhere, because a missing image would shift all frames after it.
"""

import os
import re
from collections.abc import Iterable
from itertools import chain, islice, pairwise

from videoctx.first_few import first_few

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")  # in lower or upper case
EXPECTED = "expected JPEG or PNG files that end with their number, such as img_00001.jpg"
MOST_DIGITS = 18  # of a number
MOST_LISTED = 4  # names in a message

NUMBERED = re.compile(r"(?P<set>.*?)(?P<number>[0-9]+)\.[a-z]+", re.IGNORECASE | re.DOTALL)
FLOW = re.compile(r"(?:.*[^a-z])?flow[_-]?(?P<axis>[xyuv])?[_-]?", re.IGNORECASE | re.DOTALL)
AXIS = re.compile(r"(?P<before>(?:.*[^a-z0-9])?)(?P<axis>[xyuv])(?P<after>[_-]?)", re.IGNORECASE | re.DOTALL)
OTHER_AXIS = {"x": "y", "y": "x", "u": "v", "v": "u"}


class ImageNamesError(ValueError):
    """The images are not the frames of one video. The message is the reason."""


def is_image(name: str) -> bool:
    """Return whether a file is an image by its name. Hidden files are none.

    >>> is_image("00001.JPG"), is_image("._00001.jpg"), is_image("labels.txt")
    (True, False, False)
    """
    return name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith(".")


def has_images(folder: str | os.PathLike[str]) -> bool:
    """Return whether a file in the folder itself is an image."""
    with os.scandir(folder) as entries:
        return any(is_image(entry.name) for entry in entries)


def ordered_frames(names: Iterable[str]) -> list[str]:
    """Return the names of the frames in order. Files that are no images are left out.

    Raises:
        ImageNamesError: There are no frames, images without a number, several sets, a number twice, or one is missing.

    >>> ordered_frames(["img_10.jpg", "img_9.jpg", "img_11.jpg", "flow_x_9.jpg", "flow_y_9.jpg"])
    ['img_9.jpg', 'img_10.jpg', 'img_11.jpg']
    """
    sets: dict[str, list[tuple[int, str]]] = {}
    without_number = []
    for name in filter(is_image, names):
        found = NUMBERED.fullmatch(name)
        if found is None or len(found["number"]) > MOST_DIGITS:
            without_number.append(name)
        else:
            sets.setdefault(found["set"], []).append((int(found["number"]), name))
    if not sets and not without_number:
        raise ImageNamesError(f"no images; {EXPECTED}")
    if without_number:
        listed = first_few(sorted(without_number), MOST_LISTED)
        raise ImageNamesError(f"{len(without_number)} images without a number at the end ({listed}); {EXPECTED}")
    frames = {prefix: numbered for prefix, numbered in sets.items() if not _is_flow(prefix, sets)}
    if len(frames) != 1:
        described = first_few([f"{prefix}*: {len(sets[prefix])}" for prefix in sorted(frames or sets)], MOST_LISTED)
        what = f"{len(frames)} sets of images" if frames else "only optical flow"
        raise ImageNamesError(f"{what} ({described}); expected the frames of one video, such as img_00001.jpg")
    (numbered,) = frames.values()
    return _consecutive(sorted(numbered))


def _is_flow(prefix: str, sets: Iterable[str]) -> bool:
    """Return whether a set of images is optical flow: `flow_x_`; or `x_` beside `y_`; or `flow_` beside others."""
    found = FLOW.fullmatch(prefix)
    if found:
        return bool(found["axis"]) or any(not FLOW.fullmatch(other) for other in sets)
    found = AXIS.fullmatch(prefix)
    if not found:
        return False
    partner = f"{found['before']}{OTHER_AXIS[found['axis'].lower()]}{found['after']}".lower()
    return any(other.lower() == partner for other in sets)


def _consecutive(numbered: list[tuple[int, str]]) -> list[str]:
    """Return the names of numbered images, sorted by number."""
    for (number, name), (other_number, other) in pairwise(numbered):
        if number == other_number:
            raise ImageNamesError(f"{name} and {other} have the same number; expected one image per frame")
    (first, _), (last, _) = numbered[0], numbered[-1]
    num_missing = last - first + 1 - len(numbered)
    if num_missing:
        gaps = (range(before + 1, after) for (before, _), (after, _) in pairwise(numbered))
        missing = [str(number) for number in islice(chain.from_iterable(gaps), MOST_LISTED + 1)]
        raise ImageNamesError(
            f"the images from {first} to {last} lack {num_missing} ({first_few(missing, MOST_LISTED)});"
            " expected consecutive numbers"
        )
    return [name for _, name in numbered]
