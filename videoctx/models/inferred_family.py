"""The SlowFast, X3D, CSN or R(2+1)D that weights are for, inferred from their names and shapes."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from videoctx.first_few import first_few
from videoctx.models.family_formats import FamilyFormat
from videoctx.models.inferred_network import config_difference, context_arguments
from videoctx.models.key_map import STAGES
from videoctx.models.published_clip import X3D_VARIANTS, alpha_in_name, x3d_variant
from videoctx.models.stored_family_config import stored_family_arguments
from videoctx.models.temporal_tables import BLOCKS_PER_STAGE

BLOCKS_OF_X3D = (1, 2, 5, 3)  # per stage, before the factor


def infer_family(
    weights: Mapping[str, Tensor], known: FamilyFormat, config: str, file_name: str
) -> tuple[dict[str, Any], list[str]]:
    """Return the config of the network with these names and shapes, and notes on what they do not tell.

    Args:
        weights: Weights by this package's names.
        known: The format that the weights had.
        config: Text of the config that is stored with the weights.
        file_name: Name of the file, which tells what neither weights nor config do.

    Raises:
        ValueError: The family has no such network.
    """
    stored, stored_of_context = stored_family_arguments(known.family, known.project, config)
    sizes = SIZES[known.family](weights)
    named, guess = NOT_IN_WEIGHTS[known.family](weights, file_name, config)
    not_in_weights = named | known.net.get("", {}) | stored
    context = context_arguments(weights, known.context.get("", {}) | stored_of_context, {})
    if context:
        context["context_at"] = {stage.removesuffix(".slow"): at for stage, at in context["context_at"].items()}
    arguments = sizes | not_in_weights | context
    net = {"class_path": f"videoctx.models.{known.family}", "init_args": arguments}
    if different := config_difference(net, weights):
        raise ValueError(
            f"the weights are of no {known.family} known here; the closest differs in {len(different)}:"
            f" {first_few(different)}"
        )
    if not not_in_weights:
        return net, []
    values = ", ".join(f"{name} {value}" for name, value in not_in_weights.items())
    source = "by the stored config" if stored else guess or "by the file's name"
    return net, [f"{values} leaves no trace in weights, and is {source}"]


# What weights tell --------------------------------------------------------------------------------------------------


def _depth(weights: Mapping[str, Tensor], infix: str = "") -> int:
    """Return the depth by the number of blocks per stage."""
    per_stage = _blocks_per_stage(weights, infix)
    for depth, blocks in BLOCKS_PER_STAGE.items():
        if depth >= 50 and blocks == per_stage:
            return depth
    pathway = f" of the {infix.strip('.')} pathway" if infix else ""
    raise ValueError(
        f"the weights are of no network known here: {', '.join(map(str, per_stage))} bottlenecks per stage{pathway};"
        " expected depth 50, 101 or 152"
    )


def _blocks_per_stage(weights: Mapping[str, Tensor], infix: str = "") -> tuple[int, ...]:
    found = {match[0] for name in weights if (match := re.match(rf"res\d{re.escape(infix)}\.\d+\.", name))}
    return tuple(sum(block.startswith(stage) for block in found) for stage in STAGES)


def _slowfast_sizes(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    depth, fast_depth = (_depth(weights, f".{pathway}") for pathway in ("slow", "fast"))
    width, of_fast = (len(weights[f"stem.{pathway}.norm.weight"]) for pathway in ("slow", "fast"))
    sizes = {"depth": depth, "fusion_kernel_t": weights["stem.fuse.conv.weight"].shape[2]}
    if fast_depth != depth:
        sizes["fast_depth"] = fast_depth
    if width != 64:
        sizes["width"] = width
    if width != 8 * of_fast:
        sizes["beta"] = width // of_fast
    if "stem.fuse.norm.weight" not in weights:
        sizes["fusion_norm"] = False
    num_blocks = BLOCKS_PER_STAGE[depth][2]
    inflated = [weights[f"res4.slow.{index}.branch.conv1.weight"].shape[2] > 1 for index in range(num_blocks)]
    if not all(inflated):
        sizes["res4_temporal_blocks"] = sum(inflated)
    return sizes


def _x3d_sizes(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    sizes: dict[str, Any] = {"depth_factor": _blocks_per_stage(weights)[2] / BLOCKS_OF_X3D[2]}
    if (width := len(weights["stem.norm.weight"])) != 24:
        sizes["width_factor"] = width / 12
    if "res2.0.shortcut.1.weight" in weights:
        sizes["res2_shortcut_norm"] = True
    return sizes


def _resnet_sizes(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    width = len(weights["stem.norm.weight"])
    return {"depth": _depth(weights)} | ({"width": width} if width != 64 else {})


SIZES: dict[str, Callable[[Mapping[str, Tensor]], dict[str, Any]]] = {
    "SlowFast": _slowfast_sizes,
    "X3D": _x3d_sizes,
    "CSN": _resnet_sizes,
    "R2Plus1D": _resnet_sizes,
}

# What they do not tell ----------------------------------------------------------------------------------------------


UNTOLD = ", as neither a stored config nor a file name such as {} tells it"


def _window_size(weights: Mapping[str, Tensor], file_name: str, config: str) -> tuple[dict[str, Any], str]:
    """Return the window of the X3D that the depth of the weights or the file's name tells, or else that of X3D-M."""
    named = x3d_variant(file_name, None)
    variant = x3d_variant(file_name, {"init_args": _x3d_sizes(weights)}) or named or "m"
    clips = X3D_VARIANTS[variant]
    window = {"window_size": -(-clips.train_crop_px // 32)}
    if variant == named:
        return window, ""
    of_test = f", as are the clips ({clips.clip[0]}x{clips.clip[1]}) and the test ({clips.test_crop_px} pixels)"
    source = f"that of X3D-{variant.upper()}{'' if config else of_test}"
    if variant == "l":
        return window, f"{source}, whose depth the weights have"
    others = "XS and S have the same weights with window_size 5, clips of 4x12 and 13x6 and 182 pixels"
    return window, f"{source}. {others}: rename the file to X3D_XS.pyth or X3D_S.pyth if it is one of these"


def _alpha(weights: Mapping[str, Tensor], file_name: str, _: str) -> tuple[dict[str, Any], str]:
    """Return α as in the file's name, or else that of the published network with weights of these shapes."""
    if alpha := alpha_in_name(file_name):
        return {"alpha": alpha}, ""
    has_context = any(".after_add." in name for name in weights)
    is_4x16 = weights["stem.fuse.conv.weight"].shape[2] == 5 and _depth(weights, ".slow") == 50 and not has_context
    guess = "that of SlowFast 4x16 (8x8 has 4)" if is_4x16 else "that of SlowFast 8x8 (4x16 has 8)"
    return {"alpha": 8 if is_4x16 else 4}, guess + UNTOLD.format("SLOWFAST_4x16_R50.pyth")


# Each returns arguments, and where their values are from if neither the file's name nor a stored config tells them.
NOT_IN_WEIGHTS: dict[str, Callable[[Mapping[str, Tensor], str, str], tuple[dict[str, Any], str]]] = {
    "SlowFast": _alpha,
    "X3D": _window_size,
    "CSN": lambda *_: ({}, ""),
    "R2Plus1D": lambda *_: ({}, ""),
}
