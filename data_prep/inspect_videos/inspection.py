"""Inspect one video file: decode it once, from the first frame to the last, and hash its bytes.

Of the decoders that are exact on such files (`Container.decoders`), the fastest one that returned the same frames is
named.
"""

import hashlib
import os
import time
from pathlib import Path

import numpy as np

from data_prep.inspect_videos.agreeing_decoder import agreeing_decoder
from data_prep.inspect_videos.compared_frames import SampledFrames, frames_to_compare
from data_prep.inspect_videos.decoder_process import DecoderProcess, Request
from data_prep.inspect_videos.frame_hashes import hash_frames, hashed_frames, to_text
from data_prep.inspect_videos.image_inspection import inspect_images
from data_prep.manifests.inspection_columns import FOUND_COLUMNS, INSPECTION_COLUMNS
from videoctx.data.annotations import ProbeResult
from videoctx.data.decoding.containers import VideoDecodeError, file_status, probe
from videoctx.data.decoding.exact_decoders import Container
from videoctx.data.decoding.image_files import images_status
from videoctx.data.decoding.video_reader import probe_result_of
from videoctx.data.storage.local_files import LocalFiles
from videoctx.data.storage.locations import holds_images, is_url, local_path, split_member

MIN_DEADLINE_SECONDS = 20.0  # for a decoder to read the frames that are compared
DEADLINE_FACTOR = 10.0  # times the seconds of decoding all frames with PyAV

_decoders = DecoderProcess()


def inspect_file(source: str, *, files: LocalFiles) -> dict[str, str]:
    """Return all inspection columns. If the file cannot be used, `problem` is the reason and unknown ones are empty.

    Args:
        source: a file, a URL, or a member of a tar file.

    Raises:
        StorageError, OSError: the storage cannot be accessed, or the local copy cannot be written.
    """
    stamp = file_stamp(source)  # read first: a file that is changed in the meantime is inspected again
    try:
        with files.local_copy(source) as local:
            found = inspect_images(local) if holds_images(local) else _inspect(local)
    except VideoDecodeError as error:
        found = cannot_be_used(error.reason)
    return found | {"file_stamp": stamp}


def cannot_be_used(problem: str) -> dict[str, str]:
    """Return the inspection columns of a file about which nothing else is known."""
    return dict.fromkeys(INSPECTION_COLUMNS, "") | ProbeResult(0, (), 0, 0.0, problem=_one_line(problem)).as_row()


def file_stamp(source: str) -> str:
    """Return a text that changes when the file does; empty if it does not exist on this computer."""
    member = split_member(source)
    path = local_path(member[1] if member else source)
    if is_url(path):
        return ""
    try:
        if os.path.isdir(path):
            return "-".join(map(str, images_status(path)))
        status = os.stat(path)
    except (OSError, ValueError, VideoDecodeError):  # ValueError: a name that no file can have
        return ""
    return f"{status.st_size}-{status.st_mtime_ns}"


def _inspect(path: str) -> dict[str, str]:
    nothing = dict.fromkeys(FOUND_COLUMNS, "")
    try:
        size = file_status(path).st_size
        found = nothing | {"content_hash": _content_hash(path)}
    except VideoDecodeError as error:
        return nothing | ProbeResult(0, (), 0, 0.0, problem=_one_line(error.reason)).as_row()
    except OSError as error:
        return nothing | ProbeResult(0, (), 0, 0.0, problem=_one_line(error.strerror or str(error))).as_row()
    try:
        container = probe(path)
        found |= _describe(container)
        if container.damage:
            raise VideoDecodeError(path, container.damage)
        promised = container.num_packets - container.num_discarded
        samples = _samples(container)
        begun = time.monotonic()
        num_frames, hashes = hash_frames(path, expected_frames=promised, samples=samples)
        seconds = time.monotonic() - begun
    except VideoDecodeError as error:
        return found | ProbeResult(size, (), 0, 0.0, problem=_one_line(error.reason)).as_row()
    probe_result = probe_result_of(container, num_frames=num_frames, size_bytes=size)
    if num_frames == container.num_frames:
        deadline_seconds = MIN_DEADLINE_SECONDS + DEADLINE_FACTOR * seconds

        def read(decoder: str) -> list[np.ndarray] | None:
            request = Request(path, decoder, samples.reads, probe_result)
            return _decoders.read(request, deadline_seconds=deadline_seconds)

        agreeing = agreeing_decoder(container, samples, read)
        probe_result = probe_result_of(container, num_frames=num_frames, size_bytes=size, agreeing=agreeing)
    return found | {"frame_hashes": to_text(hashes)} | probe_result.as_row()


def _samples(container: Container) -> SampledFrames:
    """Return the frames to compare, none if only PyAV can be exact."""
    num_frames = container.num_frames
    if not num_frames or container.decoders == ("pyav",):
        return SampledFrames()
    return SampledFrames(frames_to_compare(container, num_frames, hashed_frames(num_frames)))


def _describe(container: Container) -> dict[str, str]:
    width, height = container.width, container.height
    if container.rotation % 180:
        width, height = height, width
    return {
        "container": container.format,
        "codec": container.codec,
        "width": str(width),
        "height": str(height),
        "duration_seconds": repr(round(container.duration_seconds, 6)),
        "gop": str(max(container.gop_lengths, default=container.num_packets)),
    }


def _content_hash(path: str) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _one_line(text: str) -> str:
    """Return the text as a cell of a manifest can contain it."""
    return " ".join(text.encode(errors="replace").decode().split())
