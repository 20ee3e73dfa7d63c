"""Checkpoints of other projects: their names for the weights, and the settings that their networks have beside them.

| project            | networks                                  | facts read in                             |
|--------------------|-------------------------------------------|-------------------------------------------|
| PyTorchVideo       | C2D, I3D, Slow                            | models/resnet.py, models/hub/resnet.py    |
| PySlowFast         | C2D, I3D, Slow, with Non-local blocks     | models/*_helper.py, c2_model_loading.py   |
| video-nonlocal-net | C2D, I3D, with Non-local blocks           | lib/models/*.py                           |
| mmaction2          | C2D, I3D, SlowOnly, with Non-local blocks | backbones/resnet3d*.py, mmcv non_local.py |
| mmaction2          | TSM, with Non-local blocks                | backbones/resnet_tsm.py                   |
| TSM                | TSN, TSM, with Non-local blocks           | ops/temporal_shift.py, ops/non_local.py   |
| mmaction2          | ir-CSN, ip-CSN, R(2+1)D-34                | resnet3d_csn.py, conv2plus1d.py           |
| 3D-ResNets         | R3D-18 to -200 with a conv1 of 7×7×7      | models/resnet.py                          |
| GluonCV            | I3D, with Non-local blocks; Slow; frames  | i3d_resnet.py, i3d_slow.py, non_local.py  |
| torchvision        | of images: ResNet, ResNeXt                | models/resnet.py                          |
| timm, SCNet        | of images: with SE, SC, Res2Net blocks    | models/resnet.py; scnet.py                |
| torchvision        | R3D, MC3, R(2+1)D                         | models/video/resnet.py                    |

Names and shapes determine the network, except for strides, pooling and the kind of affinity. Those are as in the
project's published configs, or as in the config that PySlowFast and mmaction2 store beside the weights.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from videoctx.models.checkpoint_names import (
    CAFFE2,
    GLUONCV_I3D,
    IMAGES_WITH_BLOCKS,
    MMACTION2,
    MMACTION2_IP_CSN,
    MMACTION2_IR_CSN,
    MMACTION2_PHI_G,
    MMACTION2_POOLED_PHI_G,
    MMACTION2_R2PLUS1D,
    MMACTION2_TSM,
    PYSLOWFAST,
    PYTORCHVIDEO,
    TORCHVISION_R2PLUS1D,
    TORCHVISION_VIDEO_NAMES,
    TSM,
    TSN,
    VIDEOCTX,
)
from videoctx.models.inflate import TORCHVISION_NAMES
from videoctx.models.key_map import STAGES, KeyMap


class Normalization(NamedTuple):
    """Mean and std of the input, as in (x - mean) / std for x in [0, 1], for red, green and blue."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


IMAGENET = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
FAIR_VIDEO = Normalization((0.45, 0.45, 0.45), (0.225, 0.225, 0.225))
KINETICS = Normalization((0.4345, 0.4051, 0.3775), (0.2768, 0.2713, 0.2737))  # of 3D-ResNets
TORCHVISION_VIDEO = Normalization((0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989))

# Strides and pooling over time: arguments of ResNet3D.
HALVED_AFTER_RES2 = {"pool2_t": [2, 2]}
NOT_HALVED = {"pool2_t": [1, 1]}
EIGHTH = {"conv1_stride_t": 2, "pool1_t": [1, 2], "pool2_t": [2, 2]}  # 32 frames to 4
NO_POOLING = {"pool1_t": None, "pool2_t": [1, 1]}
HALVED_BY_STAGES = NO_POOLING | {"stage_stride_t": [1, 2, 2, 2]}

R3D7 = HALVED_BY_STAGES | {"pool1_t": [3, 2]}
CSN = HALVED_BY_STAGES | {"pool1_t": [1, 1], "norm_eps": 1e-3}
UNPADDED = {"pool1_padded": False}

# Temporal shift: arguments of ResNet3D. From 23 blocks in res4 on, every other block has one.
SHIFTED = {"first_conv": {"class_path": "videoctx.layers.TemporalShiftConv3d"}}
SHIFTED_AT_DEPTH = {depth: {"first_conv_every": 2} for depth in (101, 152)}

# Non-local blocks: arguments of NonLocal.
FAIR_SOFTMAX = {"affinity": "embedded_gaussian", "softmax_scale": True, "subsample": "input"}
FAIR_DOT_PRODUCT = {"affinity": "dot_product", "subsample": "input"}
NON_LOCAL_ARGUMENTS = frozenset(FAIR_SOFTMAX)
USUAL_CLIP = (8, 8)  # clip_len and frame_interval of most projects, which have others as well


