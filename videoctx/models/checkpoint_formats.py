"""Checkpoints of other projects: their names for the weights, and the settings that their networks have beside them.

| project            | networks                                  | facts read in                             |
|--------------------|-------------------------------------------|-------------------------------------------|
| PyTorchVideo       | C2D, I3D, Slow                            | models/resnet.py, models/hub/resnet.py    |
| PySlowFast         | C2D, I3D, Slow, with Non-local blocks     | models/*_helper.py, c2_model_loading.py   |
| video-nonlocal-net | C2D, I3D, with Non-local blocks           | lib/models/*.py                           |
| mmaction2          | C2D, I3D, SlowOnly, with Non-local blocks | backbones/resnet3d*.py, mmcv non_local.py |
| GluonCV            | I3D, with Non-local blocks; Slow; frames  | i3d_resnet.py, i3d_slow.py, non_local.py  |
| torchvision        | of images: ResNet, ResNeXt                | models/resnet.py                          |
| torchvision        | R3D, MC3, R(2+1)D                         | models/video/resnet.py                    |

Names and shapes determine the network, except for strides, pooling and the kind of affinity. Those are as in the
project's published configs, or as in the config that PySlowFast and mmaction2 store beside the weights.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from videoctx.models.inflate import TORCHVISION_NAMES
from videoctx.models.key_map import STAGES, KeyMap


class Normalization(NamedTuple):
    """Mean and std of the input, as in (x - mean) / std for x in [0, 1], for red, green and blue."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


IMAGENET = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
FAIR_VIDEO = Normalization((0.45, 0.45, 0.45), (0.225, 0.225, 0.225))
TORCHVISION_VIDEO = Normalization((0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989))

# Strides and pooling over time: arguments of ResNet3D.
HALVED_AFTER_RES2 = {"pool2_t": [2, 2]}
NOT_HALVED = {"pool2_t": [1, 1]}
EIGHTH = {"conv1_stride_t": 2, "pool1_t": [1, 2], "pool2_t": [2, 2]}  # 32 frames to 4
NO_POOLING = {"pool1_t": None, "pool2_t": [1, 1]}
HALVED_BY_STAGES = NO_POOLING | {"stage_stride_t": [1, 2, 2, 2]}

# Non-local blocks: arguments of NonLocal.
FAIR_SOFTMAX = {"affinity": "embedded_gaussian", "softmax_scale": True, "subsample": "input"}
FAIR_DOT_PRODUCT = {"affinity": "dot_product", "subsample": "input"}
NON_LOCAL_ARGUMENTS = frozenset(FAIR_SOFTMAX)


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
    clip: tuple[int, int] = (8, 8)  # clip_len and frame_interval, where nothing tells them
    context: dict[str, dict[str, Any]] = field(default_factory=dict)  # arguments of NonLocal; also by affinity
    differs: dict[str, str] = field(default_factory=dict)  # what no argument can express, or no weight tell
    stored: dict[str, dict[str, Any]] = field(default_factory=dict)  # pattern in the stored config → either
    of_images: bool | None = None  # the convolutions are 2D; None: both occur

    def __str__(self) -> str:
        return self.name


def by_kind(table: Mapping[str, Any], kind: str) -> Any:
    """Return the entry for temporal kernels, or else the one for those that are not named."""
    return table.get(kind, table.get(""))


# Names ------------------------------------------------------------------------------------------------------------

