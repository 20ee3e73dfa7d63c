"""The network that weights are for, inferred from their names and shapes."""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from videoctx.first_few import first_few
from videoctx.models.checkpoint_formats import NON_LOCAL_ARGUMENTS, OURS, Format, by_kind
from videoctx.models.key_map import STAGES
from videoctx.models.load_weights import COUNTERS
from videoctx.models.meta_device import on_meta
from videoctx.models.network_config import build_network
from videoctx.models.stored_config import stored_arguments
from videoctx.models.temporal_tables import BLOCKS_PER_STAGE, TEMPORAL_TABLES


def infer_network(
    weights: Mapping[str, Tensor], known: Format, config: str = "", file_name: str = ""
) -> tuple[dict[str, Any], list[str]]:
    """Return the config of the `ResNet3D` with these names and shapes, and notes on what they do not tell.

    Args:
        weights: Weights by this package's names.
        known: The format that the weights had.
        config: Text of the config that is stored with the weights.
        file_name: Name of the checkpoint's file, which some projects give by the network.

    Raises:
        ValueError: There is no such ResNet3D.
    """
    sizes = _sizes(weights)
    of_net, of_context = _arguments_by_pattern(known.named, file_name)
    named = of_net or of_context or any(re.search(pattern, file_name) for pattern in known.named_input)
    told_by = "the stored config" if config else "the file's name" if named else ""
    for stored_of_net, stored_of_context in (
        _arguments_by_pattern(known.stored, config),
        stored_arguments(known.name, config),
    ):
        of_net, of_context = of_net | stored_of_net, of_context | stored_of_context
    differences = {}
    for kind in TEMPORAL_TABLES:
        published = by_kind(known.net, kind)
        if published is None:
            continue
        not_in_weights = published | known.at_depth.get(sizes["depth"], {}) | of_net
        own_groups = ("groups", "width_per_group") if "conv" in not_in_weights else ()  # of that kind of convolution
        context = context_arguments(weights, (by_kind(known.context, kind) or {}) | of_context, known.context)
        of_shapes = {name: size for name, size in sizes.items() if name not in own_groups}
        arguments = of_shapes | {"temporal_kernels": kind} | not_in_weights | context
        net = {"class_path": "videoctx.models.ResNet3D", "init_args": arguments}
        differences[kind] = config_difference(net, weights)
        if not differences[kind]:
            return net, _notes(known, kind, not_in_weights | context.get("context", {}).get("init_args", {}), told_by)
    closest = min(differences, key=lambda kind: len(differences[kind]))
    raise ValueError(
        f"the weights are of no network known here; {closest}, the closest of {', '.join(differences)}, differs in"
        f" {first_few(differences[closest])}"
    )


