"""Prints the measurements of `videoctx bench data` as tables with a line on the bottleneck, or writes them as JSON."""

import json
import math
import statistics
from dataclasses import asdict
from pathlib import Path

from rich.table import Table

from videoctx.atomic_write import atomic_write
from videoctx.bench.data_measurements import VIEW_PROTOCOL, Measurements
from videoctx.bench.data_stages import IN_A_WORKER
from videoctx.bench.training_clips import THREAD_BATCH_SIZE
from videoctx.printed_tables import Console

# The meaning of a ratio, by the start of its name.
MEANINGS = {
    "vs_bare_decode": "clips per second, over decoding alone with the loader's decoder",
    "vs_bare_decord": "clips per second, over decoding alone with decord",
    "vs_decord_cpu": "CPU time of decoding alone with decord, over the loader's",
    "vs_sparse_cpu": "CPU time of decoding alone with the sparse decoder, over the loader's",
    "sparse_rgb_of": "CPU time: sparse decoder with RGB, over that one",
    "sparse_yuv_of": "CPU time: sparse decoder with YUV, over that one",
    "vs_torchcodec_cpu": "CPU time of torchcodec in a DataLoader, over the loader's",
    "vs_spdl_cpu": "CPU time of SPDL's pipeline, over the loader's",
    "vs_pytorchvideo_cpu": "CPU time of PyTorchVideo's loader with the cheaper of its decoders, over the loader's",
    "vs_pytorchvideo": "clips per second, over PyTorchVideo's with the faster of its decoders",
    "views_vs_per_view": f"CPU time of a decode for each of 10 × 3 views ({VIEW_PROTOCOL}), over one for all",
    "memory_growth": "largest memory, over that after the first videos",
}


def report(measured: Measurements, json_file: Path | None) -> None:
    """Print the tables, and write all measurements to a JSON file if one is given."""
    console = Console()
    if measured.rounds:
        console.print(_stages(measured), "")
    for files in measured.stages:
        console.print(f"{files}: {bottleneck(measured, files)}", highlight=False)
    for files, num_bytes in measured.clip_bytes.items():
        console.print(f"{files}: a clip takes {num_bytes / 1e6:.1f} MB on its way to the device.", highlight=False)
    if measured.training_thread is not None:
        milliseconds = measured.training_thread * 1e3
        line = f"A batch of {THREAD_BATCH_SIZE} clips takes the thread that trains {milliseconds:.2f} ms."
        console.print(line, highlight=False)
    for kind, figures in measured.rows.items():
        console.print(_rows_line(measured, kind, figures), highlight=False)
    for peer, reason in measured.skipped.items():
        console.print(f"{peer} is not measured: {reason}", highlight=False)
    if measured.ratios():
        console.print("", _ratios(measured))
    if json_file:
        with atomic_write(json_file) as part:
            part.write_text(json.dumps({**asdict(measured), "ratios": measured.ratios()}, indent=2) + "\n")


def bottleneck(measured: Measurements, files: str) -> str:
    """Return which stage takes most of a clip's time, and what would help.

    "Seek takes 61% of a clip's 48 ms. A device that trains on 100 clips per second needs 5 cores to decode them, …"
    """
    stages = {stage: measured.stages[files][stage] for stage in IN_A_WORKER}
    slowest = max(stages, key=lambda stage: stages[stage])
    of_a_clip = sum(stages.values())
    takes = f"{slowest.capitalize()} takes {stages[slowest] / of_a_clip:.0%} of a clip's {of_a_clip * 1e3:.0f} ms."
    needs = f"A device that trains on 100 clips per second needs {math.ceil(100 * of_a_clip)} cores to decode them"
    if files == "gop250" and "gop16" in measured.stages:
        faster = of_a_clip / sum(measured.stages["gop16"][stage] for stage in IN_A_WORKER)
        needs += f", or a key frame every 16 frames instead of 250: {faster:.1f} times faster here"
    elif files == "manifest" and slowest == "seek":
        needs += ", or files with a key frame every 16 frames"
    waited, transform = (measured.stages[files][stage] for stage in ("wait", "device transform"))
    waits = f"Where it only crops and normalizes, it waits for clips {waited / (waited + transform):.0%} of the time."
    return f"{takes} {needs}. {waits}"


def _stages(measured: Measurements) -> Table:
    workers = measured.settings["num_workers"]
    table = Table(title=f"one clip, ms; {workers} processes", caption="wait: the device, for the loader")
    table.add_column("stage")
    for files in measured.rounds:
        table.add_column(files, justify="right")
    for stage in next(iter(measured.stages.values()), ()):
        table.add_row(stage, *(f"{seconds[stage] * 1e3:.2f}" for seconds in measured.stages.values()))
    table.add_section()
    for side in dict.fromkeys(side for of_files in measured.rounds.values() for side in of_files):
        cells = [_clips_per_second(of_files.get(side)) for of_files in measured.rounds.values()]
        table.add_row(f"clips per second, {side}", *cells)
    return table


def _rows_line(measured: Measurements, kind: str, figures: dict[str, float]) -> str:
    """Return what the rows of a manifest cost.

    "300,000 rows of a manifest, plain: 0.75 s of CPU time for both splits, 88 MB at the peak, …"
    """
    return (
        f"{measured.settings['num_rows']:,} rows of a manifest, {kind}: {figures['cpu_seconds']:.2f} s of CPU time for"
        f" both splits, {figures['peak_bytes'] / 1e6:.0f} MB at the peak,"
        f" {figures['bytes_per_process']:,.0f} bytes for each decoding process."
    )


def _ratios(measured: Measurements) -> Table:
    table = Table(title="medians over the rounds")
    table.add_column("ratio", no_wrap=True)
    table.add_column("×", justify="right")
    table.add_column("")
    for name, ratio in measured.ratios().items():
        meaning = next(meaning for start, meaning in MEANINGS.items() if name.startswith(start))
        table.add_row(name, f"{ratio:.2f}", meaning)
    return table


def _clips_per_second(rounds: list[dict[str, float]] | None) -> str:
    return f"{1 / statistics.median(of_round['seconds'] for of_round in rounds):.1f}" if rounds else ""
