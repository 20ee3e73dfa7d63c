"""Prints the measurements of `videoctx bench model`, and which options help on this device, or writes them as JSON."""

import json
from pathlib import Path

from rich.table import Table

from videoctx.atomic_write import atomic_write
from videoctx.bench.model_measurements import Measurements
from videoctx.printed_tables import Console

HELPS = 1.03  # smaller gains are within the differences between rounds

MEANINGS = {
    "inference_vs_peer": "evaluation: PyTorchVideo in float32, over our fastest",
    "inference_vs_peer_bf16": "evaluation: PyTorchVideo in bfloat16, over our fastest in bfloat16",
    "inference_vs_peer_same_precision": "evaluation: PyTorchVideo in bfloat16, channels last, over our fastest so",
    "inference_vs_matmul_peak": "evaluation: our fastest, of the rate of a large matrix product",
    "train_vs_peer": "training: PyTorchVideo in float32, over our fastest",
    "train_vs_peer_bf16": "training: PyTorchVideo in bfloat16, over our fastest in bfloat16",
    "train_vs_peer_same_precision": "training: PyTorchVideo in bfloat16, channels last, over our fastest so",
    "train_vs_matmul_peak": "training: our fastest, of the rate of a large matrix product",
    "nl5_vs_plain_train": "training: time with five Non-local blocks, over time without",
}


def report(measured: Measurements, json_file: Path | None) -> None:
    """Print the tables, and write all measurements to a JSON file if one is given."""
    console = Console()
    console.print(_rows(measured), "")
    for line in what_helps(measured):
        console.print(line, highlight=False)
    console.print("", _ratios(measured))
    if measured.logits_differ is not None:
        console.print(f"logits differ from PyTorchVideo's by {measured.logits_differ:.1g} of the largest, in float32")
    for note in measured.notes:
        console.print(note, highlight=False, soft_wrap=True)
    if json_file:
        with atomic_write(json_file) as part:
            part.write_text(json.dumps(measured.as_dict(), indent=2) + "\n")


def what_helps(measured: Measurements) -> list[str]:
    """Return one line per option and way it was tried on: `inference: channels_last ×1.62 on bfloat16: on`."""
    return [
        f"{work}: {option} ×{gain:.2f} on {way}: {'on' if gain >= HELPS else 'no gain'}"
        for work, option, way, gain in measured.gains()
    ]


def _rows(measured: Measurements) -> Table:
    settings = measured.settings
    peaks = ", ".join(f"{2 * rate / 1e12:.2f} TFLOP/s {name}" for name, rate in measured.matmul_peak.items())
    table = Table(
        title=f"{settings['batch_size']} clips of {settings['clip_len']} frames at {settings['size']}, "
        f"{settings['device']}",
        caption=f"peak: of a large matrix product in the same precision ({peaks}); memory: beyond the weights",
    )
    for heading in ("", "network", "way"):
        table.add_column(heading)
    for heading in ("clips/s", "ms", "of peak", "MiB"):
        table.add_column(heading, justify="right")
    for before, row in zip([None, *measured.rows], measured.rows, strict=False):
        if before and before.work != row.work:
            table.add_section()
        share = f"{row.of_matmul_peak:.2f}" if row.of_matmul_peak is not None else ""
        table.add_row(
            row.work,
            row.network,
            row.way,
            f"{row.clips_per_second:.2f}",
            f"{row.seconds * 1e3:.0f}",
            share,
            f"{row.peak_bytes / 2**20:,.0f}",
        )
    return table


def _ratios(measured: Measurements) -> Table:
    table = Table("ratio")
    table.add_column("", justify="right")
    table.add_column("")
    for name, ratio in measured.ratios().items():
        table.add_row(name, f"{ratio:.2f}", MEANINGS[name])
    return table
