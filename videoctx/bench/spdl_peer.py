"""SPDL (https://github.com/facebookresearch/spdl) as its users run it: a pipeline whose threads demux a file and decode
the requested frames to RGB with `sample_decode_video`, and that collects clips into batches.
"""

import signal
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from videoctx.bench.bare_decoding import Clip
from videoctx.bench.peer_process import Epoch


def spdl_epoch(clips: Sequence[Clip], *, batch_size: int, num_workers: int) -> Epoch:
    """Return a loader's epoch. Every epoch builds a pipeline, which starts its threads."""
    from spdl.pipeline import PipelineBuilder

    def epoch() -> int:
        builder = PipelineBuilder().add_source(clips).pipe(read_clip, concurrency=num_workers)
        pipeline = builder.aggregate(batch_size).pipe(np.stack).add_sink(2).build(num_threads=num_workers + 1)
        with pipeline.auto_stop():
            return sum(len(batch) for batch in pipeline)

    return epoch


def read_clip(clip: Clip) -> np.ndarray:
    """Return a clip, (clip_len, H, W, 3) uint8 RGB."""
    import spdl.io

    if threading.current_thread() is threading.main_thread():  # in a pipeline it is not
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # SPDL's handler prints a stack when the process is ended

    packets: Any = spdl.io.demux_video(clip.path)
    distinct, positions = np.unique(np.array(clip.frames) % len(packets), return_inverse=True)
    to_rgb = spdl.io.get_video_filter_desc(pix_fmt="rgb24")
    frames: Any = spdl.io.sample_decode_video(packets, distinct.tolist(), filter_desc=to_rgb)
    images = np.asarray(spdl.io.to_numpy(spdl.io.convert_frames(frames)))
    return images[positions] if len(distinct) < len(positions) else images
