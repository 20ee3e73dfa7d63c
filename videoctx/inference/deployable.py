"""A trained network with its preprocessing inside, from decoded frames to probabilities.

Resizing and cropping are two matrix products, with matrices made of the frames' height and width. Every exporter
and runtime supports these, while the filters of an interpolation differ between runtimes.
"""

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from videoctx.data.preprocessing import Preprocessing
from videoctx.data.transforms.crop_corners import CORNERS
from videoctx.data.transforms.resize import Resizing
from videoctx.inference.classifier import Classifier
from videoctx.inference.resizing_matrices import resizing_matrices
from videoctx.layers.non_local import Affinity, ConcatenationAffinity, SoftmaxAffinity
from videoctx.models.stem import MaxPool3d


class DeployableNetwork(nn.Module):
    """A network from frames (B, T, H, W, 3) uint8 RGB to the probabilities (B, K) float32 of their center crop.

    Where the test resizes bytes, frames become the same bytes as by PyTorch on a CPU. On a GPU a pixel can differ
    by one gray level.

    Args:
        trained: The classifier.
        frame_size_px: Height and width of the decoded frames. None: any, and the matrices are part of the network.
    """

    rows: Tensor | None
    columns: Tensor | None
    mean: Tensor
    std: Tensor

    def __init__(self, trained: Classifier, *, frame_size_px: tuple[int, int] | None = None) -> None:
        super().__init__()
        preprocessing = trained.preprocessing
        rows, columns = _filters(preprocessing, frame_size_px) if frame_size_px else (None, None)
        self.register_buffer("rows", rows, persistent=False)  # (S, H)
        self.register_buffer("columns", columns, persistent=False)  # (S, W)
        for name in ("mean", "std"):
            value = 255 * torch.tensor(getattr(preprocessing, name))[:, None, None]  # (3, 1, 1)
            self.register_buffer(name, value, persistent=False)
        self.net = exportable(trained.net)
        self.multi_label = trained.multi_label
        self.preprocessing = preprocessing
        self.arithmetic = preprocessing.arithmetic

    def forward(self, frames: Tensor) -> Tensor:
        if self.rows is None or self.columns is None:
            rows, columns = resizing_matrices(frames, self.preprocessing)
        else:
            rows, columns = self.rows, self.columns
        frames = frames.movedim(-1, 2).float()  # (B, T, 3, H, W)
        frames = frames @ columns.T  # (B, T, 3, H, S)
        if self.arithmetic == "bytes":
            frames = (frames + 0.5).floor()
        frames = rows @ frames  # (B, T, 3, S, S)
        if self.arithmetic != "float":
            frames = (frames + 0.5).floor()
        clips = ((frames - self.mean) / self.std).transpose(1, 2)  # (B, 3, T, S, S)
        logits = self.net(clips)
        return logits.sigmoid() if self.multi_label else logits.softmax(dim=1)


def _filters(preprocessing: Preprocessing, frame_size_px: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return the matrices from the H rows of a frame to the S rows of the crop, (S, H), and for its columns, (S, W)."""
    resizing, crop_px = preprocessing.resizing, preprocessing.crop_size_px
    resized = resizing.size(*frame_size_px)
    corner = CORNERS[preprocessing.crops](*resized, crop_px, 0, 1)
    rows, columns = (
        _interpolation(side, new_side, resizing)[start : start + crop_px]
        for side, new_side, start in zip(frame_size_px, resized, corner, strict=True)
    )
    return rows, columns


def _interpolation(side: int, new_side: int, resizing: Resizing) -> Tensor:
    """Return PyTorch's bilinear filter along one axis as a matrix (new_side, side): its result for each unit vector."""
    units = torch.eye(side, dtype=torch.float64)[None, None]
    matrix = F.interpolate(
        units, size=(new_side, side), mode="bilinear", antialias=resizing.antialias, align_corners=False
    )
    if resizing.arithmetic != "bytes":
        return matrix[0, 0].float()
    # For bytes it rounds its weights to integers below 2¹⁵ times a power of two.
    digits = next((digits for digits in range(22) if matrix.max() * 2 ** (digits + 1) + 0.5 >= 2**15), 22)
    return (matrix[0, 0] * 2**digits + 0.5).floor().float() / 2**digits


class DirectAffinity(nn.Module):
    """An affinity with its N × M matrix, of operations that every runtime has: the original sorts and searches."""

    def __init__(self, original: Affinity) -> None:
        super().__init__()
        self.original = original

    def forward(self, theta: Tensor, phi: Tensor, g: Tensor) -> Tensor:
        return self.original.direct(theta, phi, g)


def exportable(net: nn.Module) -> nn.Module:
    """Return a copy whose layers compute the same without regard to the number of threads and autocast."""
    net = copy.deepcopy(net).cpu().eval().requires_grad_(False)
    for parent in list(net.modules()):
        for name, layer in parent.named_children():
            if isinstance(layer, SoftmaxAffinity):
                layer.splits_queries = False
            elif isinstance(layer, ConcatenationAffinity):
                setattr(parent, name, DirectAffinity(layer))
            elif type(layer) is MaxPool3d:
                setattr(parent, name, nn.MaxPool3d(layer.kernel_size, layer.stride, layer.padding))
    return net
