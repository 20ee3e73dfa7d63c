"""`videoctx bench data`: from file to network input, stage by stage, and against other ways, as ratios within one run.

The sides take turns, round after round, on the same clips with the same number of processes, all of them started
and warmed up before; a ratio is the median over the rounds of one side over the other in the same round.

- bare: decoding alone (`videoctx.bench.bare_decoding`). How much of it the loader keeps.
- pytorchvideo: its dataset and a `DataLoader` (`videoctx.bench.pytorchvideo_peer`), with the better of its decoders.
- per view: open and decode for each of the 10 × 3 views of a test video, as loaders do whose sample is a view;
  compared in CPU time of all threads and processes.
"""

import getpass
import os
import platform
import statistics
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from videoctx.bench.loader_memory import loader_memory
from videoctx.bench.synthetic_videos import FPS, synthetic_videos
from videoctx.bench.training_clips import TrainingClips
from videoctx.bench.view_decoding import view_rounds
from videoctx.data.annotations import CLASS_FILE, VideoRecord, read_classes, read_manifest
from videoctx.data.decoding.containers import probe
from videoctx.data.sampling.clip_samplers import ClipShape

Against = Literal["all", "pytorchvideo", "per-view", "none"]

GOPS = (250, 16)  # x264's default, and one short enough to seek in
VIEW_SHAPES = {"8x8": (8, 8), "32x2": (32, 2)}  # clip_len x frame_interval
VIEW_PROTOCOL = "8x8"  # as the data module is set by default: the ratio that is named
Step = Callable[[str, int], None]  # told what is being done, and how many steps of it are
VERSIONS = ("torch", "decord", "av", "pytorchvideo", "numpy")


@dataclass(slots=True)
class Measurements:
    """What was measured, by what it was measured on: `gop250`, `gop16`, or the manifest."""

    settings: dict[str, object]
    stages: dict[str, dict[str, float]] = field(default_factory=dict)  # seconds a clip
    rounds: dict[str, dict[str, list[dict[str, float]]]] = field(default_factory=dict)  # files, side: seconds a clip
    views: dict[str, dict[str, dict[str, list[float]]]] = field(default_factory=dict)  # shape, files, side: CPU seconds
    memory: dict[str, list[int]] | None = None

    def ratios(self) -> dict[str, float]:
        """How many times more than the other side; for memory, the most over the level after the first videos."""
        ratios = {}
        if with_bare := [sides for sides in self.rounds.values() if "bare" in sides]:
            # On the files where what the loader adds weighs most.
            ratios["vs_bare_decode"] = min(_ratio(sides, "bare") for sides in with_bare)
        for files, sides in self.rounds.items():
            peers = [side for side in sides if side.startswith("pytorchvideo")]
            if peers:
                ratios[f"vs_pytorchvideo_{files}"] = min(_ratio(sides, peer) for peer in peers)
        for files, sides in self.views.get(VIEW_PROTOCOL, {}).items():
            ratios[f"views_vs_per_view_{files}"] = statistics.median(
                peer / ours for ours, peer in zip(sides["ours"], sides["per_view"], strict=True)
            )
        if self.memory:
            ratios["memory_growth"] = max(self.memory["bytes"]) / self.memory["bytes"][0]
        return ratios


