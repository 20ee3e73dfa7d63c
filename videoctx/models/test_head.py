"""The classifier of windows, with which some projects test a network on larger crops than those of its training.

A network that was trained on crops of 224 pixels averages a last feature map of 7 × 7 positions. For crops of 256
pixels the map is 8 × 8. In the fully-convolutional inference of Wang et al., "Non-local Neural Networks" (CVPR 2018,
arXiv 1711.07971), section 5.1, the map is averaged in windows of 7 × 7 positions at stride 1, over all frames, and each
window is classified.

| head pooling            | the probabilities of a clip              | in a project's code                          |
|-------------------------|------------------------------------------|----------------------------------------------|
| `windows_probabilities` | the mean of the windows' probabilities   | `create_model`, split `test`, of Non-local   |
| `train_crop_windows`    | the same, of other windows               | `ResNetBasicHead` of PySlowFast              |
| `windows_probabilities` | the same                                 | PyTorchVideo's hub: X3D, R(2+1)D             |
| `windows_logits`        | those of the mean of the windows' logits | `create_res_basic_head` of PyTorchVideo      |
| `whole_map`             | those of the logits of the whole map     | mmaction2, torchvision, TSM                  |

The windows of `train_crop_windows` are as large as the map of a training crop: its side // 32, which is 7 for 224. The
whole map is classified if the training crops differ, as in the short cycle of multigrid. An axis of the map that is
shorter than a window is averaged whole. X3D has a window size of its own. The probabilities are softmaxes, or sigmoids
where a video may show several classes.
"""

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Windows:
    """A classifier of the windows of a feature map, whose result is one row of logits per clip.

    Args:
        size: height and width of a window, in positions.
        average: what is averaged over the windows. The mean of probabilities is returned as its logits: logarithms
            for a softmax, log-odds for a sigmoid. Averages over the views of a video are taken of these.
        multi_label: whether the probabilities are sigmoids.
    """

    size: int
    average: Literal["probabilities", "logits"]
    multi_label: bool = False

    def several(self, x: Tensor) -> bool:
        """Whether a map (B, C, T, H, W) has more than one window."""
        return max(x.shape[-2:]) > self.size

    def features(self, x: Tensor) -> Tensor:
        """Return the means of the windows: (B, C, T, H, W) → (B, windows, C)."""
        size = [min(side, self.size) for side in x.shape[-2:]]
        return F.avg_pool2d(x.mean(dim=2), size, stride=1).flatten(2).transpose(1, 2)

    def combined(self, logits: Tensor) -> Tensor:
        """Return the logits of a clip, (B, K), of those of its windows, (B, windows, K)."""
        if self.average == "logits":
            return logits.mean(dim=1)
        logits = logits.float()
        if self.multi_label:
            return F.logsigmoid(logits).logsumexp(dim=1) - F.logsigmoid(-logits).logsumexp(dim=1)
        return logits.log_softmax(dim=2).logsumexp(dim=1) - math.log(logits.shape[1])


TEST_HEADS: dict[str, Windows | None] = {  # by the head pooling of a test
    "whole_map": None,
    "windows_probabilities": Windows(7, "probabilities"),
    "windows_logits": Windows(7, "logits"),
    "train_crop_windows": Windows(7, "probabilities"),
}
USUAL_TRAIN_CROP = 224
STRIDE = 32  # pixels between positions of the last feature map


class WindowedHead(nn.Module):
    """A network whose last feature map is classified in windows, in evaluation mode, if it has `windows`.

    Attributes:
        average: pools the whole map (B, C, T, H, W).
        dropout: before the classifier.
        head: the classifier, (…, C) → (…, K).
        windows: None: the whole map is classified. No module: it has no weights, and every copy of a network has it.
        window_size: height and width of the windows of this network. None: as the test has them.
    """

    average: nn.Module
    dropout: nn.Module
    head: nn.Linear
    windows: Windows | None = None
    window_size: int | None = None

    def project(self, features: Tensor) -> Tensor:
        """Return the input of the classifier of pooled features (…, C): the same, unless a network overrides this."""
        return features

    def classify(self, x: Tensor) -> Tensor:
        """Return the logits of the last feature map: (B, C, T, H, W) → (B, K)."""
        if self.training or self.windows is None or not self.windows.several(x):
            logits: Tensor = self.head(self.dropout(self.project(self.average(x).flatten(1))))
            return logits
        return self.windows.combined(self.head(self.project(self.windows.features(x))))


def set_test_head(
    net: nn.Module, pooling: str | None, *, multi_label: bool, train_crop_size_px: int | None = USUAL_TRAIN_CROP
) -> None:
    """Let a network classify in evaluation mode as in a test.

    The head of another network than this package's is left as it is, which is logged where windows are asked for.

    Args:
        pooling: what is classified, a key of `TEST_HEADS`. None: not known, and the whole map is classified.
        multi_label: whether a video may show several classes.
        train_crop_size_px: side of the crops that the network was trained on. None: they differ.

    Raises:
        ValueError: there is no such head pooling.
    """
    if pooling is not None and pooling not in TEST_HEADS:
        raise ValueError(f"head_pooling is {pooling!r}; expected one of {', '.join(TEST_HEADS)}")
    windows = TEST_HEADS[pooling] if pooling else None
    if windows and pooling == "train_crop_windows":
        size = max((train_crop_size_px or 0) // STRIDE, 1)
        windows = None if train_crop_size_px is None else replace(windows, size=size)
    heads = _heads(net)
    for head in heads:
        head.windows = windows and replace(windows, size=head.window_size or windows.size, multi_label=multi_label)
    if windows and not heads:
        logger.warning(
            "head pooling %s classifies windows of %d × %d positions; the head of %s is its own, and is used as it is",
            pooling,
            windows.size,
            windows.size,
            type(net).__name__,
        )


def describe_test_head(net: nn.Module) -> str | None:
    """Return in words what is classified in evaluation mode. None: the network has a head of its own."""
    heads = _heads(net)
    if not heads:
        return None
    windows = heads[0].windows
    if windows is None:
        return "whole map"
    return f"{windows.size}x{windows.size} windows, mean of {windows.average}"


@contextmanager
def mean_of_logits(net: nn.Module) -> Iterator[None]:
    """Average the logits of windows inside the `with` block, also where their probabilities are averaged outside it."""
    heads = [(head, head.windows) for head in _heads(net)]
    for head, windows in heads:
        head.windows = windows and replace(windows, average="logits")
    try:
        yield
    finally:
        for head, windows in heads:
            head.windows = windows


def _heads(net: nn.Module) -> list[WindowedHead]:
    return [module for module in net.modules() if isinstance(module, WindowedHead)]
