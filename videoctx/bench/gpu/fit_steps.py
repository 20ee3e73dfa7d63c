"""Steps of the part `fit`: real runs of `videoctx fit` and `videoctx test` on synthetic videos."""

import csv
import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from videoctx.bench.gpu.network_steps import bare_forward
from videoctx.bench.gpu.results import StepResult, write_json
from videoctx.bench.gpu.sizes import Setting
from videoctx.bench.synthetic_videos import synthetic_videos
from videoctx.data.annotations import write_manifest

GOP = 16  # key frames as `data_prep.transcode` writes them
CLASSES = ("clap", "wave")


def one_device(setting: Setting) -> StepResult:
    """Train I3D-R50 on one device."""
    return _fit(setting, "one_gpu", ["gpu"] if _on_gpu(setting) else ["cpu"], num_devices=1)


def one_rank(setting: Setting) -> StepResult:
    """Train the same as the only rank of DDP."""
    return _fit(setting, "ddp_1", _ddp(setting), num_devices=1)


def all_ranks(setting: Setting) -> StepResult:
    """Train the same on every GPU, or on two CPU ranks."""
    return _fit(setting, "ddp_all", _ddp(setting), num_devices=torch.cuda.device_count() if _on_gpu(setting) else 2)


def _on_gpu(setting: Setting) -> bool:
    return setting.device.startswith("cuda")


def _ddp(setting: Setting) -> list[str]:
    return ["ddp_8gpu"] if _on_gpu(setting) else ["ddp_2cpu"]


def _fit(setting: Setting, name: str, trainer: list[str], *, num_devices: int) -> StepResult:
    run = _run(setting, "fit", name, trainer, ["--trainer.devices", str(num_devices)], num_devices=num_devices)
    # The first interval starts the processes, tunes cuDNN and compiles.
    rates, waits = (_column(run, f"train/{column}")[1:] for column in ("clips_per_second", "data_wait_fraction"))
    rate, wait = statistics.median(rates), statistics.mean(waits)
    num_workers = max(setting.num_workers // num_devices, 1)
    result = StepResult("done", figures={"clips_per_second": rate, "wait": wait, "num_devices": num_devices})
    result.rows = [
        (f"{num_devices} devices, batch {setting.sizes.batch_size} each", f"{rate:,.1f} clips/s"),
        (f"waiting for {num_workers} decoding processes per device", f"{wait:.1%} of the time"),
    ]
    result.details = {"clips_per_second": rates, "data_wait_fraction": waits}
    return result


def evaluation(setting: Setting) -> StepResult:
    """Evaluate the trained network on the views of the test protocol, and compare with the bare forward pass."""
    checkpoint = setting.folder / "runs" / "one_gpu" / "checkpoints" / "last.ckpt"
    if not checkpoint.is_file():
        return StepResult("failed", f"{checkpoint}: no such file; expected the step one_gpu before")
    run = _run(
        setting, "test", "evaluation", ["gpu"] if _on_gpu(setting) else ["cpu"], ["--ckpt_path", str(checkpoint)]
    )
    (rate,), (wait,) = (_column(run, f"test/{column}") for column in ("views_per_second", "data_wait_fraction"))
    bare = bare_forward(setting)
    clips, crops = setting.sizes.views
    result = StepResult("done", figures={"views_per_second": rate, "wait": wait, "bare_views_per_second": bare})
    result.rows = [
        (f"test with {clips} × {crops} views", f"{rate:,.1f} views/s, {rate / (clips * crops):,.2f} videos/s"),
        ("waiting for decoding processes", f"{wait:.1%} of the time"),
        ("of the bare forward pass", f"{rate / bare:.2f} of {bare:,.1f} views/s"),
    ]
    return result


def _run(
    setting: Setting, command: str, name: str, trainer: list[str], arguments: list[str], *, num_devices: int = 1
) -> Path:
    """Run a command of videoctx and return the folder of its run.

    Raises:
        RuntimeError: it fails. The message has its last line.
    """
    folder = setting.folder / "runs" / name
    if folder.exists():
        shutil.rmtree(folder)  # of a call that was interrupted
    config = setting.folder / f"{name}.yaml"
    write_json(config, _config(setting, name, num_devices))  # JSON is YAML
    arguments = [*arguments, f"--trainer.logger.init_args.name={name}"]
    configs = [part for config_name in ["i3d_r50", *trainer, str(config)] for part in ("-c", config_name)]
    log = setting.folder / f"{name}.log"
    with log.open("w") as output:
        done = subprocess.run(
            [sys.executable, "-m", "videoctx", command, *configs, *arguments], stdout=output, stderr=output
        )
    if done.returncode:
        lines = log.read_text().split("\n")
        last = next((line for line in reversed(lines) if line.strip()), "")
        raise RuntimeError(f"videoctx {command} ended with status {done.returncode}: {last[:300]}; see {log}")
    return folder


def _config(setting: Setting, name: str, num_devices: int) -> dict[str, Any]:
    sizes = setting.sizes
    return {
        "trainer": {
            "max_epochs": 1,
            "limit_train_batches": sizes.fit_steps,
            "log_every_n_steps": sizes.logged_steps,
            "enable_progress_bar": False,
            "logger": {
                "class_path": "lightning.pytorch.loggers.CSVLogger",
                "init_args": {"save_dir": str(setting.folder / "runs"), "name": name, "version": ""},
            },
        },
        "model": {"views_per_forward": sizes.views_per_forward, "net": {"init_args": dict(sizes.network)}},
        "data": {
            "manifest": str(_manifest(setting, num_devices)),
            "val_split": None,
            "batch_size": sizes.batch_size,
            "clips": {"clip_len": sizes.clip_len},
            "train": {"crop_size_px": sizes.size, "short_side_px": list(sizes.short_side_px)},
            "test": {"views": list(sizes.views), "crop_size_px": sizes.test_size, "short_side_px": sizes.test_size},
            "loading": {"num_workers": max(setting.num_workers // num_devices, 1)},
        },
    }


def _manifest(setting: Setting, num_devices: int) -> Path:
    """Return a manifest with enough videos for the steps of all devices: links to a few files."""
    sizes = setting.sizes
    paths = synthetic_videos(
        setting.folder / "videos",
        gop=GOP,
        num_videos=sizes.num_videos,
        num_frames=sizes.num_frames,
        num_workers=setting.num_workers,
    )
    folder = setting.folder / f"manifest_{num_devices}"
    manifest = folder / "manifest.csv"
    if manifest.is_file():
        return manifest
    shutil.rmtree(folder, ignore_errors=True)  # of a call that was interrupted
    folder.mkdir(parents=True)
    counts = {"train": sizes.fit_steps * sizes.batch_size * num_devices, "test": sizes.test_videos}
    rows = []
    for split, count in counts.items():
        for index in range(count):
            name = f"{split}{index}.mp4"
            os.link(paths[index % len(paths)], folder / name)
            rows.append({"path": name, "label": CLASSES[index % 2], "split": split})
    write_manifest(manifest, rows, CLASSES)
    return manifest


def _column(run: Path, name: str) -> list[float]:
    """Return the values of a metric in the order in which they were logged."""
    with (run / "metrics.csv").open() as file:
        return [float(row[name]) for row in csv.DictReader(file) if row.get(name)]
