"""How other projects test a video network. A protocol is a named set of options, each of which can be set on its own.

Imported weights reproduce the results of their project only under its own test:

| protocol       | `long_side`   | `antialias` | `arithmetic` | `crops`          | `head_pooling`          |
|----------------|---------------|-------------|--------------|------------------|-------------------------|
| `videoctx`     | `down`        | yes         | `bytes`      | `even`           | `whole_map`             |
| `nonlocal`     | `down_single` | no          | `rounded`    | `stepped`        | `windows_probabilities` |
| `pyslowfast`   | `down_ratio`  | no          | `float`      | `middle_up`      | `train_crop_windows`    |
| `mmaction2`    | `nearest`     | no          | `rounded`    | `stepped`        | `whole_map`             |
| `pytorchvideo` | `down_ratio`  | no          | `float`      | `middle_up`      | `windows_logits`        |
| `torchvision`  | `four_thirds` | no          | `float`      | `middle_rounded` | `whole_map`             |
| `tsm`          | `down`        | yes         | `bytes`      | `quarters`       | `whole_map`             |

These are options of `data.test`. A protocol also sets `data.clips.grid`, to the grid of its own name.
`videoctx.data.sampling.grids` describes the grids, `videoctx.data.transforms.resize` the resizing,
`videoctx.data.transforms.crop_corners` the crops, and `videoctx.models.test_head` the head.

The projects' usual sizes are a short side of 256 and crops of 256 pixels, with 10 × 3 views; torchvision's are 128, 112
and 5 × 1, and TSM's for Something-Something 256, 256 and 2 × 3, or 256, 224 and 1 × 1. All average the probabilities
of the views, as this package does; TSM averages logits. `mean` and `std` belong to the weights.

Differs from the projects: OpenCV, which resizes for video-nonlocal-net and mmaction2, truncates products, so that one
value in eight is one gray level darker there (of random images; none where both sides are halved). Pillow, which
resizes for TSM, may differ by one gray level. PySlowFast's default decoder scales while it decodes.
"""

from dataclasses import dataclass
from typing import Literal

from videoctx.data.sampling.grids import GridName
from videoctx.data.transforms.crop_corners import CropsName
from videoctx.data.transforms.frame_size import LongSide

ProtocolName = Literal["videoctx", "nonlocal", "pyslowfast", "mmaction2", "pytorchvideo", "torchvision", "tsm"]
Arithmetic = Literal["bytes", "float", "rounded"]
HeadPooling = Literal["whole_map", "windows_probabilities", "windows_logits", "train_crop_windows"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """The options of one project's test.

    Args:
        grid: Whose formula chooses the frames of clips.
        long_side: How the long side of a resized frame follows from the short one.
        antialias: Whether frames are filtered before they are shrunk.
        arithmetic: Whether frames are resized as bytes, or in floats, or in floats that are then rounded to bytes.
        crops: Where the crops lie.
        head_pooling: What of the last feature map is classified.
    """

    grid: GridName
    long_side: LongSide
    antialias: bool
    arithmetic: Arithmetic
    crops: CropsName
    head_pooling: HeadPooling


PROTOCOLS: dict[ProtocolName, Protocol] = {
    "videoctx": Protocol(
        grid="videoctx",
        long_side="down",
        antialias=True,
        arithmetic="bytes",
        crops="even",
        head_pooling="whole_map",
    ),
    "nonlocal": Protocol(
        grid="nonlocal",
        long_side="down_single",
        antialias=False,
        arithmetic="rounded",
        crops="stepped",
        head_pooling="windows_probabilities",
    ),
    "pyslowfast": Protocol(
        grid="pyslowfast",
        long_side="down_ratio",
        antialias=False,
        arithmetic="float",
        crops="middle_up",
        head_pooling="train_crop_windows",
    ),
    "mmaction2": Protocol(
        grid="mmaction2",
        long_side="nearest",
        antialias=False,
        arithmetic="rounded",
        crops="stepped",
        head_pooling="whole_map",
    ),
    "pytorchvideo": Protocol(
        grid="pytorchvideo",
        long_side="down_ratio",
        antialias=False,
        arithmetic="float",
        crops="middle_up",
        head_pooling="windows_logits",
    ),
    "torchvision": Protocol(
        grid="torchvision",
        long_side="four_thirds",
        antialias=False,
        arithmetic="float",
        crops="middle_rounded",
        head_pooling="whole_map",
    ),
    "tsm": Protocol(
        grid="tsm",
        long_side="down",
        antialias=True,
        arithmetic="bytes",
        crops="quarters",
        head_pooling="whole_map",
    ),
}
