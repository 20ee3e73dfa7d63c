"""Checkpoints of this and other projects, with their weights by this package's names.

The projects are a table in `checkpoint_formats`. The network is inferred from names and shapes by `inferred_network`.
"""

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from videoctx.first_few import first_few
from videoctx.models.checkpoint_file import read_stored
from videoctx.models.checkpoint_formats import FORMATS, FRAMES, IMAGES, OURS, VIDEO_CLASSES, Format, Normalization
from videoctx.models.classifier_checkpoint import network_weights
from videoctx.models.family_formats import FAMILY_FORMATS, FamilyFormat, cousin
from videoctx.models.inferred_family import infer_family
from videoctx.models.inferred_network import infer_network
from videoctx.models.inflate import inflate
from videoctx.models.stored_config import stored_colors, stored_multi_label

logger = logging.getLogger(__name__)

# Where a checkpoint keeps its weights, and what wrappers put before all of their names.
NESTED_IN = ("state_dict", "model_state", "model", "module", "blobs")
WRAPPERS = ("module.", "_orig_mod.", "model.", "net.")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Weights by this package's names, and the network that they are for.

    Attributes:
        format: the project's format.
        state_dict: the weights.
        net: `class_path` and `init_args`, without the number of classes. None: the weights do not tell it.
        unknown_net: why `net` is None.
        num_classes: None: without a classifier.
        class_names: None: not stored.
        multi_label: a video can have several classes.
        preprocessing: how the clips of the test are made, stored by this package. None: not stored.
        input: mean and std of the input. None: not known.
        config_text: the text of the config that PySlowFast and mmaction2 store. Empty: none.
        notes: what the user should know, one sentence each.
        notes_on_net: those of the notes that are about the inferred network.
    """

    format: Format
    state_dict: dict[str, Tensor]
    net: dict[str, Any] | None
    unknown_net: str
    num_classes: int | None
    class_names: list[str] | None
    multi_label: bool
    preprocessing: dict[str, Any] | None
    input: Normalization | None
    config_text: str
    notes: list[str]
    notes_on_net: list[str]

    def weights_for(self, net: nn.Module) -> dict[str, Tensor]:
        """Return the weights for `net`: those of an image network inflated over time."""
        if not self.format.of_images:
            return self.state_dict
        template = net.state_dict()
        shared = {name: tensor for name, tensor in self.state_dict.items() if name in template}
        return self.state_dict | inflate(shared, template)


def read_checkpoint(path: str | Path, *, trust: bool = False) -> Checkpoint:
    """Read a checkpoint of PyTorchVideo, PySlowFast, mmaction2, GluonCV, TSM, 3D-ResNets, torchvision or this package.

    Nothing that is stored in it is run. Objects of other libraries beside the weights are left out, and named in a
    warning.

    Args:
        trust: Also read Caffe2's pickles. Only arrays and plain containers are taken from them.

    Raises:
        ValueError: The file is no checkpoint, a truncated one, or has weights of an unknown project.
    """
    foreign: list[str] = []
    stored = read_stored(path, trust=trust, foreign=foreign)
    left_out = f"the objects of other libraries beside the weights are not read: {first_few(foreign)}"
    try:
        checkpoint = _checkpoint(stored, Path(path).name)
    except ValueError as error:
        raise ValueError(f"{path}: {error}" + (f"; {left_out}" if foreign else "")) from error
    if foreign:
        logger.warning("%s: %s", path, left_out)
    return checkpoint


def _checkpoint(stored: Any, file_name: str) -> Checkpoint:
    if not isinstance(stored, Mapping):
        raise ValueError(f"expected a checkpoint with named weights, got a {type(stored).__name__}")
    nested = [stored[name] for name in NESTED_IN if isinstance(stored.get(name), Mapping)]
    is_ours = "class_names" in stored
    theirs = _tensors(nested[0] if nested else stored)
    theirs = network_weights(theirs) if is_ours else _without_wrappers(theirs)
    if not theirs:
        raise ValueError("the checkpoint holds no weights")
    if empty := [name for name, tensor in theirs.items() if not tensor.numel()]:
        raise ValueError(
            f"{len(empty)} weights are empty ({first_few(empty)}), as where each rank has a part of them"
            " (ZeRO stage 3); expected a file with all weights, which DeepSpeed's zero_to_fp32.py makes"
        )
    candidates = [OURS] if is_ours else _recognize(theirs)
    known = candidates[0]
    weights = dict(theirs) if is_ours else _rename(theirs, known)
    if known is IMAGES and len(weights.get("head.bias", ())) in VIDEO_CLASSES:
        known, candidates = FRAMES, [FRAMES]
    notes = [] if known is OURS else _bring_to_our_shapes(weights)
    if isinstance(known, FamilyFormat) and known.adapt:
        known.adapt(weights)
    config_text = _stored_config(stored)
    notes_on_net: list[str] = []
    net, unknown_net = (_mapping(stored, "net") if known is OURS else None), ""
    if net is None:
        known, net, unknown_net, notes_on_net = _infer(weights, candidates, config_text, file_name)
        notes += notes_on_net
    return Checkpoint(
        format=known,
        state_dict=weights,
        net=net,
        unknown_net=unknown_net,
        num_classes=_num_classes(stored, weights),
        class_names=list(stored["class_names"]) if stored.get("class_names") else None,
        multi_label=bool(stored.get("multi_label")) if is_ours else stored_multi_label(known.project, config_text),
        preprocessing=_mapping(stored, "preprocessing") if is_ours else None,
        input=Normalization(**stored["input"])
        if is_ours and stored.get("input")
        else _input(known, config_text, file_name),
        config_text=config_text,
        notes=notes,
        notes_on_net=notes_on_net,
    )


def _infer(
    weights: Mapping[str, Tensor], candidates: Sequence[Format], config_text: str, file_name: str
) -> tuple[Format, dict[str, Any] | None, str, list[str]]:
    """Return the first format that has a network for the weights, the network, and notes on it.

    Where there is none, the first format, None and the reason are returned.
    """
    reasons = []
    for known in candidates:
        try:
            if isinstance(known, FamilyFormat):
                net, notes = infer_family(weights, known, config_text, file_name)
            else:
                net, notes = infer_network(weights, known, config_text, file_name)
        except ValueError as error:
            reasons.append(str(error))
        else:
            return known, net, "", notes
    return candidates[0], None, reasons[-1], []


def _input(known: Format, config_text: str, file_name: str) -> Normalization | None:
    """Return mean and std of the input: as stored, or as the file is named, or as usual in the project."""
    if stored := stored_colors(known.project, config_text):
        return Normalization(**stored)
    named = (values for pattern, values in known.named_input.items() if re.search(pattern, file_name))
    return next(named, known.input)


def _num_classes(stored: Mapping[str, Any], weights: Mapping[str, Tensor]) -> int | None:
    if stored.get("class_names"):
        return len(stored["class_names"])
    return len(weights["head.bias"]) if "head.bias" in weights else None


def _mapping(stored: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    return dict(stored[name]) if isinstance(stored.get(name), Mapping) else None


def stored_weights(stored: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the weights of a file by the names in it, and by the same without what wrappers put before all of them."""
    nested = [stored[name] for name in NESTED_IN if isinstance(stored.get(name), Mapping)]
    tensors = _tensors(nested[0] if nested else stored)
    return tensors, _without_wrappers(tensors)


