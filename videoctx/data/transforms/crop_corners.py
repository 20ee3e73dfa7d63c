"""Where the crops of validation and test lie: the positions of this package and of other projects.

| `data.test.crops`  | project                  | crops along the longer side; r is that side minus the crop   |
|--------------------|--------------------------|--------------------------------------------------------------|
| `even`             | videoctx                 | any number n, at ⌊i · r / (n - 1)⌋; a single one at ⌊r / 2⌋  |
| `stepped`          | Non-local, mmaction2     | 1 or 3, in steps of ⌊r / 2⌋; or 10                           |
| `middle_up`        | PySlowFast, PyTorchVideo | 1 or 3, the middle one at ⌈r / 2⌉                            |
| `middle_rounded`   | torchvision              | 1, at r / 2 rounded to the even neighbor                     |
| `quarters`         | TSM                      | 1 as torchvision's; left, right, middle by ⌊r / 4⌋; 5; or 10 |

Along the shorter side a crop is in the middle. TSM's three crops are always along the width. Five crops are the corners
and the center, in steps of ⌊r / 4⌋ along both sides; of ten, every second one is the one before it, flipped.
"""

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

from torch import Tensor

CropsName = Literal["even", "stepped", "middle_up", "middle_rounded", "quarters"]
CropCorner = Callable[[int, int, int, int, int], tuple[int, int]]  # height, width, size, crop, crops → top, left


class Crop(NamedTuple):
    """A square crop of a frame."""

    top: int
    left: int
    flipped: bool = False

    def cut(self, frames: Tensor, size_px: int) -> Tensor:
        """Return the crop of frames (…, H, W): (…, size_px, size_px)."""
        crops = frames[..., self.top : self.top + size_px, self.left : self.left + size_px]
        return crops.flip(-1) if self.flipped else crops


def even_corner(height: int, width: int, size: int, crop: int, num_crops: int) -> tuple[int, int]:
    """Return top and left of test crop `crop` out of `num_crops`.

    Crops are evenly spaced along the longer side and centered on the shorter one. A single crop is the center; three
    are the left, middle and right (or top, middle and bottom) crops of Non-local's test.
    """
    rows, columns = height - size, width - size
    if num_crops == 1:
        return rows // 2, columns // 2
    if height > width:
        return rows * crop // (num_crops - 1), columns // 2
    return rows // 2, columns * crop // (num_crops - 1)


def stepped_corner(height: int, width: int, size: int, crop: int, num_crops: int) -> tuple[int, int]:
    """`ClipTransformFlex` of video-nonlocal-net; `ThreeCrop`, `CenterCrop` and `TenCrop` of mmaction2."""
    if num_crops == 5:
        return five_corner(height, width, size, crop)
    top, left = (height - size) // 2, (width - size) // 2
    if num_crops == 1:
        return top, left
    return (top * crop, left) if height > width else (top, left * crop)


def middle_up_corner(height: int, width: int, size: int, crop: int, num_crops: int) -> tuple[int, int]:
    """`uniform_crop` of PySlowFast and PyTorchVideo, in which a single crop is the middle one of three."""
    crop = crop if num_crops == 3 else 1
    top, left = ((room if crop == 2 else math.ceil(room / 2) if crop else 0) for room in (height - size, width - size))
    middle_top, middle_left = math.ceil((height - size) / 2), math.ceil((width - size) / 2)
    return (top, middle_left) if height > width else (middle_top, left)


def middle_rounded_corner(height: int, width: int, size: int, crop: int, num_crops: int) -> tuple[int, int]:  # noqa: ARG001
    """`center_crop` of torchvision."""
    return round((height - size) / 2), round((width - size) / 2)


def quarters_corner(height: int, width: int, size: int, crop: int, num_crops: int) -> tuple[int, int]:
    """`GroupCenterCrop`, `GroupFullResSample` and `GroupOverSample` of TSM."""
    if num_crops == 1:
        return middle_rounded_corner(height, width, size, crop, num_crops)
    if num_crops == 5:
        return five_corner(height, width, size, crop)
    return 2 * ((height - size) // 4), (0, 4, 2)[crop] * ((width - size) // 4)


def five_corner(height: int, width: int, size: int, crop: int) -> tuple[int, int]:
    """Return a corner of the frame, or its center, which is the crop in the middle, 2."""
    rows, columns = ((0, 0), (0, 4), (2, 2), (4, 0), (4, 4))[crop]  # in quarters
    return rows * ((height - size) // 4), columns * ((width - size) // 4)


CORNERS: dict[CropsName, CropCorner] = {
    "even": even_corner,
    "stepped": stepped_corner,
    "middle_up": middle_up_corner,
    "middle_rounded": middle_rounded_corner,
    "quarters": quarters_corner,
}
NUM_CROPS: dict[CropsName, tuple[int, ...]] = {  # any number where it is not listed
    "stepped": (1, 3, 10),
    "middle_up": (1, 3),
    "middle_rounded": (1,),
    "quarters": (1, 3, 5, 10),
}


def find_crop(crops: CropsName, height: int, width: int, size: int, crop: int, num_crops: int) -> Crop:
    """Return test crop `crop` out of `num_crops` of a frame.

    >>> find_crop("stepped", 256, 340, 224, 9, 10)
    Crop(top=32, left=116, flipped=True)
    """
    if num_crops == 10 and 10 in NUM_CROPS.get(crops, ()):
        return Crop(*CORNERS[crops](height, width, size, crop // 2, 5), flipped=crop % 2 == 1)
    return Crop(*CORNERS[crops](height, width, size, crop, num_crops))


def check_num_crops(crops: CropsName, num_crops: int) -> None:
    """Raise a ValueError if there is no rule for this number of crops."""
    accepted = NUM_CROPS.get(crops)
    if accepted and num_crops not in accepted:
        expected = " or ".join(map(str, accepted))
        others = " or ".join(sorted(set(CORNERS) - {*NUM_CROPS}))
        raise ValueError(f"{num_crops} crops per clip; expected {expected} with data.test.crops {crops}, or {others}")
