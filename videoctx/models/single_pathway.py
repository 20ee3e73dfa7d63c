"""X3D, CSN and R(2+1)D with the layers of PyTorchVideo's builders, and context blocks at their stages.

Feichtenhofer: "X3D: Expanding Architectures for Efficient Video Recognition" (CVPR 2020, arXiv 2004.04730).
Tran, Wang, Torresani, Feiszli: "Video Classification with Channel-Separated Convolutional Networks" (ICCV 2019, arXiv
1904.02811).
Tran, Wang, Torresani, Ray, LeCun, Paluri: "A Closer Look at Spatiotemporal Convolutions for Action Recognition" (CVPR
2018, arXiv 1711.11248).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from torch import Tensor, nn

from videoctx.models.network_config import record_config
from videoctx.models.pytorchvideo_layers import csn_layers, r2plus1d_layers, x3d_layers
from videoctx.models.staged_network import StagedNetwork, check_choice, check_least, of_config

DEPTHS = (50, 101, 152)


class X3D(StagedNetwork):
    """X3D from (B, 3, T, H, W) to logits (B, num_classes): depthwise 3×3×3 convolutions with squeeze-and-excitation.

    XS, S and M are one network for clips of different size; L is deeper.

    Args:
        num_classes: K.
        depth_factor: factor to the number of blocks per stage, 1, 2, 5 and 3; 2.2 in XS, S and M, 5 in L.
        width_factor: factor to the number of channels.
        window_size: height and width of the last feature map in training: 5 for crops of 160 pixels (XS, S), 7 for 224
            (M), 10 for 312 (L). Tests on larger crops classify windows of this size, as the protocol has them.
        res2_shortcut_norm: BatchNorm after the convolution in the shortcut of res2, as in PySlowFast.
        context: makes a context block for a number of channels. YAML chooses it by `class_path`.
        context_at: indices, from 0, of the blocks of each stage that get one.
        context_position: `after_add`, on the block's output, or `after_1x1`, on the residual branch before the sum.
        dropout: probability, before the classifier.
        activation_checkpointing: stages whose activations are computed again in the backward pass.

    Raises:
        ValueError: A stage or block index is unknown; a number is out of range; or `context` is given without
            `context_at`, or the reverse.

    >>> import torch
    >>> X3D(10, width_factor=0.5).eval()(torch.zeros(1, 3, 4, 32, 32)).shape
    torch.Size([1, 10])
    """

    def __init__(
        self,
        num_classes: int,
        *,
        depth_factor: float = 2.2,
        width_factor: float = 2.0,
        window_size: int = 7,
        res2_shortcut_norm: bool = False,
        context: Callable[[int], nn.Module] | None = None,
        context_at: Mapping[str, Sequence[int]] | None = None,
        context_position: Literal["after_add", "after_1x1"] = "after_add",
        dropout: float = 0.5,
        activation_checkpointing: Sequence[str] = (),
    ) -> None:
        arguments = of_config(locals())
        check_least(1, window_size=window_size)
        for name, value in (("depth_factor", depth_factor), ("width_factor", width_factor)):
            if not value > 0:
                raise ValueError(f"{name} is {value}; expected more than 0")
        super().__init__()
        layers, conv5, fc1 = x3d_layers(
            num_classes,
            depth_factor=depth_factor,
            width_factor=width_factor,
            res2_shortcut_norm=res2_shortcut_norm,
        )
        self.window_size = window_size
        self.conv5, self.fc1 = conv5, fc1
        self.assemble(
            layers,
            dropout=dropout,
            context=context,
            context_at=context_at,
            context_position=context_position,
            activation_checkpointing=activation_checkpointing,
        )
        self.config = record_config(type(self), arguments)

    def feature_map(self, x: Tensor) -> Tensor:
        return self.conv5(super().feature_map(x))

    def project(self, features: Tensor) -> Tensor:
        return self.fc1(features)


class CSN(StagedNetwork):
    """Interaction-reduced CSN from (B, 3, T, H, W) to logits (B, num_classes): its 3×3×3 convolutions are depthwise.

    Those of mmaction2 are a `ResNet3D` with `videoctx.layers.DepthwiseConv3d`.

    Args:
        num_classes: K.
        depth: number of layers.
        width: channels of conv1.
        context: makes a context block for a number of channels. YAML chooses it by `class_path`.
        context_at: indices, from 0, of the blocks of each stage that get one.
        context_position: `after_add`, on the block's output, or `after_1x1`, on the residual branch before the sum.
        dropout: probability, before the classifier.
        activation_checkpointing: stages whose activations are computed again in the backward pass.

    Raises:
        ValueError: A choice, stage or block index is unknown; a number is out of range; or `context` is given without
            `context_at`, or the reverse.

    >>> import torch
    >>> CSN(10, width=8).eval()(torch.zeros(1, 3, 8, 32, 32)).shape
    torch.Size([1, 10])
    """

    def __init__(
        self,
        num_classes: int,
        *,
        depth: Literal[50, 101, 152] = 101,
        width: int = 64,
        context: Callable[[int], nn.Module] | None = None,
        context_at: Mapping[str, Sequence[int]] | None = None,
        context_position: Literal["after_add", "after_1x1"] = "after_add",
        dropout: float = 0.5,
        activation_checkpointing: Sequence[str] = (),
    ) -> None:
        arguments = of_config(locals())
        check_choice("depth", depth, DEPTHS)
        check_least(1, width=width)
        super().__init__()
        self.assemble(
            csn_layers(num_classes, depth=depth, width=width),
            dropout=dropout,
            context=context,
            context_at=context_at,
            context_position=context_position,
            activation_checkpointing=activation_checkpointing,
        )
        self.config = record_config(type(self), arguments)


class R2Plus1D(StagedNetwork):
    """R(2+1)D of bottlenecks from (B, 3, T, H, W) to logits (B, num_classes): 3×3×3 in time, then in space.

    torchvision's R(2+1)D-18 of basic blocks, in space and then in time, is a `ResNet3D`.

    Args:
        num_classes: K.
        depth: number of layers.
        width: channels of conv1.
        context: makes a context block for a number of channels. YAML chooses it by `class_path`.
        context_at: indices, from 0, of the blocks of each stage that get one.
        context_position: `after_add`, on the block's output, or `after_1x1`, on the residual branch before the sum.
        dropout: probability, before the classifier.
        activation_checkpointing: stages whose activations are computed again in the backward pass.

    Raises:
        ValueError: A choice, stage or block index is unknown; a number is out of range; or `context` is given without
            `context_at`, or the reverse.

    >>> import torch
    >>> R2Plus1D(10, width=8).eval()(torch.zeros(1, 3, 4, 32, 32)).shape
    torch.Size([1, 10])
    """

    def __init__(
        self,
        num_classes: int,
        *,
        depth: Literal[50, 101, 152] = 50,
        width: int = 64,
        context: Callable[[int], nn.Module] | None = None,
        context_at: Mapping[str, Sequence[int]] | None = None,
        context_position: Literal["after_add", "after_1x1"] = "after_add",
        dropout: float = 0.5,
        activation_checkpointing: Sequence[str] = (),
    ) -> None:
        arguments = of_config(locals())
        check_choice("depth", depth, DEPTHS)
        check_least(1, width=width)
        super().__init__()
        self.assemble(
            r2plus1d_layers(num_classes, depth=depth, width=width),
            dropout=dropout,
            context=context,
            context_at=context_at,
            context_position=context_position,
            activation_checkpointing=activation_checkpointing,
        )
        self.config = record_config(type(self), arguments)
