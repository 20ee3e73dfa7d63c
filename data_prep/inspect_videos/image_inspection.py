"""Inspect a video that is stored as images: decode each of them once, and hash their bytes.

The images state no frame rate. That of the manifest's row is kept, and a row without one is a problem.
"""

import hashlib
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import av
import numpy as np

from data_prep.inspect_videos.frame_hashes import hash_frame, hashed_frames, to_text
from data_prep.manifests.inspection_columns import FOUND_COLUMNS
from videoctx.data.annotations import ProbeResult
from videoctx.data.decoding.containers import VideoDecodeError
from videoctx.data.decoding.frame_folder import DECODER, NO_RATE, FrameFolder
from videoctx.data.decoding.image_files import images_status, open_images

PNG = b"\x89PNG"
FOLDER = "folder"  # in the column `container`; or the suffix of the archive


def inspect_images(path: str) -> dict[str, str]:
    """Return the inspection columns of a folder or an archive of images, without its frame rate and duration."""
    container = FOLDER if os.path.isdir(path) else Path(path).suffix[1:].lower()
    found = dict.fromkeys(FOUND_COLUMNS, "") | {"container": container, "gop": "1"}
    size, num_frames = 0, 0
    try:
        size = images_status(path).size_bytes
        with open_images(path) as images:
            num_frames = len(images.names)
            found |= _decode_all(FrameFolder(path, images, fps=0.0))
    except VideoDecodeError as error:
        reason = " ".join(error.reason.encode(errors="replace").decode().split())
        return found | ProbeResult(size, (), 0, 0.0, problem=reason).as_row()
    return found | ProbeResult(size, (DECODER,), num_frames, 0.0).as_row()


def with_found(row: Mapping[str, str], found: Mapping[str, str]) -> dict[str, str]:
    """Return a row of the manifest with its inspection columns. Of images, it keeps its frame rate."""
    whole = {**row, **found}
    given = row.get("fps", "")
    if found["decoders"] != DECODER:
        if found["problem"] and given and row.get("decoders", "") in ("", DECODER):
            whole["fps"] = given  # images that cannot be read now, perhaps because their disk is missing
        return whole
    rate = 0.0
    with suppress(ValueError):
        rate = float(given)
    if not 0 < rate < float("inf"):
        return whole | {"fps": given, "problem": NO_RATE, "duration_seconds": ""}
    problem = "" if found["problem"] == NO_RATE else found["problem"]
    duration_seconds = repr(round(int(found["num_frames"]) / rate, 6))
    return whole | {"fps": given, "problem": problem, "duration_seconds": duration_seconds}


def _decode_all(frames: FrameFolder) -> dict[str, str]:
    digest = hashlib.sha256()
    wanted = hashed_frames(frames.num_frames)
    hashes: list[int] = []
    codecs: set[str] = set()
    pixels = np.empty((0, 0, 3), np.uint8)
    for index in range(frames.num_frames):
        content, pixels = frames.image(index)
        digest.update(content)
        codecs.add("png" if content.startswith(PNG) else "mjpeg")
        if index in wanted:
            image = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            hashes += [hash_frame(image)] * wanted.count(index)
    height, width, _ = pixels.shape
    return {
        "codec": " ".join(sorted(codecs)),
        "width": str(width),
        "height": str(height),
        "content_hash": digest.hexdigest(),
        "frame_hashes": to_text(tuple(hashes)),
    }
