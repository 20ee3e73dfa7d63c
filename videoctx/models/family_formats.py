"""Checkpoints of SlowFast, X3D, CSN and R(2+1)D: the names that other projects have for the weights.

| project      | networks                                 | facts read in                                            |
|--------------|------------------------------------------|----------------------------------------------------------|
| PyTorchVideo | SlowFast, X3D, CSN, R(2+1)D              | models/slowfast.py, x3d.py, csn.py, r2plus1d.py          |
| PySlowFast   | SlowFast, with Non-local blocks; X3D     | models/*_helper.py, video_model_builder.py               |
| mmaction2    | SlowFast; X3D                            | backbones/resnet3d_slowfast.py, x3d.py; heads/x3d_head.py |

Differs between the projects, with the same names for the same weights:

- mmaction2's SlowFast has no norm after the convolutions from the fast to the slow pathway, which sees every α-th frame
  from the first on, and its classifier takes the fast pathway's channels first.
- PySlowFast's and mmaction2's X3D have a norm in the shortcut of res2, PyTorchVideo's has none.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from videoctx.models.checkpoint_formats import FAIR_DOT_PRODUCT, FAIR_VIDEO, IMAGENET, OURS, Format, Normalization
from videoctx.models.key_map import STAGES, KeyMap

# Names of a block in PyTorchVideo → those of an `AssembledBlock`.
_PYTORCHVIDEO_BLOCK = {
    "branch2.conv_{n}.{t}": "branch.conv{n}.{t}",
    "branch2.norm_{n}.{t}": "branch.norm{n}.{t}",
    "branch2.norm_b.0.{t}": "branch.norm2.{t}",
    "branch2.norm_b.1.block.0.{t}": "branch.gate.reduce.{t}",
    "branch2.norm_b.1.block.2.{t}": "branch.gate.expand.{t}",
    "branch2.conv_b.conv_t.{t}": "branch.conv2.first.{t}",
    "branch2.conv_b.norm.{t}": "branch.conv2.norm.{t}",
    "branch2.conv_b.conv_xy.{t}": "branch.conv2.second.{t}",
    "branch1_conv.{t}": "shortcut.0.{t}",
    "branch1_norm.{t}": "shortcut.1.{t}",
}
_PYSLOWFAST_BLOCK = {
    "branch2.{n}.{t}": "branch.conv{n}.{t}",
    "branch2.{n}_bn.{t}": "branch.norm{n}.{t}",
    "branch2.se.fc1.{t}": "branch.gate.reduce.{t}",
    "branch2.se.fc2.{t}": "branch.gate.expand.{t}",
    "branch1.{t}": "shortcut.0.{t}",
    "branch1_bn.{t}": "shortcut.1.{t}",
}
_MMACTION2_BLOCK = {
    "conv{n}.conv.{t}": "branch.conv{n}.{t}",
    "conv{n}.bn.{t}": "branch.norm{n}.{t}",
    "downsample.conv.{t}": "shortcut.0.{t}",
    "downsample.bn.{t}": "shortcut.1.{t}",
}
_NON_LOCAL = {  # PySlowFast's
    "conv_{p}.{t}": "after_add.context.{p}.{t}",
    "conv_out.{t}": "after_add.transform.0.{t}",
    "bn.{t}": "after_add.transform.1.{t}",
}
PATHWAYS = ("slow", "fast")


def _inside(theirs: str, ours: str, names: Mapping[str, str]) -> dict[str, str]:
    return {theirs + name: ours + of_ours for name, of_ours in names.items()}


def _pytorchvideo_slowfast() -> dict[str, str]:
    names = {"blocks.6.proj.{t}": "head.{t}"}
    for theirs, ours in (("blocks.0", "stem"), ("blocks.{s}", "{s}")):
        names[f"{theirs}.multipathway_fusion.conv_fast_to_slow.{{t}}"] = f"{ours}.fuse.conv.{{t}}"
        names[f"{theirs}.multipathway_fusion.norm.{{t}}"] = f"{ours}.fuse.norm.{{t}}"
    for number, pathway in enumerate(PATHWAYS):
        stem = {"conv.{t}": "conv.{t}", "norm.{t}": "norm.{t}"}
        names |= _inside(f"blocks.0.multipathway_blocks.{number}.", f"stem.{pathway}.", stem)
        block = f"blocks.{{s}}.multipathway_blocks.{number}.res_blocks.{{b}}."
        names |= _inside(block, f"{{s}}.{pathway}.{{b}}.", _PYTORCHVIDEO_BLOCK)
    return names


def _pyslowfast_slowfast() -> dict[str, str]:
    names = {"head.projection.{t}": "head.{t}"}
    for theirs, ours in (("s1", "stem"), ("s{s}", "{s}")):
        names[f"{theirs}_fuse.conv_f2s.{{t}}"] = f"{ours}.fuse.conv.{{t}}"
        names[f"{theirs}_fuse.bn.{{t}}"] = f"{ours}.fuse.norm.{{t}}"
    for number, pathway in enumerate(PATHWAYS):
        stem = {"conv.{t}": "conv.{t}", "bn.{t}": "norm.{t}"}
        names |= _inside(f"s1.pathway{number}_stem.", f"stem.{pathway}.", stem)
        names |= _inside(f"s{{s}}.pathway{number}_res{{b}}.", f"{{s}}.{pathway}.{{b}}.", _PYSLOWFAST_BLOCK)
        names |= _inside(f"s{{s}}.pathway{number}_nonlocal{{b}}.", f"{{s}}.{pathway}.{{b}}.", _NON_LOCAL)
    return names


def _mmaction2_slowfast() -> dict[str, str]:
    names = {"cls_head.fc_cls.{t}": "head.{t}", "data_preprocessor.{x}": ""}
    for theirs, ours in (("conv1", "stem"), ("layer{s}", "{s}")):
        names[f"backbone.slow_path.{theirs}_lateral.conv.{{t}}"] = f"{ours}.fuse.conv.{{t}}"
        names[f"backbone.slow_path.{theirs}_lateral.bn.{{t}}"] = f"{ours}.fuse.norm.{{t}}"
    for pathway in PATHWAYS:
        stem = {"conv.{t}": "conv.{t}", "bn.{t}": "norm.{t}"}
        names |= _inside(f"backbone.{pathway}_path.conv1.", f"stem.{pathway}.", stem)
        names |= _inside(f"backbone.{pathway}_path.layer{{s}}.{{b}}.", f"{{s}}.{pathway}.{{b}}.", _MMACTION2_BLOCK)
    return names


PYTORCHVIDEO = {
    "blocks.0.conv.{t}": "stem.conv.{t}",
    "blocks.0.conv.conv_t.{t}": "stem.conv.first.{t}",
    "blocks.0.conv.conv_xy.{t}": "stem.conv.second.{t}",
    "blocks.0.norm.{t}": "stem.norm.{t}",
    "blocks.5.pool.pre_conv.{t}": "conv5.conv.{t}",
    "blocks.5.pool.pre_norm.{t}": "conv5.norm.{t}",
    "blocks.5.pool.post_conv.{t}": "fc1.linear.{t}",
    "blocks.5.proj.{t}": "head.{t}",
    **_inside("blocks.{s}.res_blocks.{b}.", "{s}.{b}.", _PYTORCHVIDEO_BLOCK),
}
PYSLOWFAST_X3D = {
    "s1.pathway0_stem.conv_xy.{t}": "stem.conv.first.{t}",
    "s1.pathway0_stem.conv.{t}": "stem.conv.second.{t}",
    "s1.pathway0_stem.bn.{t}": "stem.norm.{t}",
    "head.conv_5.{t}": "conv5.conv.{t}",
    "head.conv_5_bn.{t}": "conv5.norm.{t}",
    "head.lin_5.{t}": "fc1.linear.{t}",
    "head.projection.{t}": "head.{t}",
    **_inside("s{s}.pathway0_res{b}.", "{s}.{b}.", _PYSLOWFAST_BLOCK),
    **_inside("s{s}.pathway0_nonlocal{b}.", "{s}.{b}.", _NON_LOCAL),
}

MMACTION2_X3D = {
    "backbone.conv1_s.conv.{t}": "stem.conv.first.{t}",
    "backbone.conv1_t.conv.{t}": "stem.conv.second.{t}",
    "backbone.conv1_t.bn.{t}": "stem.norm.{t}",
    "backbone.conv5.conv.{t}": "conv5.conv.{t}",
    "backbone.conv5.bn.{t}": "conv5.norm.{t}",
    "backbone.layer{s}.{b}.se_module.fc1.{t}": "{s}.{b}.branch.gate.reduce.{t}",
    "backbone.layer{s}.{b}.se_module.fc2.{t}": "{s}.{b}.branch.gate.expand.{t}",
    "cls_head.fc1.{t}": "fc1.linear.{t}",
    "cls_head.fc2.{t}": "head.{t}",
    "data_preprocessor.{x}": "",
    **_inside("backbone.layer{s}.{b}.", "{s}.{b}.", _MMACTION2_BLOCK),
}

# The names of weights that only networks without a counterpart here have, and what these are.
COUSINS = {
    r"(model\.)?detection_head\..+|roi_head\..+": "a detector of actions in boxes; expected a classifier of clips",
    r"blocks\.\d\.multipathway_blocks\.2\..+": "an audio-visual SlowFast; expected one of images alone",
    r"(cls_positional_encoding|patch_embed|cls_token|pos_embed).*": "a transformer; expected a convolutional network",
    r"head\.lin_5_bn\..+": "an X3D with a BatchNorm before its classifier; expected one without (X3D.BN_LIN5 False)",
}


def cousin(name: str) -> str:
    """Return what network a weight of this name belongs to, if it is one without a counterpart here. Empty: unknown."""
    return next((network for pattern, network in COUSINS.items() if re.fullmatch(pattern, name)), "")


def _fast_channels_last(weights: dict[str, Tensor]) -> None:
    """Bring the columns of mmaction2's classifier from fast, slow to slow, fast."""
    if "head.weight" in weights and "stem.fast.norm.weight" in weights:
        num_fast = 32 * len(weights["stem.fast.norm.weight"])  # 8 → 256
        fast, slow = weights["head.weight"].split([num_fast, weights["head.weight"].shape[1] - num_fast], dim=1)
        weights["head.weight"] = torch.cat([slow, fast], dim=1)


