"""Weights that others trained, in our networks: read, loaded, converted.

Whose weights are read is a table in `checkpoint_formats`; which network they are for is told by `architecture`.
"""

import pickle
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from videoctx.models.architecture import COUNTERS, infer_net, shortened
from videoctx.models.checkpoint_formats import FORMATS, IMAGES, OURS, Format, Normalization
from videoctx.models.inflate import inflate
from videoctx.models.network_config import build_network

# Where a checkpoint keeps its weights, and what wrappers put before all of their names.
NESTED_IN = ("state_dict", "model_state", "model", "blobs")
WRAPPERS = ("module.", "_orig_mod.", "model.", "net.")

LEGACY_TORCH = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)  # start of torch.save's files before they were archives


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Weights by our names, and what they are for.

    `net` has `class_path` and `init_args`, without the number of classes; where the weights do not tell it, it is none,
    and `unknown_net` says why.
    """

    format: str
    state_dict: dict[str, Tensor]
    net: dict[str, Any] | None
    unknown_net: str
    num_classes: int | None  # none: without a classifier
    class_names: list[str] | None
    input: Normalization | None
    notes: list[str]

    def weights_for(self, net: nn.Module) -> dict[str, Tensor]:
        """The weights, inflated over time where they are of images."""
        if self.format != IMAGES.name:
            return self.state_dict
        template = net.state_dict()
        shared = {name: tensor for name, tensor in self.state_dict.items() if name in template}
        return self.state_dict | inflate(shared, template)


# Reading ----------------------------------------------------------------------------------------------------------


def read_checkpoint(path: str | Path, *, trust: bool = False) -> Checkpoint:
    """Read what PyTorchVideo, PySlowFast, mmaction2, GluonCV, torchvision or videoctx wrote; run nothing of it.

    Args:
        trust: read Caffe2's pickles too; even then nothing but arrays and plain containers is taken from them.

    Raises:
        ValueError: no checkpoint, a truncated one, or weights of a project that is not known here.
    """
    stored = read_stored(path, trust=trust)
    try:
        return _checkpoint(stored)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _checkpoint(stored: Any) -> Checkpoint:
    if not isinstance(stored, Mapping):
        raise ValueError(f"expected a checkpoint with named weights, got a {type(stored).__name__}")
    nested = [stored[name] for name in NESTED_IN if isinstance(stored.get(name), Mapping)]
    theirs = _tensors(nested[0] if nested else stored)
    if not theirs:
        raise ValueError("the checkpoint holds no weights")
    known = OURS if "class_names" in stored else _recognized(theirs)
    weights = dict(theirs) if known is OURS else {known.names(name): tensor for name, tensor in theirs.items()}
    weights.pop("", None)  # what is known and not needed
    notes = _bring_to_our_shapes(weights)
    net = stored.get("net") if known is OURS and isinstance(stored.get("net"), Mapping) else None
    unknown_net, normalization = "", known.input
    if net is None:
        try:
            net, untold = infer_net(weights, known, _stored_config(stored))
            notes += untold
        except ValueError as error:
            unknown_net = str(error)
    if known is OURS and stored.get("input"):
        normalization = Normalization(**stored["input"])
    num_classes = len(weights["head.bias"]) if "head.bias" in weights else None
    return Checkpoint(
        known.name, weights, net, unknown_net, num_classes, stored.get("class_names"), normalization, notes
    )


def read_stored(path: str | Path, *, trust: bool = False) -> Any:
    """What `torch.save`, or with `trust` Caffe2, wrote to a file, on the CPU; nothing of it is run.

    Raises:
        ValueError: no such file, no checkpoint, a damaged one, or one that holds more than weights, numbers and text.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such checkpoint")
    with path.open("rb") as file:
        start = file.read(len(LEGACY_TORCH))
    if start.startswith(b"PK") and not zipfile.is_zipfile(path):
        raise ValueError(f"{path}: a truncated checkpoint")
    if start.startswith(b"PK") or start == LEGACY_TORCH:
        return _read_torch(path)
    if not start.startswith((b"\x80", b"(d")):
        raise ValueError(f"{path}: not a checkpoint; expected a file of torch.save or of Caffe2")
    if not trust:
        raise ValueError(
            f"{path}: a Python pickle, as Caffe2's checkpoints are, and a pickle can be made to run code when it is"
            " read; if you trust where it comes from, videoctx convert --trust takes it over"
        )
    return _read_pickle(path)


