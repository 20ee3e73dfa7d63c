"""Every kind of context block and network in configs/model can be exported, and the file computes the same."""

from contextlib import suppress

import pytest
import torch
from torch import nn

from videoctx.inference.deployable import exportable
from videoctx.inference.exported_file import read, write
from videoctx.layers import DisentangledNonLocal, NonLocal
from videoctx.models import list_models
from videoctx.models.network_config import build_network
from videoctx.shipped_configs import find_config, read_config

HARD = {  # blocks whose own kernels no other runtime has
    "concatenation": lambda channels: NonLocal(channels, affinity="concatenation"),
    "disentangled": DisentangledNonLocal,
    "embedded_gaussian": NonLocal,
}


def differences(net: nn.Module, clips: torch.Tensor, folder) -> dict[str, float]:
    """The greatest relative difference of the output, by format, for more clips than were traced."""
    torch.manual_seed(0)
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.2)
    net = net.eval()
    with torch.no_grad():
        expected = net(clips)
    assert expected.isfinite().all()
    found = {}
    for format, suffix in (("torch-export", ".pt2"), ("onnx", ".onnx")):
        write(folder / f"net{suffix}", exportable(net), clips[:2], format=format, metadata={})
        run, _ = read(folder / f"net{suffix}", format=format)
        found[format] = float((run(clips) - expected).abs().max() / expected.abs().max())
    return found


def test_blocks_with_kernels_of_their_own(tmp_path):
    """One after the other, as tracing is slow."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    blocks = nn.Sequential(*(make_block(4) for make_block in HARD.values()))
    found = differences(blocks, torch.randn(3, 4, 2, 4, 4), tmp_path)
    assert max(found.values()) < 1e-5, found


def networks_of_every_kind() -> list[str]:
    """The names of networks that together have every context block, convolution, kernel and position of configs/model.

    Small networks come first. Another number, such as a depth or a width, of the same layers is no other kind.
    """
    chosen, seen = [], set()
    for name in sorted(list_models(), key=lambda name: (not name.startswith("relations"), size(name), name)):
        net = config_of(name)
        kinds = {
            net["class_path"],
            *(kind(key, value) for key, value in net["init_args"].items() if key != "context_at"),
        }
        if kinds - seen:
            chosen.append(name)
            seen |= kinds
    return chosen


def kind(key: str, value: object) -> str:
    if isinstance(value, dict):
        return f"{key} {value['class_path']}"
    return f"{key} {value}" if isinstance(value, str) else key


def size(name: str) -> tuple[float, float]:
    arguments = config_of(name)["init_args"]
    return arguments.get("depth", 50), arguments.get("depth_factor", 0)


def config_of(name: str) -> dict:
    return read_config(find_config(name, group="model"))["model"]["net"]


def small_network(name: str) -> nn.Module:
    """A network with the layers of a config: narrow, and with as few blocks as they need."""
    arguments, (depth, factor) = config_of(name)["init_args"], size(name)
    arguments |= {"width_factor": 0.5} if factor else {"width": 16}
    if "depth" in arguments and depth > 18:
        few = arguments | {"depth": 18}
        if "context_at" in arguments:
            few["context_at"] = {stage: [0, 1] for stage in arguments["context_at"]}
        with suppress(ValueError):  # it needs bottlenecks, or more channels than basic blocks have
            return build_network(config_of(name) | {"init_args": few}, 3)
        arguments |= {"depth": 50}
    return build_network(config_of(name) | {"init_args": arguments}, 3)


@pytest.mark.slow
@pytest.mark.parametrize("name", networks_of_every_kind())
def test_a_network_of_every_kind(tmp_path, name):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    found = differences(small_network(name), torch.randn(3, 3, 8, 128, 128), tmp_path)
    assert max(found.values()) < 1e-4, found
