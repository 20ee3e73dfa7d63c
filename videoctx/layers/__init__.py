"""Context blocks, 3D convolutions and a neck. They need torch alone.

A context block takes its number of channels as its first argument, and both video (B, C, T, H, W) and images
(B, C, H, W) as input. It returns a tensor of the input's shape. A convolution takes its numbers of input and output
channels, and video.
"""

from videoctx.layers.attention_augmented import AttentionAugmentedConv3d
from videoctx.layers.bilinear_attention import BilinearAttentionalTransform
from videoctx.layers.cbam import CBAM
from videoctx.layers.channel_separated import ChannelSeparatedConv3d, DepthwiseConv3d
from videoctx.layers.compact_non_local import CompactNonLocal
from videoctx.layers.context import ContextBlock
from videoctx.layers.conv2plus1d import Conv2Plus1d
from videoctx.layers.disentangled_non_local import DisentangledNonLocal
from videoctx.layers.double_attention import DoubleAttention
from videoctx.layers.feature_pyramid_transformer import FeaturePyramidTransformer
from videoctx.layers.gala import GALA
from videoctx.layers.gather_excite import GatherExcite
from videoctx.layers.global_context import GlobalContext, SimplifiedNonLocal, SqueezeExcitation
from videoctx.layers.non_local import NonLocal
from videoctx.layers.self_calibrated import SelfCalibratedConv3d
from videoctx.layers.temporal_shift import TemporalShiftConv3d

__all__ = [
    "CBAM",
    "GALA",
    "AttentionAugmentedConv3d",
    "BilinearAttentionalTransform",
    "ChannelSeparatedConv3d",
    "CompactNonLocal",
    "ContextBlock",
    "Conv2Plus1d",
    "DepthwiseConv3d",
    "DisentangledNonLocal",
    "DoubleAttention",
    "FeaturePyramidTransformer",
    "GatherExcite",
    "GlobalContext",
    "NonLocal",
    "SelfCalibratedConv3d",
    "SimplifiedNonLocal",
    "SqueezeExcitation",
    "TemporalShiftConv3d",
]
