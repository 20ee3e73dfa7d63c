"""`videoctx bench data`: the path from file to network input, stage by stage, and against other ways of reading.

All ways read the same clips with the same number of processes, which are started and warmed up before. They take turns
in every round. The loader reads as in training: frames are YUV planes, and each clip is chosen, decoded and sent.

- bare: decoding alone (`videoctx.bench.bare_decoding`) with the sparse decoder, decord, torchcodec and SPDL. The bare
  loop of the loader's own decoder is the upper bound of the loader.
- loaders: the stages of the loader, and the loader beside torchcodec in a `DataLoader`
  (`videoctx.bench.torchcodec_peer`), a pipeline of SPDL (`videoctx.bench.spdl_peer`), and PyTorchVideo's dataset in a
  `DataLoader` (`videoctx.bench.pytorchvideo_peer`) with the faster of its decoders.
- views: the 10 × 3 views of a test video, as RGB, beside an open and decode for each of them, as loaders with one view
  per sample do.
- rows: a manifest of 300,000 rows (`videoctx.bench.manifest_rows`).

CPU time is that of all threads and processes, so a busy machine changes it less than the seconds.
"""

import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from videoctx.bench.data_measurements import VIEW_PROTOCOL, Measurements
from videoctx.bench.loader_memory import loader_memory
from videoctx.bench.manifest_rows import manifest_rows
from videoctx.bench.peer_process import why_missing
from videoctx.bench.synthetic_videos import FPS, synthetic_videos
from videoctx.bench.training_clips import PEERS, TrainingClips
from videoctx.bench.view_decoding import view_rounds
from videoctx.data.annotations import CLASS_FILE, VideoRecord, read_classes, read_manifest
from videoctx.data.decoding.containers import probe
from videoctx.data.sampling.clip_samplers import ClipShape
from videoctx.data.storage.locations import holds_images
from videoctx.private_folder import default_folder, make_private

Against = Literal["all", "pytorchvideo", "torchcodec", "spdl", "none"]
Part = Literal["bare", "loaders", "views", "rows"]
PARTS: tuple[Part, ...] = get_args(Part)
Size = Literal["small", "large"]

GOPS = (250, 16)  # x264's default, and one short enough to seek in
VIEW_SHAPES = {"8x8": (8, 8), "32x2": (32, 2)}  # clip_len x frame_interval
SIZES: dict[Size, dict[str, Any]] = {  # settings of a `DataBench`: some minutes on two cores, or a quarter of an hour
    "small": {"num_videos": 3, "num_clips": 32, "rounds": 3, "view_shapes": (VIEW_PROTOCOL,)},
    "large": {"num_videos": 4, "num_clips": 96, "rounds": 5, "view_shapes": tuple(VIEW_SHAPES)},
}
Step = Callable[[str, int], None]  # takes a description of the work, and the number of steps that are finished
VERSIONS = ("torch", "decord", "av", "pytorchvideo", "numpy")


