"""Converting a published checkpoint to one that `videoctx.load` and every command of videoctx takes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from videoctx.atomic_write import atomic_write
from videoctx.data.preprocessing import Preprocessing
from videoctx.inference.published_preprocessing import published_preprocessing
from videoctx.models.checkpoint_formats import IMAGES, OURS
from videoctx.models.checkpoints import Checkpoint, read_checkpoint
from videoctx.models.class_order import class_differences, reorder_classifier
from videoctx.models.dataset_classes import read_class_names
from videoctx.models.load_weights import LoadReport, load_weights
from videoctx.models.network_config import build_network, import_from_package, network_config
from videoctx.models.published_clip import published_clip

# Arguments of networks that leave no trace in weights.
NOT_IN_WEIGHTS = (
    *("conv1_stride_t", "pool1_t", "pool1_padded", "pool2_t", "stage_stride_t", "stride_at"),
    *("first_conv", "first_conv_every", "norm_eps"),
    *("alpha", "slow_frames", "window_size"),  # of SlowFast and X3D
)


@dataclass(frozen=True, slots=True)
class ConversionReport:
    """A report of what was read, and of what did not fit. As text, it is what `videoctx convert` prints.

    Attributes:
        source: the file that was read.
        output: the file that was written.
        checkpoint: what was read.
        net: config of the network. None: a network of the user's own.
        num_classes: number of outputs.
        class_names: None: not known.
        preprocessing: how clips are made.
        loaded: what did not come from the weights, or had no place in the network.
    """

    source: Path
    output: Path
    checkpoint: Checkpoint
    net: dict[str, Any] | None
    num_classes: int
    class_names: list[str] | None
    preprocessing: Preprocessing
    loaded: LoadReport

    def __str__(self) -> str:
        made = self.preprocessing
        lines = [
            f"{self.source}: weights of {self.checkpoint.format}",
            f"network: {_described(self.net) if self.net else 'as given'}",
            f"classes: {self.num_classes}" + ("" if self.class_names else ", without names (--class_names gives them)"),
            f"clips: {made.described_clips}, protocol {made.protocol}",
            f"test: {made.views[0]}x{made.views[1]} views of {made.crop_size_px} pixels",
            f"not loaded: {self.loaded}",
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
    class_names: str | Path | Sequence[str] | None = None,
    net: Callable[[int], nn.Module] | None = None,
    protocol: str | None = None,
    clip_len: int | None = None,
    frame_interval: int | None = None,
    sampling: str | None = None,
    trust: bool = False,
) -> ConversionReport:
    """Convert a checkpoint of PyTorchVideo, PySlowFast, mmaction2, GluonCV, TSM, 3D-ResNets, torchvision or videoctx.

    The output has the keys format, state_dict, net (class_path, init_args), num_classes, class_names, preprocessing,
    multi_label, input (mean, std) and source. `torch.load(output, weights_only=True)` reads it.

    Args:
        path: The checkpoint.
        output: The file to write.
        num_classes: Number of outputs. Where it is not that of the checkpoint, the classifier is a new one.
        class_names: One name per class; or a file with one name per line; or kinetics400, kinetics600, kinetics700 or
            imagenet.
        net: Makes the network for a number of classes. None: the network that the weights are for, which is C2D for
            weights of images. Context blocks that the weights do not have start as the network without them, where
            they can.
        protocol: How clips are made. None: as in the checkpoint, or as in the project's own test.
        clip_len: T, frames per clip. None: as stored, or as the file is named, or 8.
        frame_interval: Distance between the frames of a clip. None: as for `clip_len`.
        sampling: What a clip is: dense, segments or uniform (`videoctx.data.sampling`). None: as stored, or dense.
        trust: Also read Caffe2's pickles. Only arrays and plain containers are taken from them.

    Raises:
        ValueError: The checkpoint cannot be read, its network cannot be inferred, its weights do not fit `net`, or the
            number of names is not the number of classes.

    >>> import tempfile
    >>> from videoctx.models import create_model
    >>> net = create_model("demo_r18", num_classes=2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     torch.save(net.state_dict(), f"{folder}/weights.pth")
    ...     report = convert_checkpoint(f"{folder}/weights.pth", f"{folder}/net.pt", class_names=["left", "right"])
    >>> report.class_names
    ['left', 'right']
    """
    path, output = Path(path), Path(output)
    _check_output(path, output)
    checkpoint = read_checkpoint(path, trust=trust)
    num_classes = num_classes or checkpoint.num_classes
    if num_classes is None:
        raise ValueError(f"{path}: has no classifier; give the number of classes with --num_classes")
    same_classes = num_classes == checkpoint.num_classes
    names = checkpoint.class_names if same_classes and class_names is None else None
    if class_names is not None:
        names = _given_names(class_names, path, num_classes)
    if net is None and checkpoint.net is None:
        raise ValueError(f"{path}: {checkpoint.unknown_net}; give the network with -c")
    try:
        preprocessing = published_preprocessing(checkpoint, path.name, protocol, clip_len, frame_interval, sampling)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # a new classifier is the same each time
            network = net(num_classes) if net else build_network(checkpoint.net or {}, num_classes)
        weights = checkpoint.weights_for(network)
        if same_classes and names and checkpoint.class_names:
            weights, renamed = _renamed_classes(network, weights, checkpoint.class_names, names)
            checkpoint.notes.extend(renamed)
        checkpoint.notes.extend(_guessed_clip(checkpoint, path.name, clip_len))
        loaded = load_weights(network, weights, allow_new_head=not same_classes, allow_new_blocks=True)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    config = network_config(network)
    if net:
        kept = [note for note in checkpoint.notes if note not in checkpoint.notes_on_net]
        checkpoint = replace(checkpoint, notes=[*kept, *_given_instead_of_published(checkpoint, config)])
    stored = {
        "format": OURS.name,
        "state_dict": network.state_dict(),
        "net": config,
        "num_classes": int(num_classes),  # not a subclass of int, which torch.load would refuse
        "class_names": names,
        "multi_label": checkpoint.multi_label,
        "preprocessing": preprocessing.as_dict(),
        "input": checkpoint.input and checkpoint.input._asdict(),
        "source": f"{path.name}, {checkpoint.format}",
    }
    with atomic_write(output) as part, part.open("wb") as file:  # torch's own writer raises errors without a reason
        torch.save(stored, file)
    described = config if net else checkpoint.net  # what is inferred also has the arguments with default values
    return ConversionReport(path, output, checkpoint, described, num_classes, names, preprocessing, loaded)


def _check_output(path: Path, output: Path) -> None:
    """Raise a ValueError if the output cannot be written, or is the checkpoint at `path`."""
    if not output.parent.is_dir():
        raise ValueError(f"{output.parent}: no such folder")
    if output.exists() and path.exists() and output.samefile(path):
        raise ValueError(f"{output}: is the checkpoint itself; expected another file")


def _given_names(class_names: str | Path | Sequence[str], path: Path, num_classes: int) -> list[str]:
    """Return the names that are given for the classes of the checkpoint at `path`.

    Raises:
        ValueError: Their number is not that of the classes.
    """
    from_file = isinstance(class_names, str | Path)
    names = read_class_names(class_names) if isinstance(class_names, str | Path) else list(class_names)
    if len(names) != num_classes:
        source = class_names if from_file else "class_names"
        raise ValueError(f"{source} has {len(names)} class names, but {path} has {num_classes} classes")
    return names


def _given_instead_of_published(checkpoint: Checkpoint, config: Mapping[str, Any] | None) -> list[str]:
    """Return a note on what leaves no trace in weights, where a given network has it otherwise than the published."""
    if not config or not checkpoint.net or checkpoint.format is OURS:
        return []
    if config["class_path"] != checkpoint.net["class_path"]:
        return []
    network = import_from_package(config["class_path"])
    defaults = {name: parameter.default for name, parameter in signature(network).parameters.items()}
    published, given = (defaults | dict(one.get("init_args", {})) for one in (checkpoint.net, config))
    other = [
        f"{name} {_plain(given[name])} instead of {_plain(published[name])}"
        for name in NOT_IN_WEIGHTS
        if name in given and _plain(given[name]) != _plain(published[name])
    ]
    return [f"the network is as given, and differs from the published one in {', '.join(other)}"] if other else []


def _plain(value: Any) -> str:
    return _described(list(value) if isinstance(value, tuple) else value)


def _renamed_classes(
    network: nn.Module, weights: dict[str, Tensor], stored: Sequence[str], given: Sequence[str]
) -> tuple[dict[str, Tensor], list[str]]:
    """Return weights for the given names, and what is done to those that the checkpoint has."""
    differences = class_differences(stored, given, ours="stored", theirs="given")
    if not differences:
        return weights, []
    if sorted(stored) == sorted(given):
        note = f"{differences}; the rows of the classifier were brought to the order that is given"
        return reorder_classifier(network, weights, stored, given), [note]
    return weights, [f"the stored classes get other names, in their order: {differences}"]


def _guessed_clip(checkpoint: Checkpoint, file_name: str, clip_len: int | None) -> list[str]:
    """Return a note on clips that nothing tells. Empty: they are told or given, or the weights are of images."""
    clip = published_clip(checkpoint.format, checkpoint.config_text, file_name, checkpoint.net)
    if clip_len or checkpoint.preprocessing or clip.is_told or checkpoint.format is IMAGES:
        return []
    frames = f"{clip.clip_len} segments" if clip.sampling == "segments" else f"{clip.clip_len}x{clip.frame_interval}"
    return [
        f"clips of {frames} are usual in {checkpoint.format.project}, and neither a stored config nor a file name such"
        " as SLOW_8x8_R50.pyth tells them; --clip_len and --frame_interval set others"
    ]