@dataclass(frozen=True, slots=True)
class Format:
    """How a project names its weights, and the settings of its networks that the weights do not tell.

    The keys of `net`, `context` and `differs` are temporal kernels, with `""` for those that are not named. Kernels
    without an entry in `net` do not occur in the project.
    """

    name: str
    names: KeyMap
    input: Normalization | None  # None: not known
    net: dict[str, dict[str, Any]]  # arguments of ResNet3D
    protocol: str = "videoctx"  # the project's own test, or the closest one
    clip: tuple[int, int] = USUAL_CLIP  # clip_len and frame_interval, where nothing tells them
    sampling: str = "dense"  # what a clip is, where nothing tells it
    context: dict[str, dict[str, Any]] = field(default_factory=dict)  # arguments of NonLocal; also by affinity
    differs: dict[str, str] = field(default_factory=dict)  # what no argument can express, or no weight tell
    stored: dict[str, dict[str, Any]] = field(default_factory=dict)  # pattern in the stored config → either
    of_images: bool | None = None  # the convolutions are 2D; None: both occur
    at_depth: dict[int, dict[str, Any]] = field(default_factory=dict)  # arguments of ResNet3D at some depths
    named: dict[str, dict[str, Any]] = field(
        default_factory=dict
    )  # pattern in the file's name → either, as in `stored`
    named_input: dict[str, Normalization] = field(default_factory=dict)  # pattern in the file's name → the input

    @property
    def project(self) -> str:
        """The name up to a comma."""
        return self.name.partition(",")[0]

    def __str__(self) -> str:
        return self.name


def by_kind(table: Mapping[str, Any], kind: str) -> Any:
    """Return the entry for temporal kernels, or else the one for those that are not named."""
    return table.get(kind, table.get(""))


TORCHVISION_R2PLUS1D_NAMES = KeyMap(TORCHVISION_R2PLUS1D, stages="1234")

# Formats ----------------------------------------------------------------------------------------------------------


def _pytorchvideo(stages: str, head: int, net: dict[str, Any]) -> Format:
    names = PYTORCHVIDEO | {f"blocks.{head}.proj.{{t}}": "head.{t}"}
    return Format("PyTorchVideo", KeyMap(names, stages=stages), FAIR_VIDEO, net={"": net}, protocol="pytorchvideo")


MMACTION2_STORED: dict[str, dict[str, Any]] = {
    r"type='Recognizer2D'": NOT_HALVED | {"pool1_padded": True},
    r"with_pool2=False": NOT_HALVED,
    r"conv1_stride_t=1\b": {"conv1_stride_t": 1},
    r"conv1_stride_t=2\b": {"conv1_stride_t": 2},
    r"pool1_stride_t=1\b": {"pool1_t": [1, 1]},
    r"pool1_stride_t=2\b": {"pool1_t": [1, 2]},
    r"style='caffe'": {"stride_at": "1x1"},
    r"mode='embedded_gaussian'": {"affinity": "embedded_gaussian"},
    r"mode='dot_product'": {"affinity": "dot_product"},
    r"use_scale=True": {"softmax_scale": True},
    r"use_scale=False": {"softmax_scale": False},
}


# `i3d_nl_dot_product_r50`, `tsm_imagenet-pretrained-r50-nl-dot-product`; the other affinities show in the weights.
MMACTION2_NAMED: dict[str, dict[str, Any]] = {r"nl[-_]dot[-_]product": {"affinity": "dot_product"}}
OF_FRAMES = NOT_HALVED | {"pool1_padded": True}  # mmaction2's 2D networks, which are not its C2D


def _mmaction2(phi_g: str, subsample: str) -> Format:
    softmax = {"affinity": "embedded_gaussian", "subsample": subsample}
    return Format(
        "mmaction2",
        KeyMap(MMACTION2 | {phi_g: "{s}.{b}.after_add.context.{p}.{t}"}, stages="1234"),
        IMAGENET,
        net={
            "c2d": HALVED_AFTER_RES2 | UNPADDED,
            "i3d": EIGHTH,
            "i3d333": EIGHTH,
            "i3d_heavy": HALVED_AFTER_RES2,
            "slow": NOT_HALVED,
        },
        protocol="mmaction2",
        context={
            "": softmax | {"softmax_scale": False},
            "slow": softmax | {"softmax_scale": True},
            "gaussian": {"softmax_scale": False},
        },
        differs={"c2d": "those of mmaction2's Recognizer2D want pool1_padded true and pool2_t [1, 1]"},
        stored=MMACTION2_STORED,
        named=MMACTION2_NAMED | {r"(?<![a-z])tsn(?![a-z])|nopool": OF_FRAMES},
    )


