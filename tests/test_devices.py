"""What a machine lacks is one line: no GPU, too little memory, no bfloat16, no page-locked memory.

Only what a machine reports about itself is replaced.
"""

import logging

import pytest
import torch
from lightning.pytorch import Callback

from tests.each_case import each_case
from tests.tasks.synthetic_runs import classifier, synthetic_clips, trainer
from videoctx.bench.model_speed import ModelBench
from videoctx.cli import main
from videoctx.cli.gpu_errors import unusable_gpu
from videoctx.cli.memory import what_to_change
from videoctx.data.loading import page_locking
from videoctx.models import inference
from videoctx.tasks import precision as run_precision
from videoctx.tasks.precision import warn_of_emulated_bf16
from videoctx.user_error import is_out_of_memory

OUT_OF_MEMORY = (
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 15.77 GiB of which 1.2 GiB is free."
)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_run_on_a_gpu_that_is_not_there_is_one_line(refused):
    for arguments in (["--trainer.accelerator=gpu"], ["-c", "gpu"], ["-c", "ddp_8gpu"]):
        assert "gpu" in refused("fit", *arguments).lower(), arguments


@pytest.mark.parametrize("device", ["cuda", "cuda:0", "cpu:1", "mps", ""])
def test_a_bench_names_the_devices_that_are_there(device, monkeypatch):
    def line(num_gpus):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: num_gpus > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: num_gpus)
        with pytest.raises(ValueError, match="device is") as caught:
            ModelBench(classifier, device=asked).run()
        return str(caught.value)

    asked = device
    assert line(0) == f"device is {device!r}; expected cpu"
    asked = "cuda:7"
    assert line(2) == "device is 'cuda:7'; expected cpu or cuda or cuda:0 or cuda:1"


class Fails(Callback):
    """Raises the error of a GPU that is full."""

    def __init__(self, stage):
        self.stage = stage

    def on_train_batch_start(self, *_):
        self._fail("training")

    def on_validation_batch_start(self, *_):
        self._fail("validation")

    def _fail(self, stage):
        if stage == self.stage:
            raise torch.OutOfMemoryError(OUT_OF_MEMORY)


@each_case(
    ("stage", "processed"),
    [("training", "a batch of a device is 4 clips of 4 × 32 × 32"), ("validation", "model.views_per_forward is 8")],
)
def test_a_full_gpu_is_one_line_with_the_clips_and_the_settings_that_need_less(tmp_path, stage, processed):
    with pytest.raises(torch.OutOfMemoryError) as caught:
        trainer(tmp_path, Fails(stage)).fit(classifier(), synthetic_clips(1))
    assert is_out_of_memory(caught.value)
    line = what_to_change(caught.value, trains=True)
    start = (
        f"out of memory (CUDA out of memory. Tried to allocate 2.00 GiB; {processed}); expected less of data.batch_size"
    )
    assert line.startswith(start)
    assert "\n" not in line


def test_other_commands_name_other_settings():
    line = what_to_change(torch.OutOfMemoryError(OUT_OF_MEMORY), trains=False)
    assert line.startswith(
        "out of memory (CUDA out of memory. Tried to allocate 2.00 GiB); expected more memory, fewer"
    )
    assert "data.batch_size" not in line


def test_a_gpu_without_bfloat16_has_a_line(monkeypatch, caplog):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda *_: "Tesla T4")
    line = "trainer.precision is bf16-mixed, which Tesla T4 emulates slowly; 16-mixed and 32-true are faster there"
    cases = [
        (False, "bf16-mixed", "cuda", [line]),
        (True, "bf16-mixed", "cuda", []),
        (False, "16-mixed", "cuda", []),
    ]
    for supported, precision, device, expected in cases:
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda supported=supported, **_: supported)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            warn_of_emulated_bf16(precision, torch.device(device))
        assert [record.message for record in caplog.records] == expected, (supported, precision, device)


@each_case(
    ("capabilities", "precision", "warns"),
    [
        ({"avx512_bf16": False, "amx_bf16": False}, "bf16-mixed", True),
        ({"avx512_bf16": False, "amx_bf16": False}, "32-true", False),
        ({"avx512_bf16": True, "amx_bf16": False}, "bf16-mixed", False),
        ({"avx512_bf16": False, "amx_bf16": True}, "bf16-mixed", False),
        ({"neon": True}, "bf16-mixed", False),  # not known
        ({}, "bf16-mixed", False),  # of a torch that cannot tell
    ],
)
def test_a_cpu_without_bfloat16_has_a_line(monkeypatch, caplog, capabilities, precision, warns):
    monkeypatch.setattr(inference, "cpu_capabilities", lambda: capabilities)
    monkeypatch.setattr(run_precision, "cpu_capabilities", lambda: {"cpu_name": "an old CPU"})
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        warn_of_emulated_bf16(precision, torch.device("cpu"))
    line = "trainer.precision is bf16-mixed, which an old CPU emulates slowly; 32-true is faster there"
    assert [record.message for record in caplog.records] == [line] * warns


@each_case(
    ("error", "start"),
    [
        (
            RuntimeError("CUDA error: no kernel image is available for execution on the device\nlong"),
            "this torch has no",
        ),
        (
            RuntimeError("The NVIDIA driver on your system is too old (found version 11040)."),
            "the GPU's driver is too old",
        ),
        (AssertionError("Torch not compiled with CUDA enabled"), "this torch is built without CUDA"),
        (RuntimeError("CUDA error: device-side assert triggered"), None),
        (AssertionError("expected (B, C, *)"), None),
        (ValueError("CUDA error: no kernel image is available"), None),
    ],
)
def test_a_gpu_that_cannot_be_used_is_one_line(error, start):
    line = unusable_gpu(error)
    if start is None:
        assert line is None
    else:
        assert line.startswith(f"{start}")
        assert "; expected a torch and a driver for the card" in line
        assert "\n" not in line


def test_a_command_ends_with_that_line(monkeypatch, capsys):
    def fail(_):
        raise RuntimeError("CUDA error: no kernel image is available for execution on the device\nlong explanation")

    monkeypatch.setattr("videoctx.cli.bench.run_bench", fail)
    with pytest.raises(SystemExit) as stop:
        main(["bench"])
    assert stop.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_frames_that_cannot_be_page_locked_are_copied_as_they_are(monkeypatch, caplog):
    def refuse(_):
        raise RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported")

    page_locking._warn.cache_clear()
    monkeypatch.setattr(torch.Tensor, "pin_memory", refuse)
    frames = torch.zeros(2, 4, 4, 3, dtype=torch.uint8)
    assert all(page_locking.pinned(frames) is frames for _ in range(3))
    assert [record.message for record in caplog.records] == [
        "memory cannot be page-locked (CUDA error: out of memory), so copies to the GPU are slower; expected a larger"
        " `ulimit -l`"
    ]
