"""The networks that the page offers, each with the blocks and layers in which it can be looked at."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from videoctx.evaluation.view_subset import Views
from videoctx.inference.classifier import Classifier, load
from videoctx.visualize.attention import attention_blocks
from videoctx.visualize.gradcam import video_layers


@dataclass
class ServedNetwork:
    """A trained network, and the name that the page gives it."""

    name: str
    trained: Classifier

    @cached_property
    def blocks(self) -> dict[str, str]:
        """The class of each block that has an attention map, by the name of the block."""
        return {name: type(block).__name__ for name, block in attention_blocks(self.trained.net).items()}

    @cached_property
    def layers(self) -> list[str]:
        """The layers for Grad-CAM."""
        made = self.trained.preprocessing
        size = made.crop_size_px
        return video_layers(self.trained.net, torch.zeros(1, 3, made.clip_len, size, size, device=self.trained.device))

    def describe(self) -> dict[str, object]:
        """Return what the page shows of the network."""
        parts = [name for name in self.layers if "." not in name]
        return {
            "name": self.name,
            "network": type(self.trained.net).__name__,
            "classes": self.trained.class_names,
            "views": str(Views(*self.trained.preprocessing.views)),
            "clips": self.trained.preprocessing.described_clips,
            "blocks": [{"name": name, "kind": kind} for name, kind in self.blocks.items()],
            "parts": parts,
            "layers": [name for name in self.layers if "." in name],
        }


def load_networks(checkpoints: Sequence[str]) -> list[ServedNetwork]:
    """Load checkpoints onto the GPU if there is one, and run each network once, so that the first video does not wait.

    Raises:
        ValueError: see `videoctx.load`.
    """
    networks = [ServedNetwork(name, load(path)) for name, path in zip(_names(checkpoints), checkpoints, strict=True)]
    for network in networks:
        network.trained.to("cuda" if torch.cuda.is_available() else "cpu")
        network.trained.for_evaluation()
        _ = network.layers
    return networks


def _names(checkpoints: Sequence[str]) -> list[str]:
    """Return the ends of the paths that tell the checkpoints apart.

    >>> _names(["runs/nl/best.ckpt", "runs/gc/best.ckpt"]), _names(["a.ckpt", "a.ckpt"])
    (['nl/best.ckpt', 'gc/best.ckpt'], ['a.ckpt', 'a.ckpt (2)'])
    """
    parts = [Path(path).parts for path in checkpoints]
    names = [""] * len(parts)
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-length:]) for part in parts]
        if len(set(names)) == len(set(parts)):
            break
    return [name + (f" ({names[:i].count(name) + 1})" if name in names[:i] else "") for i, name in enumerate(names)]