@dataclass(frozen=True, slots=True)
class FamilyFormat(Format):
    """How a project names the weights of a family of networks other than `ResNet3D`.

    `net` and `context` have one entry, with the key `""`.
    """

    family: str = ""  # the class in videoctx.models
    marker: str = ""  # their name of a weight that tells the family
    depthwise: bool = False  # this weight is of a depthwise convolution
    head_pooling: str | None = None  # in the project's own test. None: as its protocol has it
    adapt: Callable[[dict[str, Tensor]], None] | None = None  # changes renamed weights in place

    def may_have(self, theirs: Mapping[str, Tensor]) -> bool:
        """Whether weights by the project's names are of this family, by the weight that tells it."""
        if self.marker not in theirs:
            return False
        return not self.depthwise or (theirs[self.marker].ndim == 5 and theirs[self.marker].shape[1] == 1)


_PTV_BLOCK = "blocks.1.res_blocks.0.branch2"
_OUR_NAMES = {"stem.{x}": "stem.{x}", "{s}.{x}": "{s}.{x}", "head.{t}": "head.{t}"} | {
    f"{part}.{{x}}": f"{part}.{{x}}" for part in ("conv5", "fc1")
}

# X3D before CSN: its convolutions are depthwise as well.
FAMILY_FORMATS: tuple[FamilyFormat, ...] = (
    FamilyFormat(
        "PyTorchVideo",
        KeyMap(_pytorchvideo_slowfast(), stages="1234"),
        FAIR_VIDEO,
        net={},
        protocol="pytorchvideo",
        clip=(32, 2),
        family="SlowFast",
        marker="blocks.0.multipathway_blocks.0.conv.weight",
    ),
    *(
        FamilyFormat(
            "PyTorchVideo",
            KeyMap(PYTORCHVIDEO, stages="1234"),
            FAIR_VIDEO,
            net={},
            protocol="pytorchvideo",
            clip=clip,
            family=family,
            marker=marker,
            depthwise=family == "CSN",
            head_pooling=None if family == "CSN" else "windows_probabilities",  # a softmax before the average
        )
        for family, marker, clip in (
            ("X3D", "blocks.5.pool.pre_conv.weight", (16, 5)),
            ("R2Plus1D", f"{_PTV_BLOCK}.conv_b.conv_t.weight", (16, 4)),
            ("CSN", f"{_PTV_BLOCK}.conv_b.weight", (32, 2)),
        )
    ),
    FamilyFormat(
        "PySlowFast",
        KeyMap(_pyslowfast_slowfast(), stages="2345"),
        FAIR_VIDEO,
        net={},
        protocol="pyslowfast",
        clip=(32, 2),
        context={"": FAIR_DOT_PRODUCT},
        family="SlowFast",
        marker="s1.pathway1_stem.conv.weight",
    ),
    FamilyFormat(
        "PySlowFast",
        KeyMap(PYSLOWFAST_X3D, stages="2345"),
        FAIR_VIDEO,
        net={},
        protocol="pyslowfast",
        clip=(16, 5),
        context={"": FAIR_DOT_PRODUCT},
        family="X3D",
        marker="s1.pathway0_stem.conv_xy.weight",
    ),
    FamilyFormat(
        "mmaction2",
        KeyMap(_mmaction2_slowfast(), stages="1234"),
        IMAGENET,
        net={"": {"slow_frames": "strided"}},
        protocol="mmaction2",
        clip=(32, 2),
        family="SlowFast",
        marker="backbone.slow_path.conv1.conv.weight",
        adapt=_fast_channels_last,
    ),
    FamilyFormat(
        "mmaction2",
        KeyMap(MMACTION2_X3D, stages="1234"),
        Normalization((0.45, 0.45, 0.45), (0.22502, 0.22502, 0.22502)),
        net={},
        protocol="mmaction2",
        clip=(16, 5),
        family="X3D",
        marker="backbone.conv1_s.conv.weight",
    ),
    *(
        FamilyFormat(
            OURS.name,
            KeyMap(_OUR_NAMES, stages=STAGES),
            None,
            net={},
            clip=clip,
            family=family,
            marker=marker,
            depthwise=family == "CSN",
        )
        for family, marker, clip in (
            ("SlowFast", "stem.slow.conv.weight", (32, 2)),
            ("X3D", "fc1.linear.weight", (16, 5)),
            ("R2Plus1D", "res2.0.branch.conv2.first.weight", (16, 4)),
            ("CSN", "res2.0.branch.conv2.weight", (32, 2)),
        )
    ),
)
