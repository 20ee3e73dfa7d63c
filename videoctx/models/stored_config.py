"""The configs that PySlowFast and mmaction2 store beside their weights: every key of a network is read or refused.

Keys of PySlowFast are those of slowfast/config/defaults.py in the sections RESNET, NONLOCAL and MODEL, and what DATA
and DETECTION have of the network. PySlowFast stores all of its keys. Keys of mmaction2 are the arguments of `ResNet3d`,
`ResNet3dSlowOnly` and `ResNet` (mmaction/models/backbones), of mmcv's Non-local block, of the heads
(mmaction/models/heads), and of what decides about colors. mmaction2 stores what a config gives; for the rest the
defaults of its classes hold.

| entry | meaning |
|---|---|
| `WEIGHTS` | names and shapes of the weights show it |
| `READ` | it becomes an argument of `ResNet3D` or `NonLocal`, or a property of the checkpoint |
| `UNUSED` | an evaluation does not depend on it |
| a tuple | the only values that this package has a network for |
"""

import ast
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

WEIGHTS, READ, UNUSED = "weights", "read", "unused"
Entry = str | tuple[Any, ...]

PYSLOWFAST: dict[str, Entry] = {
    "RESNET.TRANS_FUNC": ("bottleneck_transform",),
    "RESNET.NUM_GROUPS": WEIGHTS,
    "RESNET.WIDTH_PER_GROUP": WEIGHTS,
    "RESNET.INPLACE_RELU": UNUSED,
    "RESNET.STRIDE_1X1": READ,
    "RESNET.ZERO_INIT_FINAL_BN": UNUSED,
    "RESNET.ZERO_INIT_FINAL_CONV": UNUSED,
    "RESNET.DEPTH": WEIGHTS,
    "RESNET.NUM_BLOCK_TEMP_KERNEL": WEIGHTS,
    "RESNET.SPATIAL_STRIDES": ([[1], [2], [2], [2]],),
    "RESNET.SPATIAL_DILATIONS": ([[1], [1], [1], [1]],),
    "NONLOCAL.LOCATION": WEIGHTS,
    "NONLOCAL.GROUP": READ,  # only 1, in the stages that have blocks
    "NONLOCAL.INSTANTIATION": ("softmax", "dot_product"),
    "NONLOCAL.POOL": READ,
    "MODEL.ARCH": ("2d", "c2d", "c2d_nopool", "slow_c2d", "i3d", "i3d_nopool", "slow_i3d", "slow"),
    "MODEL.MODEL_NAME": ("ResNet", "ResNetModel"),
    "MODEL.NUM_CLASSES": WEIGHTS,
    "MODEL.LOSS_FUNC": UNUSED,
    "MODEL.SINGLE_PATHWAY_ARCH": UNUSED,
    "MODEL.MULTI_PATHWAY_ARCH": UNUSED,
    "MODEL.DROPOUT_RATE": UNUSED,
    "MODEL.DROPCONNECT_RATE": UNUSED,
    "MODEL.FC_INIT_STD": UNUSED,
    "MODEL.HEAD_ACT": ("softmax", "sigmoid"),
    "MODEL.ACT_CHECKPOINT": UNUSED,
    "MODEL.DETACH_FINAL_FC": UNUSED,
    "MODEL.FROZEN_BN": UNUSED,
    "MODEL.FP16_ALLREDUCE": UNUSED,
    "DATA.MEAN": READ,
    "DATA.STD": READ,
    "DATA.INPUT_CHANNEL_NUM": WEIGHTS,
    "DATA.REVERSE_INPUT_CHANNEL": (False,),
    "DETECTION.ENABLE": (False,),
}

