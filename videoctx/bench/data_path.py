"""`videoctx bench data`: the path from file to network input, stage by stage, and against other ways of reading.

All ways read the same clips with the same number of processes, which are started and warmed up before. They take turns
in every round. A ratio is the median over the rounds of the ratio within one round.

- bare: decoding alone (`videoctx.bench.bare_decoding`) with decord and with the sparse decoder. The bare loop of the
  loader's own decoder is the upper bound of the loader.
- torchcodec: a `DataLoader` (`videoctx.bench.torchcodec_peer`). spdl: a pipeline of SPDL (`videoctx.bench.spdl_peer`).
- pytorchvideo: its dataset and a `DataLoader` (`videoctx.bench.pytorchvideo_peer`), with the faster of its decoders.
- per view: open and decode for each of the 10 × 3 views of a test video, as loaders with one view per sample do.

CPU time is that of all threads and processes, so a busy machine changes it less than the seconds.
"""

import os
import platform
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from videoctx.bench.loader_memory import loader_memory
from videoctx.bench.peer_process import why_missing
from videoctx.bench.synthetic_videos import FPS, synthetic_videos
from videoctx.bench.training_clips import PEERS, TrainingClips
from videoctx.bench.view_decoding import view_rounds
from videoctx.data.annotations import CLASS_FILE, VideoRecord, read_classes, read_manifest
from videoctx.data.decoding.containers import probe
from videoctx.data.sampling.clip_samplers import ClipShape
from videoctx.private_folder import default_folder, make_private

Against = Literal["all", "pytorchvideo", "torchcodec", "spdl", "per-view", "none"]
Size = Literal["small", "large"]

GOPS = (250, 16)  # x264's default, and one short enough to seek in
VIEW_SHAPES = {"8x8": (8, 8), "32x2": (32, 2)}  # clip_len x frame_interval
VIEW_PROTOCOL = "8x8"  # the default of the data module, for which the ratio is printed
SIZES: dict[Size, dict[str, Any]] = {  # settings of a `DataBench`: some minutes on two cores, or a quarter of an hour
    "small": {"num_videos": 3, "num_clips": 32, "rounds": 3, "view_shapes": (VIEW_PROTOCOL,)},
    "large": {"num_videos": 4, "num_clips": 96, "rounds": 5, "view_shapes": tuple(VIEW_SHAPES)},
}
Sides = dict[str, list[dict[str, float]]]  # by way of reading, the seconds per clip of each round
Step = Callable[[str, int], None]  # takes a description of the work, and the number of steps that are finished
VERSIONS = ("torch", "decord", "av", "pytorchvideo", "numpy")
BY_CPU_TIME = {"bare_decord": "decord", "bare_sparse": "sparse", "torchcodec": "torchcodec", "spdl": "spdl"}


@dataclass(slots=True)
class Measurements:
    """All measurements. FILES is `gop250`, `gop16` or `manifest`, SIDE a way of reading."""

    settings: dict[str, object]
    skipped: dict[str, str] = field(default_factory=dict)  # peer: why it cannot be measured here
    stages: dict[str, dict[str, float]] = field(default_factory=dict)  # FILES, stage: seconds per clip
    rounds: dict[str, dict[str, list[dict[str, float]]]] = field(default_factory=dict)  # FILES, SIDE: seconds per clip
    views: dict[str, dict[str, dict[str, list[float]]]] = field(default_factory=dict)  # shape, FILES, SIDE: CPU seconds
    memory: dict[str, list[int]] | None = None

    def ratios(self) -> dict[str, float]:
        """Return how many times faster than each other way, and the largest memory over that after the first videos."""
        ratios = {}
        own = [_own_bare(sides) for sides in self.rounds.values()]
        if with_bare := [(sides, bare) for sides, bare in zip(self.rounds.values(), own, strict=True) if bare]:
            # The files for which the loader adds most.
            ratios["vs_bare_decode"] = min(_ratio(sides, bare) for sides, bare in with_bare)
        for files, sides in self.rounds.items():
            if "bare_decord" in sides:
                ratios[f"vs_bare_decord_{files}"] = _ratio(sides, "bare_decord")
            for side, name in BY_CPU_TIME.items():
                if side in sides:
                    ratios[f"vs_{name}_cpu_{files}"] = _ratio(sides, side, measure="cpu_seconds")
            if {"bare_decord", "bare_sparse"} <= sides.keys():
                ratios[f"sparse_of_decord_cpu_{files}"] = _ratio(
                    sides, "bare_sparse", over="bare_decord", measure="cpu_seconds"
                )
            if peers := [side for side in sides if side.startswith("pytorchvideo")]:
                ratios[f"vs_pytorchvideo_{files}"] = min(_ratio(sides, peer) for peer in peers)
                ratios[f"vs_pytorchvideo_cpu_{files}"] = min(
                    _ratio(sides, peer, measure="cpu_seconds") for peer in peers
                )
        for files, views in self.views.get(VIEW_PROTOCOL, {}).items():
            ratios[f"views_vs_per_view_{files}"] = statistics.median(
                peer / ours for ours, peer in zip(views["ours"], views["per_view"], strict=True)
            )
        if self.memory:
            ratios["memory_growth"] = max(self.memory["bytes"]) / self.memory["bytes"][0]
        return ratios