@dataclass(frozen=True, slots=True, kw_only=True)
class DataBench:
    """What to measure.

    Args:
        manifest: measure its videos instead of made ones: their stages, and the loader against bare decoding.
        split: of the manifest.
        against: what else the made videos are read with, beside bare decoding.
        clip_len, frame_interval: of training clips.
        num_clips: training clips that a side reads in a round.
        rounds: in each of which every side reads the same clips once.
        memory_videos: over so many videos also the loader's memory; 0: not.
        videos_dir: where made videos are kept; by default a folder of this user below the system's temporary one.
        num_videos: made with each distance of key frames.
        num_frames: of a made video.
    """

    manifest: Path | None = None
    split: str = "train"
    against: Against = "all"
    clip_len: int = 8
    frame_interval: int = 8
    batch_size: int = 8
    num_workers: int = 2
    num_clips: int = 96
    rounds: int = 5
    memory_videos: int = 0
    videos_dir: Path | None = None
    num_videos: int = 4
    num_frames: int = 10 * FPS

    def run(self) -> Measurements:
        """
        Raises:
            ValueError: a manifest's video is not a file on this machine.
            VideoDecodeError: a video cannot be read.
        """
        measured = Measurements(
            {
                **{name: value if isinstance(value, int) else str(value) for name, value in asdict(self).items()},
                "view_protocol": VIEW_PROTOCOL,
                "cores": os.cpu_count(),
                "python": platform.python_version(),
                **{library: version(library) for library in VERSIONS},
            }
        )
        with _progress(self._num_steps) as step:
            files = self._files(step)
            for name, records in files.items():
                step(f"{name}: training clips", 0)
                self._measure_training(measured, name, records, step)
            if self.against in ("all", "per-view") and not self.manifest:
                for shape in VIEW_SHAPES:
                    for name, records in files.items():
                        step(f"{name}: views of {shape}", 0)
                        self._measure_views(measured, shape, name, records, step)
            if self.memory_videos:
                step(f"memory over {self.memory_videos} videos", 0)
                *_, records = files.values()
                measured.memory = loader_memory(
                    records, self._shape, batch_size=self.batch_size, num_videos=self.memory_videos
                )
        return measured

    @property
    def _shape(self) -> ClipShape:
        return ClipShape(clip_len=self.clip_len, frame_interval=self.frame_interval)

    @property
    def _num_steps(self) -> int:
        views = len(VIEW_SHAPES) * self.rounds if self.against in ("all", "per-view") else 0
        return 1 + self.rounds if self.manifest else len(GOPS) * (self.num_videos + 1 + self.rounds + views)

    def _files(self, step: Step) -> dict[str, list[VideoRecord]]:
        if self.manifest:
            return {"manifest": _records_of(self.manifest, self.split, self.num_clips)}
        folder = self.videos_dir or Path(tempfile.gettempdir(), f"videoctx-{getpass.getuser()}", "bench")
        step("making videos", 0)
        files = {}
        for gop in GOPS:
            paths = synthetic_videos(
                folder,
                gop=gop,
                num_videos=self.num_videos,
                num_frames=self.num_frames,
                num_workers=self.num_workers,
                on_video=lambda: step("making videos", 1),
            )
            files[f"gop{gop}"] = [VideoRecord(str(path), None, "made") for path in paths]
        return files

    def _measure_training(self, measured: Measurements, name: str, records: list[VideoRecord], step: Step) -> None:
        training = TrainingClips(
            shape=self._shape,
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            num_clips=self.num_clips,
            bare=all((record.probe_result or probe(record.path)).decoders[0] == "decord" for record in records),
            pytorchvideo=self.against in ("all", "pytorchvideo") and not self.manifest,
        )
        measured.stages[name] = training.stages(records)
        step(f"{name}: training clips", 1)
        measured.rounds[name] = {}
        for sides in training.rounds(records, self.rounds):
            for side, seconds in sides.items():
                measured.rounds[name].setdefault(side, []).append(seconds)
            step(f"{name}: training clips", 1)

    def _measure_views(
        self, measured: Measurements, shape: str, name: str, records: list[VideoRecord], step: Step
    ) -> None:
        clip_len, frame_interval = VIEW_SHAPES[shape]
        clips = ClipShape(clip_len=clip_len, frame_interval=frame_interval)
        sides = measured.views.setdefault(shape, {}).setdefault(name, {"ours": [], "per_view": []})
        for of_round in view_rounds(records, clips, num_workers=self.num_workers, count=self.rounds):
            for side, seconds in of_round.items():
                sides[side].append(seconds)
            step(f"{name}: views of {shape}", 1)


def _records_of(manifest: Path, split: str, count: int) -> list[VideoRecord]:
    """`count` of the manifest's videos, or all, spread over it."""
    class_names = read_classes(manifest.parent / CLASS_FILE)
    records = read_manifest(manifest, class_names, split=split, labels_required=False)
    records = [records[index] for index in np.unique(np.linspace(0, len(records) - 1, count).astype(int))]
    for record in records:
        if not Path(record.path).is_file():
            raise ValueError(f"{record.path}: no such file here; expected a manifest of files on this machine's disks")
    return records


def _ratio(sides: dict[str, list[dict[str, float]]], side: str) -> float:
    """How many times as many clips a second ours reads."""
    return statistics.median(
        other["seconds"] / ours["seconds"] for ours, other in zip(sides["ours"], sides[side], strict=True)
    )


@contextmanager
def _progress(num_steps: int) -> Iterator[Step]:
    columns = (TextColumn("bench data"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("{task.description}"), auto_refresh=False, transient=True) as progress:
        task = progress.add_task("", total=num_steps)

        def step(description: str, done: int) -> None:
            progress.update(task, advance=done, description=description)
            progress.refresh()  # by hand: a thread that draws would take time from what is measured

        yield step