def _mmaction2_tsm(phi_g: str, subsample: str) -> Format:
    softmax = {"affinity": "embedded_gaussian", "subsample": subsample, "softmax_scale": False}
    return Format(
        "mmaction2, TSM",
        KeyMap(MMACTION2_TSM | {phi_g: "{s}.{b}.after_add.context.{p}.{t}"}, stages="1234"),
        IMAGENET,
        net={"c2d": NOT_HALVED | SHIFTED},
        protocol="mmaction2",
        sampling="segments",
        context={"": softmax, "gaussian": {"softmax_scale": False}},
        stored=MMACTION2_STORED,
        named=MMACTION2_NAMED,
        at_depth=SHIFTED_AT_DEPTH,
    )


CSN_INPUT = (
    "mmaction2's CSN that was not trained from IG-65M has another input: mean [0.43216, 0.394666, 0.37645], std"
    " [0.22803, 0.22145, 0.216989]"
)
CSN_NAMED_INPUT = {r"ig65m": IMAGENET, r"sports1m|csn_r\d+_": TORCHVISION_VIDEO}


def _mmaction2_csn(names: dict[str, str], conv: str) -> Format:
    return Format(
        "mmaction2, CSN",
        KeyMap(names, stages="1234"),
        IMAGENET,
        net={"r3d": CSN | {"conv": {"class_path": f"videoctx.layers.{conv}"}}},
        protocol="mmaction2",
        clip=(32, 2),
        differs={"": CSN_INPUT},
        named_input=CSN_NAMED_INPUT,
    )


IMAGES = Format(
    "torchvision, for images",
    KeyMap(IMAGES_WITH_BLOCKS, stages="1234"),
    IMAGENET,
    net={"c2d": HALVED_AFTER_RES2},
    differs={
        "": "the stride of a stage is in its 3×3 convolution in torchvision's networks; others want stride_at 1x1"
    },
    of_images=True,
)
# Its networks of single frames have torchvision's names. Their logits are those of the mean feature over the frames.
FRAMES = Format(
    "GluonCV, of frames",
    TORCHVISION_NAMES,
    IMAGENET,
    net={"c2d": NOT_HALVED},
    protocol="mmaction2",
    clip=(7, 8),
    differs={"": "the network looks at single frames, as resnet50_v1b_kinetics400 does, and its logits are averaged"},
    of_images=True,
)
VIDEO_CLASSES = (400, 600, 700)  # of Kinetics: weights with a classifier for as many are no longer those of images
NON_LOCAL_NET = (
    "video-nonlocal-net wants pool1_padded false, and conv1_stride_t 2 and pool1_t [1, 2] for 32 frames; its networks"
    " are recognized by the names of its files, such as i3d_baseline_32x2_IN_pretrain_400k.pkl"
)
OURS = Format("videoctx", KeyMap(VIDEOCTX, stages=STAGES), None, net={"": {}})

