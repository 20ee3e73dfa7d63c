"""`videoctx bench model`: all ways are measured, on small networks. The times are not checked."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.each_case import each_case
from videoctx.bench import model_speed
from videoctx.bench.model_measurements import BF16_LAST, PEER_WAYS, WAYS, Measurements, Options, Row, Ways
from videoctx.bench.model_report import report, what_helps
from videoctx.bench.model_speed import ModelBench
from videoctx.bench.peak_memory import peak_bytes
from videoctx.bench.pytorchvideo_network import pytorchvideo_network
from videoctx.cli import main
from videoctx.layers import GlobalContext
from videoctx.models import CSN, X3D, R2Plus1D, ResNet3D, SlowFast
from videoctx.models.inference import emulates_bf16

CONFIG = """
model:
  net:
    class_path: videoctx.models.ResNet3D
    init_args: {depth: 50, width: 8, temporal_kernels: %s, pool2_t: [2, 2]}
"""
KINDS = {"i3d": (2, 2), "c2d": (2, 2), "slow": (1, 1)}


def small(kind: str, **arguments) -> Callable[[int], nn.Module]:
    return lambda num_classes: ResNet3D(
        num_classes, **{"width": 8, "temporal_kernels": kind, "pool2_t": KINDS[kind], "dropout": 0.0} | arguments
    )


def bench(make_net: Callable[[int], nn.Module], **arguments) -> Measurements:
    defaults = {"batch_size": 1, "size": 32, "num_classes": 5, "rounds": 1, "compiled": False, "device": "cpu"}
    return ModelBench(make_net, **defaults | arguments).run()


# The whole bench --------------------------------------------------------------------------------------------------


needs_bf16 = pytest.mark.skipif(
    emulates_bf16(torch.device("cpu")), reason="this CPU emulates bfloat16, which is not measured then"
)


@pytest.mark.slow
@needs_bf16
def test_both_networks_are_measured_from_a_config(tmp_path, capsys):
    (config := tmp_path / "net.yaml").write_text(CONFIG % "i3d")
    json_file = tmp_path / "speed.json"
    small_run = {"size": 32, "num_classes": 5, "batch_size": 2, "rounds": 1, "compiled": "false", "device": "cpu"}
    options = {"against": "pytorchvideo", "json": json_file, **small_run}
    main(["bench", "model", "-c", str(config), *(f"--{name}={value}" for name, value in options.items())])
    written = json.loads(json_file.read_text())
    assert set(written["ratios"]) == {
        "inference_vs_peer",
        "inference_vs_peer_bf16",
        "inference_vs_peer_same_precision",
        "inference_vs_matmul_peak",
        "train_vs_peer",
        "train_vs_peer_bf16",
        "train_vs_peer_same_precision",
        "train_vs_matmul_peak",
        "nl5_vs_plain_train",
    }
    assert all(ratio > 0 for ratio in written["ratios"].values())
    assert written["logits_differ"] < 1e-4
    assert written["settings"]["batch_size"] == 2
    measured = {(row["work"], row["network"], row["way"]) for row in written["rows"]}
    for work, ways in WAYS.items():
        assert {(work, "ours", way.name) for way in ways if not way.compiled} < measured
        for way in PEER_WAYS:
            assert (work, "PyTorchVideo", way.name) in measured
    for row in written["rows"]:
        assert row["seconds"] > 0
        assert row["peak_bytes"] > 0
        assert row["clips_per_second"] == pytest.approx(2 / row["seconds"])
    assert written["macs"]["training"] == 3 * written["macs"]["inference"]
    peaks = {(row["work"], row["way"]): row["peak_bytes"] for row in written["rows"] if row["network"] == "ours"}
    assert peaks["training", "float32"] > 2 * peaks["inference", "float32"]
    assert peaks["training", "bfloat16"] < peaks["training", "float32"]
    printed = capsys.readouterr().out
    for part in ("PyTorchVideo", "channels_last", "inference_vs_peer", "NL5", "logits differ"):
        assert part in printed


@pytest.mark.slow
@needs_bf16
def test_what_is_not_measured_has_a_note():
    measured = bench(
        small("i3d", context=GlobalContext, context_at={"res3": [1]}), clip_len=4, against_pytorchvideo=True
    )
    about_peer, about_bf16, about_nl5 = measured.notes
    assert "PyTorchVideo has no network of this architecture: i3d_r50 has other weights" in about_peer
    assert "gradients of" in about_bf16
    assert "res3.1 has a context block after_add already" in about_nl5
    assert {row.network for row in measured.rows} == {"ours"}
    assert not any(row.options.bf16 for row in measured.rows if row.work == "training")
    assert set(measured.ratios()) == {"inference_vs_matmul_peak", "train_vs_matmul_peak"}
    assert measured.logits_differ is None


def pooled(num_classes: int) -> nn.Module:
    """Return a network that compiles quickly."""
    return nn.Sequential(
        nn.Conv3d(3, 4, 1), nn.BatchNorm3d(4), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(4, num_classes)
    )


@pytest.mark.slow
def test_activation_checkpointing_takes_twice_the_clips_in_less_memory_per_clip():
    ways: Ways = {"inference": (), "training": (Options(), Options(checkpointing=True))}
    plain, checkpointing = bench(small("c2d", depth=18, width=16), ways=ways, batch_size=2, nl5=False).rows
    assert (plain.batch_size, checkpointing.batch_size) == (2, 4)
    assert checkpointing.clips_per_second == pytest.approx(4 / checkpointing.seconds)
    assert checkpointing.peak_bytes < 1.7 * plain.peak_bytes
    assert [row.options for row in bench(pooled, ways=ways, nl5=False).rows] == [Options()]  # it has no stages


def test_emulated_bfloat16_is_not_measured(monkeypatch):
    monkeypatch.setattr(model_speed, "emulates_bf16", lambda _: True)
    measured = bench(small("c2d"), nl5=False, against_pytorchvideo=True)
    assert measured.notes == ["bfloat16 is not measured: this device emulates it, many times slower than float32"]
    ways = {(row.work, row.network, row.way) for row in measured.rows}
    assert ways == {
        ("inference", "PyTorchVideo", "float32"),
        ("inference", "ours", "float32"),
        ("inference", "ours", "float32, channels_last"),
        ("inference", "ours", "float32, channels_last, folded"),
        ("training", "PyTorchVideo", "float32"),
        ("training", "ours", "float32"),
        ("training", "ours", "float32, channels_last"),
        ("training", "ours", "float32, channels_last, fused"),
    }
    assert set(measured.matmul_peak) == {"float32"}
    assert {"inference_vs_peer", "train_vs_peer"} < set(measured.ratios())
    assert not any("bf16" in name for name in measured.ratios())


@pytest.mark.slow
@needs_bf16
def test_compiled_ways_are_measured_on_request():
    measured = bench(pooled, compiled=True)
    if any("torch.compile is not measured" in note for note in measured.notes):
        pytest.skip("no C++ compiler for torch.compile")
    for work, ways in WAYS.items():
        assert [row.options for row in measured.rows if row.work == work] == list(ways)
    assert {option for _, option, _, _ in measured.gains()} >= {"compiled", "fused", "folded"}


def test_a_compiler_that_fails_has_a_note(monkeypatch):
    def fail(*_):
        raise RuntimeError("no compiler\nlong explanation")

    monkeypatch.setattr(torch, "compile", lambda *_, **__: fail)
    measured = bench(pooled, compiled=True)
    assert not any(row.options.compiled for row in measured.rows)
    assert measured.notes.count("torch.compile is not measured, as it fails here: no compiler") == 2


def test_an_unknown_device_is_refused():
    with pytest.raises(ValueError, match="device is 'tpu'; expected cpu"):
        bench(small("c2d"), device="tpu")


# The peer ---------------------------------------------------------------------------------------------------------


@each_case("kind", KINDS)
@torch.no_grad()
def test_the_peer_gives_the_same_logits(kind):
    net, clip = small(kind)(7).eval(), torch.randn(2, 3, 8, 64, 64)
    before = net(clip)
    peer = pytorchvideo_network(net, 7, clip)
    theirs = peer(clip)
    assert type(peer).__module__.startswith("pytorchvideo")
    assert not torch.allclose(before, theirs, atol=1e-3)
    torch.testing.assert_close(net(clip), theirs, rtol=1e-4, atol=1e-4 * theirs.abs().max().item())


@each_case(
    ("make", "shape"),
    [
        (partial(SlowFast, width=8), (8, 32, 32)),
        (partial(SlowFast, width=8, alpha=8, fusion_kernel_t=5), (16, 32, 32)),
        (X3D, (4, 48, 64)),
        (partial(CSN, width=8), (4, 32, 48)),
        (partial(R2Plus1D, width=8), (4, 32, 32)),
    ],
)
@torch.no_grad()
def test_the_peer_of_a_family_gives_the_same_logits(make, shape):
    net, clip = make(7).eval(), torch.randn(2, 3, *shape)
    before = net(clip)
    theirs = pytorchvideo_network(net, 7, clip)(clip)
    assert not torch.allclose(before, theirs, atol=1e-3)
    torch.testing.assert_close(net(clip), theirs, rtol=1e-4, atol=1e-4 * theirs.abs().max().item())


@each_case(
    ("net", "reason"),
    [
        (small("i3d", pool2_t=(1, 1)), "i3d_r50 has the same weights and other strides or pooling"),
        (small("i3d", depth=18), "i3d_r50 has other weights; c2d_r50 has other weights; slow_r50 has other weights"),
        (lambda _: nn.Linear(2, 2), "no Linear of ours; expected one of ResNet3D, SlowFast, X3D, CSN, R2Plus1D"),
        (partial(SlowFast, width=8, alpha=2), "no SlowFast with alpha 2; expected 4 or 8"),
    ],
)
def test_a_network_that_pytorchvideo_does_not_have_is_refused(net, reason):
    with pytest.raises(ValueError, match=reason):
        pytorchvideo_network(net(7).eval(), 7, torch.randn(1, 3, 8, 32, 32))


# Ratios and gains -------------------------------------------------------------------------------------------------


def row(work: str, network: str, options: Options, seconds: float) -> Row:
    return Row(work, network, options.name, options, seconds, 1 / seconds, 0.5, 1)


def measurements() -> Measurements:
    folded = BF16_LAST._replace(folded=True)
    rows = [
        row("inference", "PyTorchVideo", Options(), 12.0),
        row("inference", "PyTorchVideo", BF16_LAST, 6.0),
        row("inference", "ours", Options(), 10.0),
        row("inference", "ours", BF16_LAST, 4.0),
        row("inference", "ours", folded, 2.0),
        row("training", "PyTorchVideo", Options(), 20.0),
        row("training", "PyTorchVideo", BF16_LAST, 10.0),
        row("training", "ours", Options(), 4.0),
        row("training", "ours", BF16_LAST, 5.0),
        row("training", "NL5", BF16_LAST, 6.0),
    ]
    settings = {"batch_size": 1, "clip_len": 8, "size": 224, "device": "any"}
    return Measurements(settings, {"float32": 1e12}, {"inference": 1, "training": 3}, rows, 1e-6)


def test_ratios_are_of_our_fastest_way():
    assert measurements().ratios() == {
        "inference_vs_peer": pytest.approx(6.0),
        "inference_vs_peer_same_precision": pytest.approx(3.0),
        "inference_vs_matmul_peak": 0.5,
        "train_vs_peer": pytest.approx(5.0),
        "train_vs_peer_same_precision": pytest.approx(2.0),
        "train_vs_matmul_peak": 0.5,
        "nl5_vs_plain_train": pytest.approx(1.2),
    }


def test_a_gain_compares_two_ways_that_differ_in_one_option():
    assert list(measurements().gains()) == [("inference", "folded", "bfloat16, channels_last", 2.0)]
    assert what_helps(measurements()) == ["inference: folded ×2.00 on bfloat16, channels_last: on"]


def test_the_report_is_written(tmp_path: Path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    report(measurements(), tmp_path / "speed.json")
    written = json.loads((tmp_path / "speed.json").read_text())
    assert written["gains"] == [{"work": "inference", "option": "folded", "on": "bfloat16, channels_last", "gain": 2.0}]
    assert written["rows"][0]["options"]["bf16"] is False
    assert "evaluation: PyTorchVideo in float32" in " ".join(capsys.readouterr().out.split())


def test_peak_memory_counts_what_is_allocated_at_once():
    def run() -> None:
        first = torch.zeros(1 << 20)
        del first
        second = torch.zeros(1 << 20)
        third = torch.zeros(1 << 18)
        del second, third

    assert peak_bytes(run, "cpu") == 4 * ((1 << 20) + (1 << 18))