def _read_torch(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        stranger = re.search(r"GLOBAL ([\w.]+)", str(error))
        if stranger is None:
            raise ValueError(f"{path}: not a checkpoint, or a damaged one ({_one_line(error)})") from error
        raise ValueError(
            f"{path}: holds a {stranger[1]} beside the weights, and reading that can run code; expected a file with"
            " weights, numbers and text only: save its state dict on its own"
        ) from error
    except (RuntimeError, EOFError, OSError, KeyError, ValueError) as error:
        raise ValueError(f"{path}: not a checkpoint, or a damaged one ({_one_line(error)})") from error


class ArraysOnly(pickle.Unpickler):
    """Unpickles numbers, text, plain containers and numpy arrays, and refuses whatever else a pickle asks for."""

    ALLOWED = frozenset(
        [("collections", "OrderedDict"), ("_codecs", "encode"), ("numpy", "ndarray"), ("numpy", "dtype")]
        + [(f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in ("_reconstruct", "scalar")]
    )

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return super().find_class(module, name)


def _read_pickle(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            return ArraysOnly(file, encoding="latin1").load()
    except Exception as error:  # a broken pickle raises anything
        raise ValueError(f"{path}: not a Caffe2 checkpoint, or a damaged one ({_one_line(error)})") from error


def _tensors(weights: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors and arrays among `weights`, without the wrappers' prefixes."""
    tensors = {name: value for name, value in weights.items() if isinstance(value, Tensor)}
    for name, value in weights.items():
        if type(value).__name__ == "ndarray" and value.dtype.kind == "f":
            tensors[name] = torch.from_numpy(value)
    while tensors and (prefix := _common_prefix(tensors)):
        tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors


def _common_prefix(names: Iterable[str]) -> str:
    return next((prefix for prefix in WRAPPERS if all(name.startswith(prefix) for name in names)), "")


def _recognized(theirs: Mapping[str, Tensor]) -> Format:
    """The format that knows all names.

    Raises:
        ValueError: there is none.
    """
    of_images = any(tensor.ndim == 4 for tensor in theirs.values())
    candidates = [known for known in FORMATS if known.of_images in (None, of_images)]
    strangers = [[name for name in theirs if known.names(name) is None] for known in candidates]
    unknown, closest = min(zip(strangers, candidates, strict=True), key=lambda pair: len(pair[0]))
    if len(unknown) == len(theirs):
        projects = ", ".join(dict.fromkeys(known.name for known in FORMATS))
        raise ValueError(f"weights of a project not known here ({shortened(unknown)}); expected one of {projects}")
    if unknown:
        raise ValueError(f"most weights are of {closest.name}, but not {len(unknown)}: {shortened(unknown)}")
    return closest


def _bring_to_our_shapes(weights: dict[str, Tensor]) -> list[str]:
    """In place; returns a note where something was added.

    Pointwise layers are (C_out, C_in) here, convolutions have an axis of time, and every projection of a Non-local
    block has a bias.
    """
    for name, tensor in list(weights.items()):
        if name.endswith("affinity.pair.weight"):
            halves = weights.pop(name).flatten().chunk(2)  # θ, φ
            weights |= dict(zip((name.replace("pair.weight", half) for half in ("query", "key")), halves, strict=True))
        elif (".after_" in name or name.startswith("head.")) and tensor.ndim > 2:
            weights[name] = tensor.flatten(1)
        elif tensor.ndim == 4:
            weights[name] = tensor.unsqueeze(2)  # (C_out, C_in, 1, h, w)
    projections = re.compile(r"(.+\.after_\w+\.(?:context\.(?:theta|phi|g)|transform\.0)\.)weight")
    layers = [match[1] for name in weights if (match := projections.fullmatch(name))]
    unbiased = [layer for layer in layers if f"{layer}bias" not in weights]
    for layer in unbiased:
        weight = weights[f"{layer}weight"]
        weights[f"{layer}bias"] = weight.new_zeros(len(weight))
    return [f"{len(unbiased)} layers of Non-local blocks are without a bias there, and have one of zero here"] * bool(
        unbiased
    )


def _stored_config(stored: Mapping[str, Any]) -> str:
    """The text of the config that PySlowFast and mmaction2 put into a checkpoint; empty where there is none."""
    meta = stored["meta"] if isinstance(stored.get("meta"), Mapping) else {}
    return next(
        (text for text in (stored.get("cfg"), meta.get("cfg"), meta.get("config")) if isinstance(text, str)), ""
    )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


# Loading ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What did not come from the weights, or had no place in the network."""

    missing: list[str]
    unexpected: list[str]
    reshaped: dict[str, tuple[tuple[int, ...], tuple[int, ...]]]  # shape in the weights, shape in the network

    def __str__(self) -> str:
        reshaped = [f"{name} {theirs} → {ours}" for name, (theirs, ours) in self.reshaped.items()]
        parts = {"missing": self.missing, "unexpected": self.unexpected, "reshaped": reshaped}
        return ", ".join(
            f"{len(names)} {part}" + f" ({shortened(names)})" * bool(names) for part, names in parts.items()
        )


def load_weights(
    net: nn.Module,
    state_dict: Mapping[str, Tensor],
    *,
    allow_new_head: bool = False,
    allow_new_blocks: bool = False,
) -> LoadReport:
    """Load weights by our names into `net`: all of them, or none where something does not fit.

    Args:
        allow_new_head: a classifier that is missing, or is for another number of classes, stays as `net` has it.
        allow_new_blocks: context blocks that the weights do not have, and blocks that stand in `net` where the weights
            have a convolution (self-calibrated ones), stay as `net` has them.

    Raises:
        ValueError: anything else is missing, unexpected or of another shape.
    """
    template = net.state_dict()
    report = LoadReport(
        missing=[name for name in template if name not in state_dict and not name.endswith(COUNTERS)],
        unexpected=[name for name in state_dict if name not in template],
        reshaped={
            name: (tuple(state_dict[name].shape), tuple(tensor.shape))
            for name, tensor in template.items()
            if name in state_dict and state_dict[name].shape != tensor.shape
        },
    )
    heads = {name for name in template if name.startswith("head.")} if allow_new_head else set()
    blocks, replaced = _new_blocks(report, state_dict) if allow_new_blocks else (set(), set())
    if set(report.unexpected) - replaced or set(report.missing) - heads - blocks or set(report.reshaped) - heads:
        raise ValueError(f"the weights do not fit the network: {report}")
    net.load_state_dict({name: state_dict[name] for name in state_dict if name not in report.reshaped}, strict=False)
    return report


def _new_blocks(report: LoadReport, state_dict: Mapping[str, Tensor]) -> tuple[set[str], set[str]]:
    """What is missing of context blocks and of blocks in a convolution's place, and the weights of that convolution."""
    blocks = {name for name in report.missing if re.search(r"\.after_(add|1x1)\.", name)}
    replaced = set()
    for name in report.unexpected:
        if name.endswith(".weight") and state_dict[name].ndim == 5:
            inside = {other for other in report.missing if other.startswith(name.removesuffix("weight"))}
            blocks |= inside
            replaced |= {name} if inside else set()
    return blocks, replaced


# Converting -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ConversionReport:
    """What was read, what it was taken for, and what did not fit."""

    source: Path
    output: Path
    checkpoint: Checkpoint
    net: dict[str, Any] | None
    num_classes: int
    loaded: LoadReport

    def __str__(self) -> str:
        lines = [
            f"{self.source}: weights of {self.checkpoint.format}",
            f"network: {_described(self.net) if self.net else 'as given'}",
            f"classes: {self.num_classes}",
            f"not taken over: {self.loaded}",
        ]
        if self.checkpoint.input:
            mean, std = map(list, self.checkpoint.input)
            lines.append(f"input: data.clips.mean {mean}, data.clips.std {std}")
        return "\n".join([*lines, *(f"note: {note}" for note in self.checkpoint.notes), f"written: {self.output}"])


def _described(value: Any) -> str:
    if not isinstance(value, Mapping) or "class_path" not in value:
        return str(value)
    arguments = ", ".join(f"{name} {_described(argument)}" for name, argument in value.get("init_args", {}).items())
    return value["class_path"].rpartition(".")[2] + f" ({arguments})" * bool(arguments)


def convert_checkpoint(
    path: str | Path,
    output: str | Path,
    *,
    num_classes: int | None = None,
    net: Callable[[int], nn.Module] | None = None,
    net_config: Mapping[str, Any] | None = None,
    trust: bool = False,
) -> ConversionReport:
    """Write a checkpoint of ours, which `torch.load(output, weights_only=True)` reads:

        format "videoctx", state_dict, net (class_path, init_args), num_classes, class_names, input (mean, std), source

    Args:
        num_classes: where other than the checkpoint's, the classifier is a new one.
        net: makes the network for a number of classes; by default the one that the weights are for, which for those of
            images is C2D. Context blocks that the weights do not have start as they do in `net`.
        net_config: `class_path` and `init_args` of `net`, to be stored.
        trust: see `read_checkpoint`.

    Raises:
        ValueError: the checkpoint cannot be read, its network cannot be told, or its weights do not fit `net`.
    """
    path, output = Path(path), Path(output)
    if not output.parent.is_dir():
        raise ValueError(f"{output.parent}: no such folder")
    if output.exists() and output.samefile(path):
        raise ValueError(f"{output}: is the checkpoint itself; expected another file")
    checkpoint = read_checkpoint(path, trust=trust)
    if net is None:
        net_config = checkpoint.net
    num_classes = num_classes or checkpoint.num_classes
    if num_classes is None:
        raise ValueError(f"{path}: has no classifier; say how many classes there are, with --num_classes")
    if net is None and net_config is None:
        raise ValueError(f"{path}: {checkpoint.unknown_net}; give the network with -c")
    same_classes = num_classes == checkpoint.num_classes
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # a new classifier is the same each time
            network = net(num_classes) if net else build_network(net_config, num_classes)
        weights = checkpoint.weights_for(network)
        loaded = load_weights(network, weights, allow_new_head=not same_classes, allow_new_blocks=True)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    torch.save(
        {
            "format": OURS.name,
            "state_dict": network.state_dict(),
            "net": net_config and dict(net_config),
            "num_classes": int(num_classes),  # not a subclass of int, which could not be read back
            "class_names": checkpoint.class_names if same_classes else None,
            "input": checkpoint.input and checkpoint.input._asdict(),
            "source": f"{path.name}, {checkpoint.format}",
        },
        output,
    )
    return ConversionReport(path, output, checkpoint, net_config, num_classes, loaded)