def _tensors(weights: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the tensors and arrays among `weights`."""
    tensors = {name: value for name, value in weights.items() if isinstance(value, Tensor)}
    for name, value in weights.items():
        if type(value).__name__ == "ndarray" and value.dtype.kind == "f":
            tensors[name] = torch.from_numpy(value)
    return tensors


def _without_wrappers(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    while tensors and (prefix := _common_prefix(tensors)):
        tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors


def _common_prefix(names: Iterable[str]) -> str:
    return next((prefix for prefix in WRAPPERS if all(name.startswith(prefix) for name in names)), "")


def _recognize(theirs: Mapping[str, Tensor]) -> list[Format]:
    """Return the format that knows all names, and others with the same names.

    Raises:
        ValueError: There is none.
    """
    of_images = any(tensor.ndim == 4 for tensor in theirs.values())
    families = [known for known in FAMILY_FORMATS if known.may_have(theirs)]
    candidates = [*families, *(known for known in FORMATS if known.of_images in (None, of_images))]
    unknown_names = [[name for name in theirs if known.names(name) is None] for known in candidates]
    unknown, closest = min(zip(unknown_names, candidates, strict=True), key=lambda pair: len(pair[0]))
    if other := next((network for name in unknown if (network := cousin(name))), ""):
        raise ValueError(f"the weights are of {other}")
    if 2 * len(unknown) >= len(theirs):  # names such as head.1.weight are those of many
        projects = ", ".join(dict.fromkeys(known.project for known in FORMATS))
        raise ValueError(f"weights of a project not known here ({first_few(unknown)}); expected one of {projects}")
    if unknown:
        raise ValueError(f"most weights are of {closest.name}, but not {len(unknown)}: {first_few(unknown)}")
    return [known for known in candidates if known.names is closest.names]


def _rename(theirs: Mapping[str, Tensor], known: Format) -> dict[str, Tensor]:
    """Return the weights by this package's names, without those that are known and not needed."""
    weights = {ours: tensor for name, tensor in theirs.items() if (ours := known.names(name))}
    for name in [name for name in weights if name.endswith("/0")]:
        whole = name.removesuffix("/0")
        first, second = (weights.pop(part, None) for part in (name, f"{whole}/1"))
        if first is None or second is None:
            raise ValueError(f"the weights have one of the two parts of {whole}")
        weights[whole] = torch.cat([first, second]) if first.ndim else first
    return weights


def _bring_to_our_shapes(weights: dict[str, Tensor]) -> list[str]:
    """Reshape in place, and return a note where something was added.

    Pointwise layers are (C_out, C_in) here, convolutions have a time axis, and every projection of a Non-local block
    has a bias.
    """
    for name, tensor in list(weights.items()):
        if name.endswith("affinity.pair.weight"):
            halves = weights.pop(name).flatten().chunk(2)  # θ, φ
            weights |= dict(zip((name.replace("pair.weight", half) for half in ("query", "key")), halves, strict=True))
        elif (".after_" in name or name.startswith(("head.", "fc1."))) and tensor.ndim > 2:
            weights[name] = tensor.flatten(1)
        elif tensor.ndim == 4:
            weights[name] = tensor.unsqueeze(2)  # (C_out, C_in, 1, h, w)
    projections = re.compile(r"(.+\.after_\w+\.(?:context\.(?:theta|phi|g)|transform\.0)\.)weight")
    layers = [match[1] for name in weights if (match := projections.fullmatch(name))]
    unbiased = [layer for layer in layers if f"{layer}bias" not in weights]
    for layer in unbiased:
        weight = weights[f"{layer}weight"]
        weights[f"{layer}bias"] = weight.new_zeros(len(weight))
    if not unbiased:
        return []
    return [f"{len(unbiased)} layers of Non-local blocks are without a bias there, and have one of zero here"]


def _stored_config(stored: Mapping[str, Any]) -> str:
    meta = _mapping(stored, "meta") or {}
    texts = (stored.get("cfg"), meta.get("cfg"), meta.get("config"))
    return next((text for text in texts if isinstance(text, str)), "")