@dataclass(frozen=True, slots=True, kw_only=True)
class DataBench:
    """A measurement of the data path.

    Args:
        manifest: measure its videos instead of synthetic ones: their stages, and the loader against bare decoding.
        split: the split of the manifest.
        against: what else reads the synthetic videos, besides bare decoding.
        clip_len: number of frames of a training clip.
        frame_interval: distance between the frames of a training clip.
        batch_size: training clips per batch.
        num_workers: number of processes of each way of reading.
        num_clips: training clips that each way reads per round.
        rounds: number of rounds, in each of which every way reads the same clips once.
        memory_videos: number of videos over which the loader's memory is measured too. 0: it is not.
        videos_dir: where synthetic videos are kept; by default a folder of this user in the system's temporary one.
        num_videos: number of synthetic videos for each distance of key frames.
        num_frames: number of frames of a synthetic video.
        view_shapes: keys of `VIEW_SHAPES`, for which one decode per view is measured.
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
    view_shapes: tuple[str, ...] = tuple(VIEW_SHAPES)

    def run(self) -> Measurements:
        """Measure all of it.

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
        if not self.manifest:
            measured.skipped = {peer: why for peer in self._peers if (why := why_missing(PEERS[peer]))}
        with _progress(self._num_steps) as step:
            files = self._files(step)
            for name, records in files.items():
                step(f"{name}: training clips", 0)
                self._measure_training(measured, name, records, step)
            if self.against in ("all", "per-view") and not self.manifest:
                for shape in self.view_shapes:
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
    def _peers(self) -> tuple[str, ...]:
        return tuple(peer for peer in PEERS if self.against in ("all", peer))

    @property
    def _shape(self) -> ClipShape:
        return ClipShape(clip_len=self.clip_len, frame_interval=self.frame_interval)

    @property
    def _num_steps(self) -> int:
        views = len(self.view_shapes) * self.rounds if self.against in ("all", "per-view") else 0
        return 1 + self.rounds if self.manifest else len(GOPS) * (self.num_videos + 1 + self.rounds + views)

    def _files(self, step: Step) -> dict[str, list[VideoRecord]]:
        if self.manifest:
            return {"manifest": _records_of(self.manifest, self.split, self.num_clips)}
        folder = self.videos_dir
        if folder is None:
            make_private(default_folder())
            folder = default_folder() / "bench"
            make_private(folder)
        step("encoding videos", 0)
        files = {}
        for gop in GOPS:
            paths = synthetic_videos(
                folder,
                gop=gop,
                num_videos=self.num_videos,
                num_frames=self.num_frames,
                num_workers=self.num_workers,
                on_video=lambda: step("encoding videos", 1),
            )
            files[f"gop{gop}"] = [VideoRecord(str(path), None, "synthetic") for path in paths]
        return files

    def _measure_training(self, measured: Measurements, name: str, records: list[VideoRecord], step: Step) -> None:
        training = TrainingClips(
            shape=self._shape,
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            num_clips=self.num_clips,
            bare=frozenset.intersection(*map(_decoders, records)),
            peers=frozenset() if self.manifest else frozenset(self._peers) - measured.skipped.keys(),
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
    """Return `count` videos of the manifest at even distances, or all of them."""
    class_names = read_classes(manifest.parent / CLASS_FILE)
    rows = read_manifest(manifest, class_names, split=split, labels_required=False)
    records = [rows[index] for index in np.unique(np.linspace(0, len(rows) - 1, count).astype(int))]
    for record in records:
        if not Path(record.path).is_file():
            raise ValueError(f"{record.path}: no such file here; expected a manifest of files on this machine's disks")
    return records


def _decoders(record: VideoRecord) -> frozenset[str]:
    """Return the decoders that are exact on a video, of which the manifest may name only the fastest."""
    return frozenset((*(record.probe_result.decoders if record.probe_result else ()), *probe(record.path).decoders))


def _own_bare(sides: Sides) -> str | None:
    """Return the bare decoding with the loader's decoder, if it was measured."""
    return next((side for side in ("bare_sparse", "bare_decord") if side in sides), None)


def _ratio(sides: Sides, side: str, *, over: str = "ours", measure: str = "seconds") -> float:
    """Return how many times as long a way takes as another one, by default as the loader."""
    return statistics.median(way[measure] / other[measure] for other, way in zip(sides[over], sides[side], strict=True))


@contextmanager
def _progress(num_steps: int) -> Iterator[Step]:
    columns = (TextColumn("bench data"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("{task.description}"), auto_refresh=False, transient=True) as progress:
        task = progress.add_task("", total=num_steps)

        def step(description: str, done: int) -> None:
            progress.update(task, advance=done, description=description)
            progress.refresh()  # a thread that refreshes would take time from the measurement

        yield step