def _arguments_by_pattern(table: Mapping[str, dict[str, Any]], text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the arguments that a config or a name gives for the network, and for its Non-local blocks."""
    found: dict[str, Any] = {}
    for pattern, arguments in table.items():
        found |= arguments if re.search(pattern, text) else {}
    of_context = {name: found.pop(name) for name in NON_LOCAL_ARGUMENTS & found.keys()}
    return found, of_context


def _sizes(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return depth, and width and groups where they are not the usual ones."""
    blocks = {match[0] for name in weights if (match := re.match(r"res\d\.\d+\.", name))}
    per_stage = tuple(sum(block.startswith(stage) for block in blocks) for stage in STAGES)
    deep = "res2.0.conv3.weight" in weights
    depths = [depth for depth, known in BLOCKS_PER_STAGE.items() if known == per_stage and (depth >= 50) == deep]
    if not depths or "stem.norm.weight" not in weights:
        raise ValueError(
            f"the weights are of no network known here: {', '.join(map(str, per_stage))}"
            f" {'bottlenecks' if deep else 'basic blocks'} in its stages; expected depth"
            f" {', '.join(map(str, BLOCKS_PER_STAGE))}"
        )
    width = len(weights["stem.norm.weight"])
    sizes: dict[str, Any] = {"depth": depths[0]}
    if width != 64:
        sizes["width"] = width
    if "res2.0.conv2.k1.weight" in weights:
        sizes["conv"] = {"class_path": "videoctx.layers.SelfCalibratedConv3d"}
    if "res2.0.convs.0.weight" in weights:
        sizes |= _res2net(weights, width)
    if deep and "res2.0.conv2.weight" in weights:
        inner, per_group = weights["res2.0.conv2.weight"].shape[:2]
        groups = inner // per_group
        if (groups, inner) != (1, width):
            sizes |= {"groups": groups, "width_per_group": inner * 64 // (width * groups)}
    return sizes


def _res2net(weights: Mapping[str, Tensor], width: int) -> dict[str, Any]:
    """Return the arguments of a network of Res2Net bottlenecks: number of parts, their width and groups."""
    part, per_group = weights["res2.0.convs.0.weight"].shape[:2]
    scale = 1 + sum(name.startswith("res2.0.convs.") and name.endswith("weight") for name in weights)
    groups = part // per_group
    block = {"scale": scale, "base_width": part * 64 // (width * groups)}
    sizes: dict[str, Any] = {"groups": groups} if groups > 1 else {}
    return sizes | {"block": {"class_path": "videoctx.models.Res2NetBottleneck3d", "init_args": block}}


# Context blocks ---------------------------------------------------------------------------------------------------


def context_arguments(weights: Mapping[str, Tensor], affinity: Mapping, by_affinity: Mapping) -> dict[str, Any]:
    """Return `context`, `context_at` and `context_position`; empty for a plain network."""
    at: dict[str, list[int]] = {}
    block: dict[str, Tensor] = {}  # of one context block
    position = ""
    for name, tensor in weights.items():
        if match := re.fullmatch(r"(res\d(?:\.\w+)?)\.(\d+)\.(after_add|after_1x1)\.(.+)", name):
            stage, index, position, rest = match.groups()
            at.setdefault(stage, [])
            if int(index) not in at[stage]:
                at[stage].append(int(index))
            block[rest] = tensor
    if not block:
        return {}
    name, arguments = _context_block(block, affinity, by_affinity)
    return {
        "context": {"class_path": f"videoctx.layers.{name}", "init_args": arguments},
        "context_at": at,
        "context_position": position,
    }


def _context_block(block: Mapping[str, Tensor], affinity: Mapping, by_affinity: Mapping) -> tuple[str, dict[str, Any]]:
    """Return class and arguments of a context block with these weights."""
    if "context.g.weight" in block:
        inner, channels = block["context.g.weight"].shape
        arguments = dict(affinity)
        if "context.theta.weight" not in block:
            arguments |= {"affinity": "gaussian"} | by_affinity.get("gaussian", {})
        elif "context.affinity.query" in block:
            arguments |= {"affinity": "concatenation"}
        if inner * 2 != channels:
            arguments["inner_ratio"] = inner / channels
        return "NonLocal", arguments
    reduce = [tensor for name, tensor in block.items() if name.endswith("reduce.weight")]
    if not reduce:
        return "SimplifiedNonLocal", {}
    arguments = {"ratio": reduce[0].shape[0] / reduce[0].shape[1]}
    if not any("norm" in name for name in block):
        return "SqueezeExcitation", arguments
    if "context.key.weight" not in block:
        arguments["pooling"] = "average"
    if len(reduce) == 2:
        arguments["fusion"] = "scale_and_add"
    return "GlobalContext", arguments


# Comparing ----------------------------------------------------------------------------------------------------------


def config_difference(net: Mapping[str, Any], weights: Mapping[str, Tensor]) -> list[str]:
    """Return names that only one of the two has, or with another shape. Weights may be without a classifier."""
    with on_meta():
        template = build_network(net, len(weights.get("head.bias", [0]))).state_dict()
    ours, theirs = ({name: tuple(tensor.shape) for name, tensor in tensors.items()} for tensors in (template, weights))
    names = [name for name in theirs | ours if not name.endswith(COUNTERS)]
    if not any(name.startswith("head.") for name in theirs):
        names = [name for name in names if not name.startswith("head.")]
    return [name for name in names if ours.get(name) != theirs.get(name)]


def _notes(known: Format, kind: str, not_in_weights: Mapping[str, Any], told_by: str) -> list[str]:
    """Return notes on what weights do not tell.

    Args:
        told_by: what told some of it. Empty: nothing.
    """
    if known is OURS:
        return [
            "strides, pooling, temporal shifts and affinity leave no trace in weights; ResNet3D's defaults are taken,"
            " or give -c"
        ]
    values = ", ".join(f"{name} {value}" for name, value in not_in_weights.items() if not isinstance(value, Mapping))
    source = f"by {told_by}, else as in" if told_by else "as in"
    notes = [f"strides, pooling and affinity leave no trace in weights; {source} the published networks: {values}"]
    differs = by_kind(known.differs, kind)
    return notes + ([differs] if differs and not told_by else [])
