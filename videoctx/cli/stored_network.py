"""The network and the clips of a checkpoint, for an evaluation whose command line names no network."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import yaml

from videoctx.cli.given_values import given_value
from videoctx.evaluation.run_folders import EVALUATIONS

FROM_TRAINING = {"state_dict", "class_names", "epoch"}  # keys of the checkpoints that a training writes


def with_stored_network(arguments: Sequence[str]) -> list[str]:
    """Return the arguments of an evaluation with the network and the clips that its checkpoint stores.

    They come first, so that whatever else is given stays as it is. A file with weights alone, as `videoctx convert` or
    `torch.save(net.state_dict(), …)` writes it, becomes that of `--model.weights`, also where a network is named. Other
    arguments are returned as they are.

    Args:
        arguments: the subcommand and its options, with the text of every config (`videoctx.cli.parts`).
    """
    command, *options = arguments or [""]
    path = given_value(options, "ckpt_path") or given_value(options, "model.weights")
    if command not in EVALUATIONS or not path or not Path(path).is_file() or not {"-h", "--help"}.isdisjoint(options):
        return list(arguments)
    stored, is_named = _content(path), _names_network(options)
    net = stored.get("net")
    if stored and not stored.keys() >= FROM_TRAINING and (is_named or isinstance(net, Mapping)):
        options = [option.replace("--ckpt_path", "--model.weights", 1) for option in options]
    if is_named or not isinstance(net, Mapping):
        return [command, *options]
    return [command, "-c", yaml.safe_dump({"model": {"net": dict(net)}} | _clips(stored)), *options]


def _content(path: str) -> Mapping[str, Any]:
    """Return what a checkpoint holds, whose tensors are not read. Empty: it cannot be read, which others report."""
    import torch

    from videoctx.models.checkpoint_file import read_stored

    try:
        stored = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception:  # an old file, a damaged one, or one that is no checkpoint
        try:
            stored = read_stored(path)
        except ValueError:
            return {}
    return stored if isinstance(stored, Mapping) else {}


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
        "data": {
            group: {field.name: own[field.name] for field in fields(kind) if field.name in own}
            for group, kind in groups.items()
        }
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
