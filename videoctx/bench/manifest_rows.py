"""Measures what the rows of a large manifest cost: CPU time, memory, and what is sent to each decoding process.

The manifest is like that of Kinetics-400: 400 classes, a training and a validation split, and the columns that
`data_prep.inspect_videos` writes. A process of its own reads both splits and does what a training does with their rows.
"""

import csv
import multiprocessing
import os
import pickle
import random
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

import psutil

from videoctx.data.annotations import CLASS_FILE, read_classes, read_manifest
from videoctx.data.fingerprint import fingerprint
from videoctx.data.loading.dataset import VideoDataset
from videoctx.data.sampling.clip_samplers import ClipShape, RandomClips
from videoctx.data.sampling.training_order import training_order
from videoctx.data.training_labels import warn_of_untrained_classes
from videoctx.interrupts import without_interrupts

KINDS = {"plain": csv.QUOTE_MINIMAL, "quoted": csv.QUOTE_ALL}
NUM_CLASSES = 400
VALIDATION_EVERY = 20
COLUMNS = (
    *("path", "label", "split", "start_seconds", "end_seconds", "size_bytes", "decoders", "num_frames", "fps"),
    *("variable_frame_rate", "problem", "video_stream"),
)
RESET_PEAK = Path("/proc/self/clear_refs")


def manifest_rows(num_rows: int) -> dict[str, dict[str, float]]:
    """Return the CPU seconds, the peak of memory over the imports, and the bytes per process, by kind of manifest."""
    with tempfile.TemporaryDirectory() as folder:
        return {kind: _measure(Path(folder), kind, num_rows) for kind in KINDS}


def write_rows(manifest: Path, kind: str, num_rows: int) -> None:
    """Write a manifest and its class file."""
    rng = random.Random(0)
    names = [f"class {number:03d}" for number in range(NUM_CLASSES)]
    (manifest.parent / CLASS_FILE).write_text("".join(f"{name}\n" for name in names))
    with manifest.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n", quoting=KINDS[kind])  # type: ignore[arg-type]
        writer.writerow(COLUMNS)
        for index in range(num_rows):
            split, name = "train" if index % VALIDATION_EVERY else "val", rng.choice(names)
            path = f"{split}/{name.replace(' ', '_')}/{rng.getrandbits(64):016x}_{index % 300:06d}.mp4"
            found = rng.randrange(200_000, 3_000_000), "sparse decord pyav", rng.randrange(200, 310), 29.97002997002997
            writer.writerow((path, name, split, "", "", *found, "", "", 0))


def _measure(folder: Path, kind: str, num_rows: int) -> dict[str, float]:
    manifest = folder / f"{kind}.csv"
    write_rows(manifest, kind, num_rows)
    context = multiprocessing.get_context("spawn")
    connection, child_end = context.Pipe()
    process = context.Process(target=_read, args=(child_end, manifest))
    with without_interrupts():
        process.start()
    child_end.close()
    try:
        figures: dict[str, float] = connection.recv()
    except EOFError:
        raise RuntimeError("the process that reads the manifest has ended; its error is above") from None
    process.join()
    return figures


# In its process ---------------------------------------------------------------------------------------------------


def _read(connection: Connection, manifest: Path) -> None:
    classes = read_classes(manifest.parent / CLASS_FILE)
    if os.access(RESET_PEAK, os.W_OK):
        RESET_PEAK.write_text("5")  # the peak of memory starts again
    before, start = _peak_bytes(), time.process_time()
    train = read_manifest(manifest, classes, split="train")
    warn_of_untrained_classes(train, classes, split="train")
    training_order(train, "shuffled", shuffle_buffer=1)
    fingerprint(train, classes, root=str(manifest.parent))
    validation = read_manifest(manifest, classes, split="val")
    dataset = VideoDataset(train, sampler=RandomClips(shape=ClipShape(clip_len=8, frame_interval=8)), seed=0)
    connection.send(
        {
            "cpu_seconds": time.process_time() - start,
            "peak_bytes": float(_peak_bytes() - before),
            "bytes_per_process": float(len(pickle.dumps(dataset.clip_decoder))),
            "rows": float(len(train) + len(validation)),
        }
    )


def _peak_bytes() -> int:
    """Return the largest memory of this process so far, if the system reports it; or else the memory now."""
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return int(psutil.Process().memory_info().rss)
