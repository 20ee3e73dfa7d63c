"""`videoctx classify --timeline`: the classes of every moment of a video."""

import os
from pathlib import Path
from typing import Any

from videoctx.cli.output_path import writable_folder
from videoctx.data.decoding.image_names import has_images
from videoctx.data.storage.local_files import LocalFiles
from videoctx.inference.classifier import Classifier
from videoctx.inference.timeline_files import write_timeline
from videoctx.inference.video_paths import video_paths


def classify_timeline(
    trained: Classifier, video: str, *, fps: float | None, folder: Path, stride_seconds: float, num_best: int
) -> dict[str, Any]:
    """Write the table, chart and video, print their paths, and return the result for JSON."""
    if os.path.isdir(video) and not has_images(video):
        raise ValueError(f"{video}: is a folder; expected one video with --timeline, or a folder of its images")
    (path,) = [video] if os.path.isdir(video) else video_paths(video)
    name = Path(path.partition("::")[0])  # of a file inside a shard: the file's
    with LocalFiles().local_copy(path) as file:
        files = write_timeline(
            trained,
            file,
            writable_folder(folder) / f"{name.stem}-timeline",
            fps=fps,
            stride_seconds=stride_seconds,
            num_best=num_best,
            title=name.name,
        )
    print(f"{path}: {len(files.moments)} clips of {files.num_frames} frames")
    written = [str(file) for file in files[:3]]
    print("\n".join(written))
    clips = [
        {
            "start_seconds": round(moment.start_seconds, 3),
            "end_seconds": round(moment.end_seconds, 3),
            "classes": [{"class": name, "probability": probability} for name, probability in moment.classes],
        }
        for moment in files.moments
    ]
    return {
        "video": path,
        "num_frames": files.num_frames,
        "num_clips": len(clips),
        "files": written,
        "clips": clips,
    }