NORMS: tuple[dict[str, Any], ...] = ({"type": "BN3d"}, {"type": "BN2d"}, {"type": "BN"}, {"type": "SyncBN"})
MMACTION2: dict[str, Entry] = {
    "type": READ,  # as in BACKBONES
    "bottleneck_mode": WEIGHTS,
    "bn_frozen": UNUSED,
    "num_segments": UNUSED,
    "is_shift": (True,),
    "shift_div": READ,
    "shift_place": ("blockres",),
    "temporal_pool": (False,),
    "depth": WEIGHTS,
    "stage_blocks": WEIGHTS,
    "in_channels": WEIGHTS,
    "base_channels": WEIGHTS,
    "conv1_kernel": WEIGHTS,
    "inflate": WEIGHTS,
    "inflate_style": WEIGHTS,
    "non_local": WEIGHTS,
    "num_stages": (4,),
    "out_indices": ([3],),
    "spatial_strides": ([1, 2, 2, 2],),
    "strides": ([1, 2, 2, 2],),
    "temporal_strides": READ,
    "dilations": ([1, 1, 1, 1],),
    "conv1_stride_t": READ,
    "conv1_stride_s": (2,),
    "pool1_stride_t": READ,
    "pool1_stride_s": (2,),
    "with_pool1": (True,),
    "with_pool2": READ,
    "style": ("pytorch", "caffe"),
    "lateral": (False,),
    "conv_cfg": ({"type": "Conv3d"}, {"type": "Conv2d"}, {"type": "Conv"}, {"type": "Conv2plus1d"}, None),
    "act_cfg": ({"type": "ReLU"},),
    "norm_cfg": (*NORMS, *(norm | {"eps": 1e-3} for norm in NORMS), None),
    "non_local_cfg": READ,
    "non_local_cfg.sub_sample": WEIGHTS,
    "non_local_cfg.use_scale": READ,
    "non_local_cfg.mode": ("gaussian", "embedded_gaussian", "dot_product", "concatenation"),
    "non_local_cfg.norm_cfg": ({"type": "BN3d"}, {"type": "SyncBN"}),
    "non_local_cfg.reduction": WEIGHTS,
    **dict.fromkeys(
        ("pretrained", "pretrained2d", "torchvision_pretrain", "init_cfg", "frozen_stages", "partial_bn", "norm_eval"),
        UNUSED,
    ),
    **dict.fromkeys(("with_cp", "zero_init_residual"), UNUSED),
    # Of ResNet3dPathway: they describe the connection to the other pathway, which `lateral` refuses.
    **dict.fromkeys(("lateral_inv", "lateral_norm", "lateral_infl", "lateral_activate"), UNUSED),
    **dict.fromkeys(("speed_ratio", "channel_ratio", "fusion_kernel"), UNUSED),
    "cls_head.type": ("I3DHead", "SlowFastHead", "TSNHead", "TSMHead"),
    "cls_head.spatial_type": ("avg",),
    "cls_head.consensus": ({"type": "AvgConsensus", "dim": 1},),
    "data_preprocessor.to_rgb": (False,),  # the frames are RGB already
    "img_norm_cfg.to_bgr": (False,),
}
BACKBONES = {  # by the format of the weights
    "mmaction2": ("ResNet3d", "ResNet3dSlowOnly", "ResNet", "C2D"),
    "mmaction2, TSM": ("ResNetTSM",),
    "mmaction2, CSN": ("ResNet3dCSN",),
    "mmaction2, R(2+1)D": ("ResNet2Plus1d",),
}
# Defaults of mmaction2's classes: strides and pooling over time of a config that does not give them.
POOLED = {"conv1_stride_t": 1, "pool1_stride_t": 1, "with_pool2": True}
NOT_POOLED = POOLED | {"with_pool2": False}
MMACTION2_DEFAULTS = {"ResNet3d": POOLED, "ResNet3dSlowOnly": NOT_POOLED, "ResNet": NOT_POOLED}
OF_TRAINING = ("inplace", "requires_grad", "momentum")  # of a norm or an activation

# PySlowFast's table has more keys than a network: only these sections have nothing that is not in it.
COMPLETE = ("RESNET", "NONLOCAL")
DEFAULT_STRIDES = [1, 1, 1, 1]