PYTORCHVIDEO = {
    "blocks.0.conv.{t}": "stem.conv.{t}",
    "blocks.0.norm.{t}": "stem.norm.{t}",
    "blocks.{s}.res_blocks.{b}.branch2.conv_{n}.{t}": "{s}.{b}.conv{n}.{t}",
    "blocks.{s}.res_blocks.{b}.branch2.norm_{n}.{t}": "{s}.{b}.norm{n}.{t}",
    "blocks.{s}.res_blocks.{b}.branch1_conv.{t}": "{s}.{b}.shortcut.0.{t}",
    "blocks.{s}.res_blocks.{b}.branch1_norm.{t}": "{s}.{b}.shortcut.1.{t}",
}
PYSLOWFAST = {
    "s1.pathway0_stem.conv.{t}": "stem.conv.{t}",
    "s1.pathway0_stem.bn.{t}": "stem.norm.{t}",
    "s{s}.pathway0_res{b}.branch2.{n}.{t}": "{s}.{b}.conv{n}.{t}",
    "s{s}.pathway0_res{b}.branch2.{n}_bn.{t}": "{s}.{b}.norm{n}.{t}",
    "s{s}.pathway0_res{b}.branch1.{t}": "{s}.{b}.shortcut.0.{t}",
    "s{s}.pathway0_res{b}.branch1_bn.{t}": "{s}.{b}.shortcut.1.{t}",
    "s{s}.pathway0_nonlocal{b}.conv_{p}.{t}": "{s}.{b}.after_add.context.{p}.{t}",
    "s{s}.pathway0_nonlocal{b}.conv_out.{t}": "{s}.{b}.after_add.transform.0.{t}",
    "s{s}.pathway0_nonlocal{b}.bn.{t}": "{s}.{b}.after_add.transform.1.{t}",
    "head.projection.{t}": "head.{t}",
}
CAFFE2 = {
    "conv1_{t}": "stem.conv.{t}",
    "res_conv1_bn_{t}": "stem.norm.{t}",
    "res{s}_{b}_branch2{n}_{t}": "{s}.{b}.conv{n}.{t}",
    "res{s}_{b}_branch2{n}_bn_{t}": "{s}.{b}.norm{n}.{t}",
    "res{s}_{b}_branch1_{t}": "{s}.{b}.shortcut.0.{t}",
    "res{s}_{b}_branch1_bn_{t}": "{s}.{b}.shortcut.1.{t}",
    "nonlocal_conv{s}_{b}_{p}_{t}": "{s}.{b}.after_add.context.{p}.{t}",
    "nonlocal_conv{s}_{b}_out_{t}": "{s}.{b}.after_add.transform.0.{t}",
    "nonlocal_conv{s}_{b}_bn_{t}": "{s}.{b}.after_add.transform.1.{t}",
    "pred_{t}": "head.{t}",
    "{x}_momentum": "",
    "lr": "",
    "model_iter": "",
}
MMACTION2 = {
    "backbone.conv1.conv.{t}": "stem.conv.{t}",
    "backbone.conv1.bn.{t}": "stem.norm.{t}",
    "backbone.layer{s}.{b}.conv{n}.conv.{t}": "{s}.{b}.conv{n}.{t}",
    "backbone.layer{s}.{b}.conv{n}.bn.{t}": "{s}.{b}.norm{n}.{t}",
    "backbone.layer{s}.{b}.downsample.conv.{t}": "{s}.{b}.shortcut.0.{t}",
    "backbone.layer{s}.{b}.downsample.bn.{t}": "{s}.{b}.shortcut.1.{t}",
    "backbone.layer{s}.{b}.non_local_block.theta.conv.{t}": "{s}.{b}.after_add.context.theta.{t}",
    "backbone.layer{s}.{b}.non_local_block.concat_project.conv.{t}": "{s}.{b}.after_add.context.affinity.pair.{t}",
    "backbone.layer{s}.{b}.non_local_block.conv_out.conv.{t}": "{s}.{b}.after_add.transform.0.{t}",
    "backbone.layer{s}.{b}.non_local_block.conv_out.bn.{t}": "{s}.{b}.after_add.transform.1.{t}",
    "cls_head.fc_cls.{t}": "head.{t}",
    "data_preprocessor.{x}": "",
}
MMACTION2_PHI_G = "backbone.layer{s}.{b}.non_local_block.{p}.conv.{t}"
MMACTION2_POOLED_PHI_G = "backbone.layer{s}.{b}.non_local_block.{p}.0.conv.{t}"  # 1 is the pooling
GLUONCV_I3D = {
    "first_stage.0.{t}": "stem.conv.{t}",
    "first_stage.1.{t}": "stem.norm.{t}",
    "res_layers.{s}.{b}.conv{n}.{t}": "{s}.{b}.conv{n}.{t}",
    "res_layers.{s}.{b}.bn{n}.{t}": "{s}.{b}.norm{n}.{t}",
    "res_layers.{s}.{b}.downsample.0.{t}": "{s}.{b}.shortcut.0.{t}",
    "res_layers.{s}.{b}.downsample.1.{t}": "{s}.{b}.shortcut.1.{t}",
    "res_layers.{s}.{b}.nonlocal_block.{p}.{t}": "{s}.{b}.after_add.context.{p}.{t}",
    "res_layers.{s}.{b}.nonlocal_block.W.{t}": "{s}.{b}.after_add.transform.0.{t}",
    "res_layers.{s}.{b}.nonlocal_block.bn.{t}": "{s}.{b}.after_add.transform.1.{t}",
    "res_layers.{s}.{b}.nonlocal_block.W_bn.{x}": "",  # W and bn by a second name
    "fc.{t}": "head.{t}",
    "head.1.{t}": "",  # fc by a second name
}
TORCHVISION_VIDEO_NAMES = {
    "stem.0.{t}": "stem.conv.{t}",
    "stem.1.{t}": "stem.norm.{t}",
    "layer{s}.{b}.conv{n}.0.{t}": "{s}.{b}.conv{n}.{t}",
    "layer{s}.{b}.conv{n}.1.{t}": "{s}.{b}.norm{n}.{t}",
    "layer{s}.{b}.downsample.0.{t}": "{s}.{b}.shortcut.0.{t}",
    "layer{s}.{b}.downsample.1.{t}": "{s}.{b}.shortcut.1.{t}",
    "fc.{t}": "head.{t}",
}
TORCHVISION_R2PLUS1D = {
    "stem.0.{t}": "stem.conv.spatial.{t}",
    "stem.1.{t}": "stem.conv.norm.{t}",
    "stem.3.{t}": "stem.conv.temporal.{t}",
    "stem.4.{t}": "stem.norm.{t}",
    "layer{s}.{b}.conv{n}.0.0.{t}": "{s}.{b}.conv{n}.spatial.{t}",
    "layer{s}.{b}.conv{n}.0.1.{t}": "{s}.{b}.conv{n}.norm.{t}",
    "layer{s}.{b}.conv{n}.0.3.{t}": "{s}.{b}.conv{n}.temporal.{t}",
    "layer{s}.{b}.conv{n}.1.{t}": "{s}.{b}.norm{n}.{t}",
    "layer{s}.{b}.downsample.0.{t}": "{s}.{b}.shortcut.0.{t}",
    "layer{s}.{b}.downsample.1.{t}": "{s}.{b}.shortcut.1.{t}",
    "fc.{t}": "head.{t}",
}
VIDEOCTX = {"stem.{x}": "stem.{x}", "{s}.{b}.{x}": "{s}.{b}.{x}", "head.{t}": "head.{t}"}


