"""Depths of ResNets, and the temporal kernel sizes of the published networks for video.

He, Zhang, Ren, Sun: "Deep Residual Learning" (CVPR 2016, arXiv 1512.03385): blocks per stage.
Wang et al.: "Non-local Neural Networks" (CVPR 2018, arXiv 1711.07971): C2D, I3D 3×1×1 and 3×3×3, table 1, section 4.
mmaction2's I3D "heavy": I3D 3×1×1 with every first 1×1 inflated.
Feichtenhofer et al.: "SlowFast Networks" (ICCV 2019, arXiv 1812.03982): Slow-only, table 1.
Tran et al.: "A Closer Look at Spatiotemporal Convolutions" (CVPR 2018, arXiv 1711.11248): R3D, MC3.
Hara, Kataoka, Satoh: "Can Spatiotemporal 3D CNNs Retrace the History of 2D CNNs and ImageNet?" (CVPR 2018, arXiv
1711.09577), table 1: ResNet-200, and a conv1 of 7×7×7.
"""

from typing import Literal, NamedTuple

Depth = Literal[18, 34, 50, 101, 152, 200]
TemporalKernels = Literal["c2d", "i3d", "i3d333", "i3d_heavy", "slow", "r3d", "r3d7", "mc3"]

STAGES = ("res2", "res3", "res4", "res5")
BLOCKS_PER_STAGE: dict[int, tuple[int, int, int, int]] = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    200: (3, 24, 36, 3),
}


class TemporalTable(NamedTuple):
    """The temporal kernel sizes of a network."""

    stem: int  # temporal kernel size of conv1
    blocks: dict[str, tuple[int, ...]]  # temporal kernel size of each block of a stage, repeated along it
    inflate_3x3: bool  # the 3×3 convolutions have the temporal kernel, not the first 1×1


TEMPORAL_TABLES: dict[str, TemporalTable] = {
    "c2d": TemporalTable(1, {"res2": (1,), "res3": (1,), "res4": (1,), "res5": (1,)}, False),
    "i3d": TemporalTable(5, {"res2": (3,), "res3": (3, 1), "res4": (3, 1), "res5": (1, 3)}, False),
    "i3d333": TemporalTable(5, {"res2": (3,), "res3": (3, 1), "res4": (3, 1), "res5": (1, 3)}, True),
    "i3d_heavy": TemporalTable(5, {"res2": (3,), "res3": (3,), "res4": (3,), "res5": (3,)}, False),
    "slow": TemporalTable(1, {"res2": (1,), "res3": (1,), "res4": (3,), "res5": (3,)}, False),
    "r3d": TemporalTable(3, {"res2": (3,), "res3": (3,), "res4": (3,), "res5": (3,)}, True),
    "r3d7": TemporalTable(7, {"res2": (3,), "res3": (3,), "res4": (3,), "res5": (3,)}, True),
    "mc3": TemporalTable(3, {"res2": (3,), "res3": (1,), "res4": (1,), "res5": (1,)}, True),
}