@dataclass(frozen=True, slots=True, kw_only=True)
class DataBench:
    """A measurement of the data path.

    Args:
        manifest: measure its videos instead of synthetic ones. A way of reading that is not exact on them is left out.
        split: the split of the manifest.
        parts: what is measured, of `PARTS`.
        against: the other project whose decoder and loader are measured, besides decord. `all`: all of them.
        clip_len: number of frames of a training clip.
        frame_interval: distance between the frames of a training clip.
        decoded_short_side_px: short side that the loader's larger frames are scaled to where they are decoded.
        batch_size: training clips per batch.
        num_workers: number of processes of each way of reading.
        num_clips: training clips that each way reads per round.
        rounds: number of rounds, in each of which every way reads the same clips once.
        memory_videos: number of videos over which the loader's memory is measured too. 0: it is not.
        videos_dir: where synthetic videos are kept; by default a folder of this user in the system's temporary one.
        num_videos: number of synthetic videos for each distance of key frames.
        num_frames: number of frames of a synthetic video.
        view_shapes: keys of `VIEW_SHAPES`, for which one decode per view is measured.
        num_rows: number of rows of the manifest whose reading is measured.
    """

    manifest: Path | None = None
    split: str = "train"
    parts: tuple[Part, ...] = PARTS
    against: Against = "all"
    clip_len: int = 8
    frame_interval: int = 8
    decoded_short_side_px: int | None = None
    batch_size: int = 8
    num_workers: int = 2
    num_clips: int = 96
    rounds: int = 5
    memory_videos: int = 0
    videos_dir: Path | None = None
    num_videos: int = 4
    num_frames: int = 10 * FPS
    view_shapes: tuple[str, ...] = tuple(VIEW_SHAPES)
    num_rows: int = 300_000

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
        if self._training_parts:
            measured.skipped = {peer: why for peer in self._peers if (why := why_missing(PEERS[peer]))}
        with _progress(self._num_steps) as step:
            files = self._files(step) if self._reads_videos else {}
            if self._training_parts:
                for name, records in files.items():
                    step(f"{name}: training clips", 0)
                    self._measure_training(measured, name, records, step)
            if "views" in self.parts:
                for shape in self.view_shapes:
                    for name, records in files.items():
                        step(f"{name}: views of {shape}", 0)
                        self._measure_views(measured, shape, name, records[: self.num_videos], step)
            if "rows" in self.parts:
                step("rows of a manifest", 0)
                measured.rows = manifest_rows(self.num_rows)
                step("rows of a manifest", 1)
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
    def _training_parts(self) -> frozenset[str]:
        return frozenset(self.parts) & {"bare", "loaders"}

    @property
    def _reads_videos(self) -> bool:
        return set(self.parts) != {"rows"} or self.memory_videos > 0

    @property
    def _num_steps(self) -> int:
        training = (1 + self.rounds) * bool(self._training_parts)
        views = len(self.view_shapes) * self.rounds * ("views" in self.parts)
        per_files = training + views + (0 if self.manifest else self.num_videos)
        num_files = 1 if self.manifest else len(GOPS)
        return num_files * per_files * self._reads_videos + ("rows" in self.parts)

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
            parts=self._training_parts,
            exact=frozenset.intersection(*map(_decoders, records)),
            peers=frozenset(self._peers) - measured.skipped.keys(),
            decoded_short_side_px=self.decoded_short_side_px,
        )
        if "loaders" in self.parts:
            measured.stages[name] = training.stages(records)
            measured.clip_bytes[name] = training.clip_bytes(records)
            if name == f"gop{GOPS[-1]}":  # it does not depend on the videos, and these are decoded faster
                measured.training_thread = training.thread_seconds(records)
        step(f"{name}: training clips", 1)
        measured.rounds[name] = {}
        for sides in training.rounds(records, self.rounds):
            for side, seconds in sides.items():
                measured.rounds[name].setdefault(side, []).append(seconds)
            step(f"{name}: training clips", 1)

    def _measure_views(
        self, measured: Measurements, shape: str, name: str, records: list[VideoRecord], step: Step
    ) -> None:
        if "decord" not in frozenset.intersection(*map(_decoders, records)):
            return
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
        if holds_images(record.path):
            raise ValueError(f"{record.path}: holds images; expected a manifest of files of video, which all ways read")
        if not Path(record.path).is_file():
            raise ValueError(f"{record.path}: no such file here; expected a manifest of files on this machine's disks")
    return records


def _decoders(record: VideoRecord) -> frozenset[str]:
    """Return the decoders that are exact on a video, of which the manifest may name only the fastest."""
    return frozenset((*(record.probe_result.decoders if record.probe_result else ()), *probe(record.path).decoders))


@contextmanager
def _progress(num_steps: int) -> Iterator[Step]:
    columns = (TextColumn("bench data"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("{task.description}"), auto_refresh=False, transient=True) as progress:
        task = progress.add_task("", total=num_steps)

        def step(description: str, done: int) -> None:
            progress.update(task, advance=done, description=description)
            progress.refresh()  # a thread that refreshes would take time from the measurement

        yield step
