"""The configs that PySlowFast and mmaction2 store beside weights of SlowFast and X3D.

Every key of a network is read or refused, by tables as in `stored_config`.
"""

from collections.abc import Callable, Mapping
from typing import Any

from videoctx.models.stored_config import (
    COMPLETE,
    MMACTION2,
    NORMS,
    PYSLOWFAST,
    READ,
    UNUSED,
    WEIGHTS,
    Entry,
    check_values,
    mmaction2_backbone,
    non_local_value,
    pyslowfast_values,
    refusal,
)

PYSLOWFAST_SLOWFAST: dict[str, Entry] = PYSLOWFAST | {
    "MODEL.ARCH": ("slowfast",),
    "MODEL.MODEL_NAME": ("SlowFast", "PTVSlowFast"),
    "RESNET.STRIDE_1X1": (False,),
    "RESNET.NUM_GROUPS": (1,),
    "RESNET.SPATIAL_STRIDES": ([[1, 1], [2, 2], [2, 2], [2, 2]], [[1], [2], [2], [2]]),
    "RESNET.SPATIAL_DILATIONS": ([[1, 1], [1, 1], [1, 1], [1, 1]], [[1], [1], [1], [1]]),
    "SLOWFAST.ALPHA": READ,
    "SLOWFAST.BETA_INV": WEIGHTS,
    "SLOWFAST.FUSION_CONV_CHANNEL_RATIO": (2,),
    "SLOWFAST.FUSION_KERNEL_SZ": WEIGHTS,
}
PYSLOWFAST_X3D: dict[str, Entry] = PYSLOWFAST | {
    "MODEL.ARCH": ("x3d",),
    "MODEL.MODEL_NAME": ("X3D", "PTVX3D"),
    "RESNET.TRANS_FUNC": ("x3d_transform",),
    "RESNET.STRIDE_1X1": (False,),
    "RESNET.SPATIAL_STRIDES": UNUSED,
    "X3D.WIDTH_FACTOR": WEIGHTS,
    "X3D.DEPTH_FACTOR": WEIGHTS,
    "X3D.BOTTLENECK_FACTOR": (2.25,),
    "X3D.DIM_C5": (2048,),
    "X3D.DIM_C1": (12,),
    "X3D.SCALE_RES2": (False,),
    "X3D.BN_LIN5": (False,),
    "X3D.CHANNELWISE_3x3x3": (True,),
}
MMACTION2_SLOWFAST: dict[str, Entry] = {
    "type": ("ResNet3dSlowFast",),
    "pretrained": UNUSED,
    "init_cfg": UNUSED,
    "resample_rate": READ,
    "speed_ratio": READ,
    "channel_ratio": WEIGHTS,
    "slow_pathway": READ,
    "fast_pathway": READ,
}
MMACTION2_PATHWAY: dict[str, Entry] = MMACTION2 | {
    "type": ("resnet3d",),
    "lateral": READ,
    "lateral_inv": (False,),
    "lateral_norm": WEIGHTS,
    "lateral_infl": (2,),
    "lateral_activate": ([1, 1, 1, 1],),
    "fusion_kernel": WEIGHTS,
    "channel_ratio": WEIGHTS,
    "speed_ratio": READ,
    "conv1_stride_t": (1,),
    "pool1_stride_t": (1,),
    "style": ("pytorch",),
    "temporal_strides": ([1, 1, 1, 1],),
    "with_pool2": UNUSED,  # SlowFast's own forward pass does not pool there
}
MMACTION2_X3D: dict[str, Entry] = {
    "type": ("X3D",),
    "gamma_w": WEIGHTS,
    "gamma_b": (2.25,),
    "gamma_d": WEIGHTS,
    "pretrained": UNUSED,
    "init_cfg": UNUSED,
    "in_channels": WEIGHTS,
    "num_stages": (4,),
    "spatial_strides": ([2, 2, 2, 2],),
    "frozen_stages": UNUSED,
    "se_style": WEIGHTS,
    "se_ratio": WEIGHTS,
    "use_swish": (True,),
    "conv_cfg": ({"type": "Conv3d"},),
    "norm_cfg": NORMS,
    "act_cfg": ({"type": "ReLU"},),
    **dict.fromkeys(("norm_eval", "with_cp", "zero_init_residual"), UNUSED),
}
FAIR_SECTIONS = (*COMPLETE, "SLOWFAST", "X3D")


