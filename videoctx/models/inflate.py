"""2D ResNet weights to 3D: every 2D kernel repeated over time, or put at the center of time.

Carreira, Zisserman: "Quo Vadis, Action Recognition?" (CVPR 2017, arXiv 1705.07750), section 2.4: repeat and divide.
Girdhar, Ramanan, Torresani, Li, Tran: "Detect-and-Track" (CVPR 2018, arXiv 1712.09184): mean or center.

A still video then gives the 2D network's features. With `"center"` that holds for every frame. With `"mean"` it holds
for the frames whose receptive field over time lies within the clip: near its ends the kernels reach zeros, where they
should see the same frame again. C2D has no kernels over time and holds either way.
"""

from collections.abc import Mapping
from typing import Literal

from torch import Tensor

from videoctx.first_few import first_few
from videoctx.models.checkpoint_names import TORCHVISION
from videoctx.models.key_map import KeyMap

TORCHVISION_NAMES = KeyMap(TORCHVISION, stages="1234")


def inflate(
    weights_2d: Mapping[str, Tensor], template: Mapping[str, Tensor], *, how: Literal["mean", "center"] = "mean"
) -> dict[str, Tensor]:
    """Return the weights of a 2D ResNet or ResNeXt by this package's names, with the shapes and types of a 3D network.

    The classifier is returned unchanged.

    Args:
        weights_2d: By torchvision's names, or this package's. Convolutions are (C_out, C_in, h, w), or
            (C_out, C_in, 1, h, w).
        template: State dict of the 3D network. Only its names, shapes and types are read.
        how: `"mean"`: each of the t frames of a kernel is the 2D kernel divided by t. `"center"`: the middle one is the
            2D kernel, and the others are zero.

    Raises:
        ValueError: The network does not have a weight, or has it with another shape.
    """
    if how not in ("mean", "center"):
        raise ValueError(f"how is {how!r}; expected mean, center")
    weights = {TORCHVISION_NAMES(name) or name: weight for name, weight in weights_2d.items()}
    if unknown := [name for name in weights if name not in template]:
        raise ValueError(f"the network has no {first_few(unknown)}")
    return {name: _inflated(name, weight, template[name], how) for name, weight in weights.items()}


def _inflated(name: str, weight: Tensor, like: Tensor, how: str) -> Tensor:
    plane = weight.to(like.dtype, copy=True)
    if name.startswith("head."):
        return plane
    if plane.ndim == 4:
        plane = plane.unsqueeze(2)  # (C_out, C_in, 1, h, w)
    kernel_t = like.shape[2] if like.ndim == 5 else 1
    if plane.shape != (*like.shape[:2], *([1] if like.ndim == 5 else []), *like.shape[3:]):
        raise ValueError(f"{name} is {tuple(weight.shape)}, which does not fit {tuple(like.shape)}")
    if kernel_t == 1:
        return plane
    if how == "mean":
        return (plane / kernel_t).repeat(1, 1, kernel_t, 1, 1)
    centered = plane.new_zeros(like.shape)
    centered[:, :, kernel_t // 2] = plane[:, :, 0]
    return centered
