"""The contract of a neck: a module between the stages of a network and its classifier."""

from torch import nn


class Neck(nn.Module):
    """From maps of stages, lowest first, to one map (B, out_channels, *) of the size of the last.

    Its first argument is the list of the maps' numbers of channels.

    Attributes:
        out_channels: of the map that it returns.
    """

    out_channels: int
