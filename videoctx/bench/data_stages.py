"""Measures the steps of the data path one after the other, in one process.

The functions are those that the loader calls. Nothing is measured inside them.
"""

import pickle
import statistics
import time
from collections.abc import Sequence

import numpy as np
import torch

from videoctx.data.decoding.containers import VideoDecodeError
from videoctx.data.decoding.video_reader import open_video
from videoctx.data.loading.arena import Slots
from videoctx.data.loading.dataset import DecodedBatch, SampleIndex, VideoDataset
from videoctx.data.loading.shared_frames import pack, unpack
from videoctx.data.sampling.clip_samplers import frame_range
from videoctx.data.transforms.train_transform import TrainTransform

STAGES = ("open", "seek", "decode", "sample", "collate", "transfer", "device transform")
IN_A_WORKER = ("open", "seek", "decode", "sample", "transfer")


def stage_seconds(
    dataset: VideoDataset,
    samples: Sequence[SampleIndex],
    *,
    transform: TrainTransform,
    batch_size: int,
    device: torch.device,
) -> dict[str, float]:
    """Return the mean seconds per video of each of `STAGES`.

    - open: read the container's index, if needed, and open the decoder.
    - seek: from there until a clip's first frame is decoded.
    - decode: the other frames.
    - sample: choose the frames.
    - transfer: copy the frames to shared memory, and pickle the rest.
    """
    seconds: dict[str, list[float]] = {stage: [] for stage in STAGES}
    batch, slots = [], Slots()
    for sample in samples:
        seek = _read(dataset, sample, first_only=True)["read"]
        steps = _read(dataset, sample, first_only=False)
        seconds["open"].append(steps["open"])
        seconds["sample"].append(steps["sample"])
        seconds["seek"].append(min(seek, steps["read"]))
        seconds["decode"].append(steps["read"] - seconds["seek"][-1])

        video = dataset[sample]
        if video.failure is not None:
            raise VideoDecodeError(video.failure.path, video.failure.reason)
        clock = _Clock()
        slot = slots.take()
        batch.append(unpack(pickle.loads(pickle.dumps(pack(video, slot.place))), slot, slots))
        del slot
        seconds["transfer"].append(clock.lap())
        if len(batch) == batch_size or sample is samples[-1]:
            clock.lap()
            collated = DecodedBatch(batch)
            collated = collated.pin_memory() if device.type == "cuda" else collated
            seconds["collate"] += [clock.lap() / len(batch)] * len(batch)
            transform(collated.to(device))
            if device.type == "cuda":
                torch.cuda.synchronize()
            seconds["device transform"] += [clock.lap() / len(batch)] * len(batch)
            batch = []
    return {stage: statistics.mean(values) for stage, values in seconds.items()}


class _Clock:
    def __init__(self) -> None:
        self._last = time.perf_counter()

    def lap(self) -> float:
        """Return the seconds since the last lap."""
        last, self._last = self._last, time.perf_counter()
        return self._last - last


def _read(dataset: VideoDataset, sample: SampleIndex, *, first_only: bool) -> dict[str, float]:
    """Return the seconds of the steps of `ClipDecoder.load`; with `first_only`, it reads only the first frame."""
    record, decoder = dataset.records[sample.video], dataset.clip_decoder
    rng = np.random.default_rng((decoder.seed, sample.epoch, sample.video, sample.repeat))
    rng.integers(2**63)  # the seed of the device, which the data set takes first: the clips are the same
    clock = _Clock()
    with open_video(record.path, decoder.decoder, record.probe_result, fps=record.fps) as reader:
        opened = clock.lap()
        first, stop = frame_range(reader.num_frames, reader.fps, record.start_seconds, record.end_seconds)
        wanted = decoder.sampler.clips(stop - first, reader.fps, rng)
        distinct = np.unique(first + wanted)
        sampled = clock.lap()
        read = reader.read_yuv if decoder.frames == "yuv" else reader.read
        read(distinct[:1] if first_only else distinct)
    return {"open": opened, "sample": sampled, "read": clock.lap()}
