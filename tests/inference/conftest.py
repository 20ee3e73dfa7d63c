"""Fixtures: small trained networks and videos for them."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from tests.small_preprocessing import small_preprocessing
from tests.tiny_set import CLASSES, make_set
from videoctx.cli import main
from videoctx.models.network_config import build_network

PREPROCESSING = small_preprocessing()


def write_checkpoint(path: Path, context: str | None = None, changes: dict | None = None, **preprocessing) -> Path:
    """Write a checkpoint with random weights, as `fit` would; its predictions differ between videos."""
    torch.manual_seed(0)
    net = {"depth": 18, "width": 2, "zero_init_residual": False}
    if context:
        net |= {"context": {"class_path": f"videoctx.layers.{context}"}, "context_at": {"res3": [1], "res4": [0]}}
        if context == "GlobalContext":
            net["context"]["init_args"] = {"ratio": 0.5}
    config = {"class_path": "videoctx.models.ResNet3D", "init_args": net}
    made = build_network(config, len(CLASSES))
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    torch.nn.init.normal_(made.head.weight, std=0.05)
    stored = {
        "epoch": 1,
        "state_dict": {f"net.{name}": tensor for name, tensor in made.state_dict().items()},
        "class_names": CLASSES,
        "net": config,
        "preprocessing": small_preprocessing(**preprocessing).as_dict(),
    }
    torch.save(stored | (changes or {}), path)
    return path


@dataclass(frozen=True, slots=True)
class Network:
    checkpoint: Path
    videos: Path  # test0.mp4, test1.mp4, test2.mp4: 20 frames of 96 × 80 at 10 a second


@pytest.fixture(scope="session")
def network(tmp_path_factory) -> Network:
    folder = tmp_path_factory.mktemp("network")
    (folder / "videos").mkdir()
    make_set(folder / "videos", num_videos={"test": 3})
    return Network(write_checkpoint(folder / "plain.ckpt"), folder / "videos")


@pytest.fixture
def refused(capsys):
    """Return the one line with which a tool ends, without the program's name."""

    def refused(*arguments: object) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main([*map(str, arguments)])
        assert stop.value.code == 2
        (line,) = capsys.readouterr().err.splitlines()
        return line.removeprefix("videoctx: ")

    return refused
