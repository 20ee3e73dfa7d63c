"""Make one file, unless it has been made before."""

import json
import os
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import av

from data_prep.transcode.encoders import Encoding, check_result, encode_with_ffmpeg, encode_with_pyav
from data_prep.transcode.jobs import Job
from data_prep.transcode.segment import plan_segment
from data_prep.transcode.temporary_files import temporary_file
from videoctx.atomic_write import ErrorsNaming
from videoctx.data.decoding.accepted_formats import OPEN_OPTIONS
from videoctx.data.decoding.image_files import images_status
from videoctx.data.decoding.pyav_versions import open_input


def make_file(job: Job, *, encoding: Encoding, ffmpeg: bool) -> bool:
    """Make the target; return False if it was made before, from the same source and with the same settings.

    Raises:
        VideoDecodeError: the source cannot be read.
        OSError: the target cannot be written.
    """
    target = Path(job.target)
    recipe = _recipe(job, encoding)
    if _is_done(target, recipe):
        return False
    segment = plan_segment(
        job.source,
        short_side_px=encoding.short_side_px,
        fps=encoding.fps,
        start_seconds=job.start_seconds,
        end_seconds=job.end_seconds,
        images_fps=job.images_fps,
    )
    target.parent.mkdir(parents=True, exist_ok=True)
    with temporary_file(target.parent) as (temporary, descriptor), ErrorsNaming([target], [temporary]):
        encode = encode_with_ffmpeg if ffmpeg and not segment.is_of_images else encode_with_pyav
        num_frames = encode(segment, encoding, temporary, comment=json.dumps(recipe))
        os.fsync(descriptor)
        check_result(temporary, segment, num_frames)
        os.replace(temporary, target)
    return True


def _recipe(job: Job, encoding: Encoding) -> dict[str, object]:
    """Return everything that determines the result; without `source` if the source no longer exists."""
    recipe: dict[str, object] = {
        "transcoded_by": "videoctx",
        "encoding": asdict(encoding),
        "start_seconds": job.start_seconds,
        "end_seconds": job.end_seconds,
    }
    if job.images_fps is not None:
        recipe["images_fps"] = job.images_fps
    if os.path.isdir(job.source):
        recipe["source"] = images_status(job.source)._asdict()
        return recipe
    with suppress(FileNotFoundError):
        status = os.stat(job.source)
        recipe["source"] = {"size_bytes": status.st_size, "modified_ns": status.st_mtime_ns}
    return recipe


def _is_done(target: Path, recipe: dict[str, object]) -> bool:
    """Return whether the target is complete and was made by this recipe.

    Raises:
        FileExistsError: the target was not made by this command.
    """
    if not os.path.lexists(target):
        return False
    try:
        with open_input(f"file:{target}", options=OPEN_OPTIONS) as container:
            made_by = json.loads(container.metadata.get("comment", "null"))
            last = container.streams.video[0].index_entries[-1]
            is_complete = last.pos + last.size == target.stat().st_size  # the index comes first, the frames last
    except (av.FFmpegError, ValueError, IndexError):
        made_by, is_complete = None, False
    if not isinstance(made_by, dict) or made_by.get("transcoded_by") != recipe["transcoded_by"]:
        raise FileExistsError(f"{target} exists and was not made by transcode; expected its name to be free")
    if "source" not in recipe:
        made_by.pop("source", None)
    return is_complete and made_by == recipe
