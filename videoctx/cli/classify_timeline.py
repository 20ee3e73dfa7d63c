"""`videoctx classify --timeline`: what is done when in one video."""

import os
from pathlib import Path

from videoctx.cli.output_path import writable_folder
from videoctx.data.storage import LocalFiles
from videoctx.inference.timeline_files import write_timeline
from videoctx.inference.video_paths import video_paths
from videoctx.trained import TrainedNetwork


def classify_timeline(
    trained: TrainedNetwork, video: str, *, folder: Path, stride_seconds: float, num_best: int
) -> dict:
    """Writes the files and says where they are; the result for JSON."""
    if os.path.isdir(video):
        raise ValueError(f"{video}: is a folder; expected one video with --timeline")
    (path,) = video_paths(video)
    shown = Path(path.partition("::")[0])  # of a shard: its member
    with LocalFiles().local_copy(path) as file:
        files = write_timeline(
            trained,
            file,
            writable_folder(folder) / f"{shown.stem}-timeline",
            stride_seconds=stride_seconds,
            num_best=num_best,
            title=shown.name,
        )
    print(f"{path}: {files.num_moments} clips of {files.num_frames} frames")
    written = [str(file) for file in files[:3]]
    print("\n".join(written))
    return {"video": path, "num_frames": files.num_frames, "num_clips": files.num_moments, "files": written}