FORMATS = (
    # The pooling after res2, where there is one, has a number among the blocks.
    _pytorchvideo("1345", 6, HALVED_AFTER_RES2),
    _pytorchvideo("1234", 5, NOT_HALVED),
    Format(
        "PySlowFast",
        KeyMap(PYSLOWFAST, stages="2345"),
        FAIR_VIDEO,
        net={"": HALVED_AFTER_RES2, "slow": NOT_HALVED},
        protocol="pyslowfast",
        context={"": FAIR_SOFTMAX, "slow": FAIR_DOT_PRODUCT},
        stored={
            r"ARCH: (2d|\w+_nopool|slow_\w+)\b": NOT_HALVED,
            r"STRIDE_1X1: [Tt]rue": {"stride_at": "1x1"},
            r"INSTANTIATION: softmax": {"affinity": "embedded_gaussian"},
            r"INSTANTIATION: dot_product": {"affinity": "dot_product"},
        },
    ),
    Format(
        "Caffe2, of PySlowFast or video-nonlocal-net",
        KeyMap(CAFFE2, stages="2345"),
        FAIR_VIDEO,
        net={"": HALVED_AFTER_RES2, "slow": NOT_HALVED},
        protocol="pyslowfast",
        context={"": FAIR_SOFTMAX, "slow": FAIR_DOT_PRODUCT},
        differs={
            "c2d": f"C2D_NOPOOL_8x8_R50.pkl wants pool2_t [1, 1]; {NON_LOCAL_NET}",
            "i3d": NON_LOCAL_NET,
        },
        named={
            r"_pretrain_\d+k": UNPADDED,
            r"_(32|128)x\d+_\w+_pretrain_\d+k": {"conv1_stride_t": 2, "pool1_t": [1, 2]},
            r"NOPOOL": NOT_HALVED,
        },
    ),
    _mmaction2(MMACTION2_POOLED_PHI_G, "keys"),
    _mmaction2(MMACTION2_PHI_G, "none"),
    _mmaction2_tsm(MMACTION2_POOLED_PHI_G, "keys"),
    _mmaction2_tsm(MMACTION2_PHI_G, "none"),
    _mmaction2_csn(MMACTION2_IR_CSN, "DepthwiseConv3d"),
    _mmaction2_csn(MMACTION2_IP_CSN, "ChannelSeparatedConv3d"),
    Format(
        "mmaction2, R(2+1)D",
        KeyMap(MMACTION2_R2PLUS1D, stages="1234"),
        IMAGENET,
        net={
            "r3d": CSN
            | {
                "stem_conv": {"class_path": "videoctx.layers.Conv2Plus1d"},
                "block": {"class_path": "videoctx.models.r2plus1d.FactorizedBlock2Plus1d"},
            }
        },
        protocol="mmaction2",
    ),
    Format(
        "TSM, without a shift",
        KeyMap(TSN, stages="1234"),
        IMAGENET,
        net={"c2d": NOT_HALVED},
        protocol="tsm",
        sampling="segments",
    ),
    Format(
        "TSM",
        KeyMap(TSM, stages="1234"),
        IMAGENET,
        net={"c2d": NOT_HALVED | SHIFTED},
        protocol="tsm",
        sampling="segments",
        context={"": {"affinity": "embedded_gaussian", "subsample": "keys", "softmax_scale": False}},
        at_depth=SHIFTED_AT_DEPTH,
    ),
    Format(
        "GluonCV, I3D",
        KeyMap(GLUONCV_I3D, stages="0123"),
        IMAGENET,
        net={"": EIGHTH},
        protocol="mmaction2",
        context={"": FAIR_SOFTMAX | {"subsample": "none"}},
    ),
    Format(
        "GluonCV, Slow", TORCHVISION_NAMES, IMAGENET, net={"slow": NOT_HALVED}, protocol="mmaction2", of_images=False
    ),
    Format(
        "3D-ResNets",
        TORCHVISION_NAMES,
        KINETICS,
        net={"r3d7": R3D7},
        protocol="torchvision",
        clip=(16, 1),
        differs={"": "3D-ResNets tests with a short side of 112 and all clips of a video, one after the other"},
        of_images=False,
    ),
    IMAGES,
    Format(
        "torchvision, for video",
        KeyMap(TORCHVISION_VIDEO_NAMES, stages="1234"),
        TORCHVISION_VIDEO,
        net={"r3d": HALVED_BY_STAGES, "mc3": NO_POOLING},
        protocol="torchvision",
        clip=(16, 2),
    ),
    Format(
        "torchvision, R(2+1)D",
        TORCHVISION_R2PLUS1D_NAMES,
        TORCHVISION_VIDEO,
        net={
            "r3d": HALVED_BY_STAGES
            | {
                "stem_conv": {
                    "class_path": "videoctx.layers.Conv2Plus1d",
                    "init_args": {"mid_channels": 45},
                },
                "block": {"class_path": "videoctx.models.r2plus1d.BasicBlock2Plus1d"},
            }
        },
        protocol="torchvision",
        clip=(16, 2),
    ),
    Format(
        "IG-65M",
        TORCHVISION_R2PLUS1D_NAMES,
        TORCHVISION_VIDEO,
        net={
            "r3d": HALVED_BY_STAGES
            | {
                "norm_eps": 1e-3,
                "stem_conv": {
                    "class_path": "videoctx.layers.Conv2Plus1d",
                    "init_args": {"mid_channels": 45, "norm_eps": 1e-3},
                },
                "block": {
                    "class_path": "videoctx.models.r2plus1d.OwnWidthsBlock2Plus1d",
                    "init_args": {"norm_eps": 1e-3},
                },
            }
        },
        protocol="torchvision",
        clip=(8, 1),
        differs={"": "published for clips of 8 and of 32 frames, as the file is named: --clip_len 32 sets the latter"},
    ),
    OURS,
)
