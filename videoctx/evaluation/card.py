"""The card of a test or of a training: what is needed to run it again.

| field | content |
|---|---|
| `data` | the card of the data module (`card(stage)`): the manifest and its hash, the protocol, the decoder |
| `network` | of a test: the class, the depth and the context blocks of the network |
| `context_off` | of a test: the context blocks that `videoctx.tasks.ContextOff` switched off |
| `clip_differences` | of a test: the settings of its clips that are not those of the training, with both values |
| `videos` | of a test: the numbers of videos in the manifest, of those evaluated, and of those that could not be read |
| `ranks` | of a training: the number of ranks and of nodes |
| `checkpoint` | the path and the SHA-256 of the file that was evaluated, or that a training starts from |
| `versions` | of Python, of the libraries that decode, transform and compute, of CUDA and cuDNN |
| `seed` | of the task |
| `git` | the commit of the folder that the command ran in, and whether tracked files were changed |
| `code` | the same of this package; null where it is installed and not a working copy |
| `command`, `folder`, `time`, `host`, `device` | where and how the command ran |

A data module without a `card` leaves `data` empty. Of its fields, `num_videos` (the videos in the manifest) and
`clip_placement` (where in a video the clips start, `videoctx.evaluation.view_subset`) are used; the others are
stored as they are.
"""

import hashlib
import json
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from videoctx.atomic_write import atomic_write
from videoctx.evaluation.controls import controls

PACKAGES = ("videoctx", "torch", "torchvision", "lightning", "decord", "torchcodec", "av", "numpy")
GIT_SECONDS = 20.0


def make_card(
    *,
    data: Mapping[str, object],
    network: str,
    num_videos: int,
    num_failed: int,
    checkpoint: str | None,
    seed: int,
    device: torch.device,
    clip_differences: Mapping[str, object] | None = None,
    context_off: Sequence[str] = (),
) -> dict[str, object]:
    """Return the card of a test or of predictions.

    Args:
        data: the card of the data module, or an empty mapping.
        network: its name.
        num_videos: the number of evaluated videos, readable or not.
        num_failed: how many of them could not be read.
        checkpoint: the file with the network's weights.
        seed: of the task.
        device: on which the network ran.
        clip_differences: the settings of clips that are not those of the training, with both values.
        context_off: the names of context blocks that were switched off.
    """
    return {
        "data": dict(data),
        "network": network,
        "context_off": list(context_off),
        "clip_differences": dict(clip_differences or {}),
        "videos": {"listed": data.get("num_videos"), "evaluated": num_videos, "failed": num_failed},
        **_circumstances(checkpoint, seed, device),
    }


def make_training_card(
    *,
    data: Mapping[str, object],
    num_ranks: int,
    num_nodes: int,
    checkpoint: str | None,
    seed: int,
    device: torch.device,
) -> dict[str, object]:
    """Return the card of a training.

    Args:
        data: the data module's card of its training videos, or an empty mapping.
        num_ranks: the number of ranks on all nodes.
        num_nodes: the number of nodes.
        checkpoint: the file from which training resumes, or whose weights it starts from.
        seed: of the task.
        device: of this rank.
    """
    return {
        "data": dict(data),
        "ranks": {"all": num_ranks, "nodes": num_nodes},
        **_circumstances(checkpoint, seed, device),
    }


def _circumstances(checkpoint: str | None, seed: int, device: torch.device) -> dict[str, object]:
    return {
        "checkpoint": checkpoint and {"path": str(checkpoint), "sha256": file_hash(Path(checkpoint))},
        "versions": versions(),
        "seed": seed,
        "git": git_state(Path.cwd()),
        "code": git_state(Path(__file__).parent, tracked=__file__),
        "command": shlex.join(sys.argv),
        "folder": str(Path.cwd()),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "host": platform.node(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device.type),
    }


def write_card(card: Mapping[str, object], path: Path) -> None:
    """Write a card as JSON."""
    with atomic_write(path) as part:
        part.write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")


def describe_card(card: Mapping[str, Any]) -> str:
    """Return the most important fields of a card in one line."""
    data, videos, git = card["data"], card["videos"], card["git"]
    parts = []
    if data:
        views = "x".join(map(str, data["views"]))
        parts += [f"manifest {data['manifest_sha256'][:12]}", f"{data['protocol']} {views}"]
    parts += [f"control: {name}" for name in controls(card)]
    if videos["listed"] not in (None, videos["evaluated"]):
        parts.append(f"{videos['evaluated']} of {videos['listed']} videos")
    if card["checkpoint"]:
        parts.append(f"checkpoint {(card['checkpoint']['sha256'] or '-')[:12]}")
    if git:
        parts.append(f"commit {git['commit'][:12]}{' (changed)' if git['dirty'] else ''}")
    return ", ".join([*parts, f"torch {card['versions']['torch']}", card["device"]])


def file_hash(path: Path) -> str | None:
    """Return the SHA-256 of a file. None: there is no such file, as with a URL."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def versions() -> dict[str, str]:
    """Return the versions of Python, the installed libraries, CUDA and cuDNN."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    if torch.version.cuda:
        found["cuda"], found["cudnn"] = torch.version.cuda, str(torch.backends.cudnn.version())
    return found


def git_state(folder: Path, *, tracked: str | None = None) -> dict[str, object] | None:
    """Return the commit of the repository that a folder is in, and whether tracked files differ from it.

    None: the folder is not in a repository, or the repository does not track the file `tracked`.
    """

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=GIT_SECONDS).stdout.strip()

    try:
        if tracked:
            git("ls-files", "--error-unmatch", tracked)
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.SubprocessError):  # no git, no repository, or no commit in it
        return None
