"""Render and encode the clips of a synthetic dataset, and write its manifest."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import numpy as np
from rich.progress import track

from data_prep.synthetic.clips import AnyClip
from videoctx.atomic_write import atomic_write
from videoctx.data.annotations import write_manifest
from videoctx.printed_tables import Console

MIN_SIDE_PX = 32  # in a smaller frame the shapes are only a few pixels wide


def write_dataset(
    output_dir: Path,
    clips: Sequence[AnyClip],
    render: Callable[[AnyClip], np.ndarray],
    *,
    fps: int,
    num_workers: int,
) -> Path:
    """Encode all clips, and then write the manifest, so that a dataset with a manifest is complete.

    Args:
        clips: at least one.
        render: returns the frames of a clip: uint8 (T, H, W, 3).
        num_workers: threads; numpy and x264 let them run in parallel.

    Returns:
        The path of the manifest.
    """
    manifest = output_dir / "manifest.csv"
    manifest.unlink(missing_ok=True)

    def make(clip: AnyClip) -> None:
        encode(output_dir / clip.path, render(clip), fps=fps)

    pool = ThreadPoolExecutor(num_workers)
    try:
        done = pool.map(make, clips)
        for _ in track(done, "Encoding", total=len(clips), console=Console(stderr=True)):
            pass
    finally:
        pool.shutdown(cancel_futures=True)  # after Ctrl-C, only the clips that are being written are finished
    rows = [{"path": clip.path, "label": clip.label, "split": clip.split} for clip in clips]
    write_manifest(manifest, rows, clips[0].class_names)
    return manifest


def encode(path: Path, frames: np.ndarray, *, fps: int) -> None:
    """Write uint8 frames (T, H, W, 3) atomically as H.264 in mp4: yuv420p, B-frames, closed GOPs of half a second."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # For the same bytes every time: x264's output depends on the number of threads, and its macroblock tree
    # differs from run to run on frames this small.
    options = {"crf": "18", "preset": "veryfast", "threads": "1"}
    options["x264-params"] = "mbtree=0:scenecut=0:open-gop=0"
    with atomic_write(path) as part, av.open(part, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=fps, options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.gop_size = max(fps // 2, 1)
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