def stored_family_arguments(family: str, project: str, text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the arguments of a network of the family, and of its Non-local blocks, that a stored config gives.

    Args:
        family: the class in `videoctx.models`.
        project: the format's name. Only PySlowFast and mmaction2 store a config.
        text: the stored config.

    Raises:
        ValueError: a key has a value that no network of this package has. The message names both.
    """
    read = READERS.get((project, family))
    return read(text) if read and text else ({}, {})


def _pyslowfast_slowfast(text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    config = _used_sections(pyslowfast_values(text), "X3D")
    check_values(config, PYSLOWFAST_SLOWFAST, complete=FAIR_SECTIONS)
    of_net = {"alpha": config["SLOWFAST.ALPHA"]} if "SLOWFAST.ALPHA" in config else {}
    return of_net, _non_local_arguments(config)


def _pyslowfast_x3d(text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    config = _used_sections(pyslowfast_values(text), "SLOWFAST")
    check_values(config, PYSLOWFAST_X3D, complete=FAIR_SECTIONS)
    crop = config.get("DATA.TRAIN_CROP_SIZE")
    return ({"window_size": -(-crop // 32)} if isinstance(crop, int) else {}), _non_local_arguments(config)


def _used_sections(config: Mapping[str, Any], unused: str) -> dict[str, Any]:
    """Return the values without those of another network, which a whole config also has."""
    return {key: value for key, value in config.items() if not key.startswith(f"{unused}.")}


def _non_local_arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    location = config.get("NONLOCAL.LOCATION")
    if not isinstance(location, list) or not any(any(stage) for stage in location):
        return {}
    if non_local_value(config, "GROUP") not in (None, 1):
        raise ValueError(f"{refusal('NONLOCAL.GROUP', config['NONLOCAL.GROUP'])}1")
    arguments: dict[str, Any] = {}
    if (pool := non_local_value(config, "POOL")) is not None:
        kernels = {(1, 2, 2): "input", (1, 1, 1): "none"}
        if tuple(pool) not in kernels:
            raise ValueError(f"{refusal('NONLOCAL.POOL', pool)}[1, 2, 2] or [1, 1, 1]")
        arguments["subsample"] = kernels[tuple(pool)]
    if config.get("NONLOCAL.INSTANTIATION") == "softmax":
        arguments |= {"affinity": "embedded_gaussian", "softmax_scale": True}
    return arguments


def _mmaction2_slowfast(text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    backbone = mmaction2_backbone(text)
    check_values(backbone, MMACTION2_SLOWFAST, complete=("",))
    for name in ("slow_pathway", "fast_pathway"):
        pathway = backbone.get(name)
        if isinstance(pathway, Mapping):
            check_values(pathway, MMACTION2_PATHWAY, complete=("",))
    alpha, speed_ratio = (backbone.get(name, 8) for name in ("resample_rate", "speed_ratio"))
    if alpha != speed_ratio:
        raise ValueError(f"{refusal('resample_rate', alpha)}that of speed_ratio, {speed_ratio}")
    return ({"alpha": alpha} if backbone else {}), {}


def _mmaction2_x3d(text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    check_values(mmaction2_backbone(text), MMACTION2_X3D, complete=("",))
    return {}, {}


READERS: dict[tuple[str, str], Callable[[str], tuple[dict[str, Any], dict[str, Any]]]] = {
    ("PySlowFast", "SlowFast"): _pyslowfast_slowfast,
    ("PySlowFast", "X3D"): _pyslowfast_x3d,
    ("mmaction2", "SlowFast"): _mmaction2_slowfast,
    ("mmaction2", "X3D"): _mmaction2_x3d,
}