# Formats ----------------------------------------------------------------------------------------------------------


def _pytorchvideo(stages: str, head: int, net: dict[str, Any]) -> Format:
    names = PYTORCHVIDEO | {f"blocks.{head}.proj.{{t}}": "head.{t}"}
    return Format("PyTorchVideo", KeyMap(names, stages=stages), FAIR_VIDEO, net={"": net}, protocol="pytorchvideo")


def _mmaction2(phi_g: str, subsample: str) -> Format:
    softmax = {"affinity": "embedded_gaussian", "subsample": subsample}
    return Format(
        "mmaction2",
        KeyMap(MMACTION2 | {phi_g: "{s}.{b}.after_add.context.{p}.{t}"}, stages="1234"),
        IMAGENET,
        net={"c2d": HALVED_AFTER_RES2, "i3d": EIGHTH, "i3d333": EIGHTH, "slow": NOT_HALVED},
        protocol="mmaction2",
        context={
            "": softmax | {"softmax_scale": False},
            "slow": softmax | {"softmax_scale": True},
            "gaussian": {"softmax_scale": False},
        },
        differs={"c2d": "mmaction2's C2D does not pad pool1; its Recognizer2D, without pooling over time, does"},
        stored={
            r"type='Recognizer2D'|with_pool2=False": NOT_HALVED,
            r"conv1_stride_t=1\b": {"conv1_stride_t": 1},
            r"conv1_stride_t=2\b": {"conv1_stride_t": 2},
            r"pool1_stride_t=1\b": {"pool1_t": [1, 1]},
            r"pool1_stride_t=2\b": {"pool1_t": [1, 2]},
            r"style='caffe'": {"stride_at": "1x1"},
            r"mode='embedded_gaussian'": {"affinity": "embedded_gaussian"},
            r"mode='dot_product'": {"affinity": "dot_product"},
            r"use_scale=True": {"softmax_scale": True},
            r"use_scale=False": {"softmax_scale": False},
        },
    )


IMAGES = Format(
    "torchvision, for images",
    TORCHVISION_NAMES,
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
    "video-nonlocal-net does not pad pool1, and its 32-frame networks want conv1_stride_t 2 and pool1_t [2, 2]"
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
    ),
    _mmaction2(MMACTION2_POOLED_PHI_G, "keys"),
    _mmaction2(MMACTION2_PHI_G, "none"),
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
        KeyMap(TORCHVISION_R2PLUS1D, stages="1234"),
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
    OURS,
)
