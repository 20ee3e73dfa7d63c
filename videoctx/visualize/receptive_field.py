"""Effective receptive field: how far a unit in the middle of a layer's output sees, by its gradients.

Luo, Li, Urtasun, Zemel: "Understanding the Effective Receptive Field in Deep Convolutional Neural Networks" (NeurIPS
2016, arXiv 1701.04128): the gradient of the unit with respect to every pixel, over many inputs. A pixel belongs to the
field where the gradient is greater than 1 - 95.45% of the greatest one, which is what two standard deviations of a
Gaussian leave, and the size of the field is the square root of its number of pixels.

Differs from the paper: the unit is the sum of all channels at one position. Magnitudes are averaged, summed over the
colors, since gradients of different signs would cancel. The threshold refers to the greatest gradient, not to that of
the central pixel. The field has frames as well as pixels.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from videoctx.visualize.layer_output import run_to_layer

THRESHOLD = 1 - math.erf(math.sqrt(2))  # 4.55%


@dataclass(frozen=True, slots=True)
class ReceptiveField:
    """The mean magnitude of the gradients of a central unit.

    Args:
        map: (T, H, W), not negative, over the frames and pixels of a clip.
    """

    map: Tensor

    @property
    def region(self) -> Tensor:
        """(T, H, W) bool: where the gradient is greater than 4.55% of the greatest one."""
        return self.map > THRESHOLD * self.map.max()

    @property
    def size_px(self) -> float:
        """The square root of the number of pixels that are in the region in any frame."""
        return math.sqrt(int(self.region.any(dim=0).sum()))

    @property
    def num_frames(self) -> int:
        """The number of frames that the region has pixels in."""
        return int(self.region.flatten(1).any(dim=1).sum())

    @property
    def outside(self) -> float:
        """The share of the gradients' sum that lies outside the region."""
        return float(self.map[~self.region].sum() / self.map.sum())


def central_gradients(net: nn.Module, clips: Tensor, layer: str) -> Tensor:
    """Backpropagate the unit in the middle of a layer's output to the clips.

    Args:
        net: in evaluation mode.
        clips: (B, 3, T, H, W).
        layer: the name of a layer in the network. Of a layer that runs several times, the last output is taken. The
            middle of a map with an even number of positions is the first one of its second half.

    Returns:
        (B, T, H, W): the magnitude of the gradients of each clip, summed over the colors.

    Raises:
        ValueError: there is no such layer, it does not run, its output is not (B, C, T, H, W), or the gradients are NaN
            or zero.

    Example:
        >>> net = nn.Sequential(nn.Conv3d(3, 2, (1, 3, 3), padding=(0, 1, 1)))
        >>> found = central_gradients(net, torch.zeros(1, 3, 2, 8, 8), "0")
        >>> (found > 0).sum().item()
        9
    """
    clips, _, features = run_to_layer(net, clips, layer)
    t, h, w = (size // 2 for size in features.shape[2:])
    (gradients,) = torch.autograd.grad(features[:, :, t, h, w].sum(), clips, allow_unused=True)
    if gradients is None or not gradients.any():
        raise ValueError(f"layer {layer} does not depend on the clip; expected a trained layer that does")
    if not gradients.isfinite().all():
        raise ValueError(f"the gradients of layer {layer} are NaN or infinite for this clip; expected numbers")
    return gradients.abs().sum(dim=1)
