"""Scaling of pixel values, and the statistics of ImageNet."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.transforms.v2 import functional as TF

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def check_colors(mean: Sequence[float], std: Sequence[float]) -> None:
    """Raise a ValueError if a mean or standard deviation is none of values in [0, 1], such as one of 0 to 255."""
    for name, values, accepted in (
        ("mean", mean, all(0 <= value <= 1 for value in mean)),
        ("std", std, all(0 < value <= 1 for value in std)),
    ):
        if not accepted:
            least = "0 to 1" if name == "mean" else "above 0 and up to 1"
            of_bytes = "; those of values from 0 to 255 are divided by 255" if max(values) > 1 else ""
            raise ValueError(f"{name} is {list(values)}; expected each {least}{of_bytes}")


class Normalize(nn.Module):
    """(T, 3, H, W) uint8, or float in [0, 1] → (3, T, H, W) float: (x - mean) / std for each channel, x in [0, 1].

    torchvision's `normalize` copies mean and std to the device and looks for a zero there in every call, so that the
    program would wait for the device three times per clip.

    Args:
        mean: Mean of each channel, in [0, 1].
        std: Standard deviation of each channel, in (0, 1].

    Raises:
        ValueError: A mean is not in [0, 1], or a standard deviation not above 0 and up to 1.

    >>> Normalize((0.5,) * 3, (0.5,) * 3)(torch.full((1, 3, 1, 1), 255, dtype=torch.uint8)).flatten()
    tensor([1., 1., 1.])
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        check_colors(mean, std)
        self.mean = tuple(mean)
        self.std = tuple(std)
        self._constants: dict[torch.device, tuple[Tensor, Tensor]] = {}  # (3, 1, 1) each

    def forward(self, frames: Tensor) -> Tensor:
        if frames.device not in self._constants:
            mean, std = (torch.tensor(values, device=frames.device)[:, None, None] for values in (self.mean, self.std))
            self._constants[frames.device] = mean, std
        mean, std = self._constants[frames.device]
        scaled = TF.to_dtype(frames, torch.float32, scale=True)
        centered = scaled.sub(mean) if scaled is frames else scaled.sub_(mean)
        return centered.div_(std).transpose(0, 1)  # (3, T, H, W)