def stored_arguments(name: str, text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the arguments of `ResNet3D` and of `NonLocal` that a stored config gives beside the format's patterns.

    Args:
        name: the format's name. Only PySlowFast and mmaction2 store a config.
        text: the stored config.

    Raises:
        ValueError: a key has a value that no network of this package has. The message names both.
    """
    of_net: dict[str, Any] = {}
    of_context: dict[str, Any] = {}
    if name == "PySlowFast":
        config = pyslowfast_values(text)
        check_values(config, PYSLOWFAST, complete=COMPLETE)
        if (pool := non_local_value(config, "POOL")) is not None:
            kernels = {(1, 2, 2): "input", (1, 1, 1): "none"}
            if tuple(pool) not in kernels:
                raise ValueError(f"{refusal('NONLOCAL.POOL', pool)}[1, 2, 2] or [1, 1, 1]")
            of_context["subsample"] = kernels[tuple(pool)]
        if non_local_value(config, "GROUP") not in (None, 1):
            raise ValueError(f"{refusal('NONLOCAL.GROUP', non_local_value(config, 'GROUP'))}1")
    elif name in BACKBONES:
        backbone = mmaction2_backbone(text)
        check_values(backbone | _beside_the_backbone(text), MMACTION2 | {"type": BACKBONES[name]}, complete=("",))
        if (defaults := MMACTION2_DEFAULTS.get(str(backbone.get("type")))) is not None:
            given = defaults | backbone
            of_net |= {"conv1_stride_t": given["conv1_stride_t"], "pool1_t": [1, given["pool1_stride_t"]]}
            of_net["pool1_padded"] = True  # not so in C2D
            of_net["pool2_t"] = [2, 2] if given["with_pool2"] else [1, 1]
        strides = backbone.get("temporal_strides", DEFAULT_STRIDES)
        if strides != DEFAULT_STRIDES:
            of_net["stage_stride_t"] = strides
        if isinstance(norm := backbone.get("norm_cfg"), Mapping) and "eps" in norm:
            of_net["norm_eps"] = norm["eps"]
        if backbone.get("shift_div", 8) != 8:
            shift = {"shift_div": backbone["shift_div"]}
            of_net["first_conv"] = {"class_path": "videoctx.layers.TemporalShiftConv3d", "init_args": shift}
        non_local = backbone.get("non_local_cfg") or {}
        mode = non_local.get("mode", "embedded_gaussian")  # both are mmcv's defaults
        if non_local and mode == "embedded_gaussian" and "use_scale" not in non_local:
            of_context["softmax_scale"] = True
    return of_net, of_context


def stored_colors(project: str, text: str) -> dict[str, tuple[float, float, float]]:
    """Return mean and std of the input for values in [0, 1], where a stored config gives them."""
    if project == "PySlowFast":
        config = pyslowfast_values(text)
        found, scale = {name: config.get(f"DATA.{name.upper()}") for name in ("mean", "std")}, 1.0
    else:
        calls = [_arguments(call) for name, call in _calls(text) if name in ("data_preprocessor", "img_norm_cfg")]
        found, scale = next((call for call in calls if "mean" in call), {}), 255.0
    values = {name: found.get(name) for name in ("mean", "std")}
    if not all(isinstance(value, list) and len(value) == 3 for value in values.values()):
        return {}
    return {name: tuple(round(number / scale, 9) for number in value or ()) for name, value in values.items()}


def stored_multi_label(project: str, text: str) -> bool:
    """Whether a stored config is of a network whose classes do not exclude each other."""
    return project == "PySlowFast" and pyslowfast_values(text).get("MODEL.HEAD_ACT") == "sigmoid"


def check_values(config: Mapping[str, Any], table: Mapping[str, Entry], *, complete: tuple[str, ...]) -> None:
    for key, value in config.items():
        entry = table.get(key)
        if entry is None:
            if key.rpartition(".")[0] in complete:
                raise ValueError(f"{refusal(key, value)}one of {', '.join(sorted(table))}")
        elif isinstance(entry, tuple) and _plain(value) not in entry:
            raise ValueError(f"{refusal(key, value)}{' or '.join(map(str, entry))}")


def refusal(key: str, value: Any) -> str:
    return f"the stored config has {key} {value}, for which there is no network here; expected "


def _plain(value: Any) -> Any:
    """A value without what only training depends on."""
    if isinstance(value, Mapping):
        return {name: inner for name, inner in value.items() if name not in OF_TRAINING}
    return value


# PySlowFast ---------------------------------------------------------------------------------------------------------


class TuplesAsLists(yaml.SafeLoader):
    """A loader of plain values that reads Python's tuples as lists."""


def _sequence(loader: yaml.SafeLoader, node: yaml.SequenceNode) -> list[Any]:
    return loader.construct_sequence(node, deep=True)


TuplesAsLists.add_constructor("tag:yaml.org,2002:python/tuple", _sequence)


def pyslowfast_values(text: str) -> dict[str, Any]:
    """Return the values by SECTION.KEY; empty for what is no YAML."""
    try:
        config = yaml.load(text, TuplesAsLists)  # a safe loader
    except yaml.YAMLError:
        return {}
    sections = config.items() if isinstance(config, Mapping) else ()
    return {
        f"{section}.{key}": value
        for section, keys in sections
        if isinstance(keys, Mapping)
        for key, value in keys.items()
    }


def non_local_value(config: Mapping[str, Any], key: str) -> Any:
    """Return the value of the stages that have Non-local blocks. None: there are none, or nothing is given.

    Raises:
        ValueError: these stages have different values.
    """
    values, location = config.get(f"NONLOCAL.{key}"), config.get("NONLOCAL.LOCATION")
    if not isinstance(values, list):
        return None
    has_blocks = [any(stage) for stage in location] if isinstance(location, list) else [True] * len(values)
    # Per stage, one value per pathway, of which there is one here.
    first = [stage[0] for stage, used in zip(values, has_blocks, strict=False) if used]
    if any(value != first[0] for value in first):
        raise ValueError(f"{refusal(f'NONLOCAL.{key}', values)}the same in all stages that have blocks")
    return first[0] if first else None


# mmaction2 ----------------------------------------------------------------------------------------------------------


def mmaction2_backbone(text: str) -> dict[str, Any]:
    """Return the arguments of the backbone; those of its Non-local blocks as `non_local_cfg.NAME`."""
    found = next((_arguments(call) for name, call in _calls(text) if name == "backbone"), {})
    inner = found.get("non_local_cfg")
    nested = {f"non_local_cfg.{name}": value for name, value in inner.items()} if isinstance(inner, Mapping) else {}
    return found | nested


def mmaction2_test_pipeline(text: str) -> list[dict[str, Any]]:
    """Return the steps of the test's pipeline in their order; empty for a config without one."""
    found = next((_value(node) for name, node in _calls(text) if name == "test_pipeline"), None)
    return [step for step in found if isinstance(step, dict)] if isinstance(found, list) else []


def _beside_the_backbone(text: str) -> dict[str, Any]:
    """Return the arguments of the head and of the preprocessing as `cls_head.NAME` and the like."""
    names = ("cls_head", "data_preprocessor", "img_norm_cfg")
    calls = [(name, _arguments(call)) for name, call in _calls(text) if name in names]
    return {f"{name}.{key}": value for name, call in calls for key, value in call.items()}


def _calls(text: str) -> Iterator[tuple[str, ast.expr]]:
    """Yield every named value of a config in Python, from the outside in; nothing for what is no Python."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            yield node.targets[0].id, node.value
        elif isinstance(node, ast.keyword) and node.arg:
            yield node.arg, node.value
        elif isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant):
                    yield str(key.value), value


def _arguments(node: ast.expr) -> dict[str, Any]:
    value = _value(node)
    return value if isinstance(value, dict) else {}


def _value(node: ast.expr) -> Any:
    """Return a literal, `dict(…)` included; what is no literal as its text."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict":
        return {keyword.arg: _value(keyword.value) for keyword in node.keywords if keyword.arg}
    if isinstance(node, ast.Dict):
        pairs = zip(node.keys, node.values, strict=True)
        return {key.value: _value(value) for key, value in pairs if isinstance(key, ast.Constant)}
    if isinstance(node, ast.List | ast.Tuple):
        return [_value(item) for item in node.elts]
    try:
        return ast.literal_eval(node)
    except ValueError:
        return ast.unparse(node)
