"""Context blocks and convolutions. Every block takes its number of channels first, and images as well as video."""

from videoctx.layers.context import ContextBlock
from videoctx.layers.global_context import GlobalContext, SimplifiedNonLocal, SqueezeExcitation
from videoctx.layers.non_local import NonLocal
from videoctx.layers.self_calibrated import SelfCalibratedConv3d

__all__ = ["ContextBlock", "GlobalContext", "NonLocal", "SimplifiedNonLocal", "SqueezeExcitation"]
