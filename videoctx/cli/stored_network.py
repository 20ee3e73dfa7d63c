"""The network and the clips of a checkpoint, for an evaluation whose command line names no network."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import yaml

from videoctx.cli.given_values import given_value
from videoctx.data.annotations import CLASS_FILE
from videoctx.evaluation.run_folders import EVALUATIONS

FROM_TRAINING = {"state_dict", "class_names", "epoch"}  # keys of the checkpoints that a training writes


def with_stored_network(arguments: Sequence[str]) -> list[str]:
    """Return the arguments of an evaluation with the network, the clips and the classes that its checkpoint stores.

    They come first, so that whatever else is given stays as it is. A file with weights alone, as `videoctx convert` or
    `torch.save(net.state_dict(), …)` writes it, becomes that of `--model.weights`, also where a network is named. Other
    arguments are returned as they are.

    Args:
        arguments: the subcommand and its options, with the text of every config (`videoctx.cli.parts`).

    Raises:
        ValueError: no network is named, and the checkpoint is missing, damaged, or does not state its network.
    """
    command, *options = arguments or [""]
    path = given_value(options, "ckpt_path") or given_value(options, "model.weights")
    if command not in EVALUATIONS or not path or not {"-h", "--help"}.isdisjoint(options):
        return list(arguments)
    is_named = _names_network(options)
    if not Path(path).is_file():
        if is_named:
            return list(arguments)
        raise ValueError(f"{path}: no such checkpoint")
    stored = _content(path, is_needed=not is_named)
    knows_network = isinstance(stored.get("net"), Mapping)
    if not is_named and not knows_network:
        raise ValueError(
            f"{path}: does not state its network; expected -c or --model.net, or what `videoctx convert` makes of it"
        )
    if stored and not stored.keys() >= FROM_TRAINING:
        options = [option.replace("--ckpt_path", "--model.weights", 1) for option in options]
    known = _classes(stored, given_value(options, "data.manifest"))
    if not is_named:
        known = {"model": {"net": dict(stored["net"])}, "data": _clips(stored) | known}
    elif known:
        known = {"data": known}
    return [command, *(["-c", yaml.safe_dump(known)] if known else []), *options]


def _content(path: str, *, is_needed: bool) -> Mapping[str, Any]:
    """Return what a checkpoint holds, whose tensors are not read. Empty: it cannot be read, which others report.

    Raises:
        ValueError: it cannot be read, and is needed.
    """
    import torch

    from videoctx.models.checkpoint_file import read_stored

    try:
        stored = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception:  # an old file, a damaged one, or one that is no checkpoint
        try:
            stored = read_stored(path)
        except ValueError:
            if is_needed:
                raise
            return {}
    return stored if isinstance(stored, Mapping) else {}


def _classes(stored: Mapping[str, Any], manifest: str) -> dict[str, Any]:
    """Return what the classes are, as settings of the data, where the manifest has no class file beside it."""
    names = stored.get("class_names")
    if not isinstance(names, list) or not manifest or Path(manifest).with_name(CLASS_FILE).exists():
        return {}
    return {"class_file": [str(name) for name in names], "multi_label": stored.get("multi_label") is True}


def _clips(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that differ from those of the stored protocol, so that another protocol replaces the rest."""
    made = stored.get("preprocessing")
    if not isinstance(made, Mapping):
        return {}
    from videoctx.data.sampling.protocols import PROTOCOLS
    from videoctx.data.settings import ClipSettings, TestSettings

    rules = next((asdict(protocol) for name, protocol in PROTOCOLS.items() if name == made.get("protocol")), {})
    own = {name: _plain(value) for name, value in made.items() if name not in rules or value != rules[name]}
    groups = {"clips": ClipSettings, "test": TestSettings}
    return {
        group: {field.name: own[field.name] for field in fields(kind) if field.name in own}
        for group, kind in groups.items()
    }


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _names_network(options: Sequence[str]) -> bool:
    """Whether an option or a config names the network, or may do so."""
    for position, option in enumerate(options):
        if option.startswith("--model.net") or option in ("-h", "--help"):
            return True
        if option not in ("-c", "--config") or position + 1 == len(options):
            continue
        try:
            config = yaml.safe_load(options[position + 1])
        except yaml.YAMLError:
            return True
        if not isinstance(config, Mapping):
            return True
        model = config.get("model")
        if isinstance(model, Mapping) and "net" in model:
            return True
    return False
