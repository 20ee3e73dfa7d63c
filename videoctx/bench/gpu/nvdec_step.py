"""The step of the part `data` that decodes on the GPU, with several numbers of threads, and beside processes."""

import time
from contextlib import closing

import torch

from videoctx.bench.gpu.results import StepResult
from videoctx.bench.gpu.sizes import Setting
from videoctx.bench.synthetic_videos import synthetic_videos
from videoctx.data.annotations import VideoRecord
from videoctx.data.loading.dataset import DecodedVideo, SampleIndex, VideoDataset
from videoctx.data.loading.gpu_decoding import GpuDecoding, check_gpu_decoding
from videoctx.data.loading.loader import VideoLoader
from videoctx.data.sampling.clip_samplers import ClipShape, RandomClips
from videoctx.data.settings import GpuDecodingSettings

GOP = 16
THREADS = (1, 3, 8)
SHARES = (0.25, 0.5, 1.0)
DEADLINE_SECONDS = 60.0


def decoding_on_the_gpu(setting: Setting) -> StepResult:
    """Measure the clips per second of the GPU alone, and of a loader that has a share of the videos decoded there.

    On a CPU, the same decoder runs without NVDEC, to try the lines.
    """
    device = torch.device(setting.device)
    try:
        if device.type == "cuda":
            check_gpu_decoding(device)
        import videoctx.data.decoding.nvdec_reader  # noqa: F401
    except (ValueError, ImportError, OSError, RuntimeError) as error:
        return StepResult("skipped", " ".join(str(error).split())[:200])
    dataset, samples = _clips(setting)
    result = StepResult("done")
    for num_threads in THREADS:
        settings = GpuDecodingSettings(share=1.0, num_threads=num_threads)
        gpu = GpuDecoding(dataset, device, settings, deadline_seconds=DEADLINE_SECONDS)
        with closing(gpu):
            for clips in (samples[: 2 * setting.sizes.num_videos], samples):  # decoders are made before they are timed
                seconds = _seconds(gpu, clips)
        if not gpu.num_decoded:
            return StepResult("skipped", "the GPU decodes none of the videos (torchcodec's cpu_fallback)")
        rate = len(samples) / seconds
        result.figures[f"nvdec_{num_threads}_threads_clips_per_second"] = rate
        result.rows.append((f"GPU alone, {num_threads} threads, GOP {GOP}", f"{rate:,.0f} clips/s"))
    for share in SHARES:
        rate = _loader_rate(setting, dataset, samples, device, share)
        result.figures[f"share_{share}_clips_per_second"] = rate
        what = f"{share:.0%} on the GPU, the rest in {setting.num_workers} processes"
        result.rows.append((what, f"{rate:,.0f} clips/s"))
    return result


def _clips(setting: Setting) -> tuple[VideoDataset, list[SampleIndex]]:
    sizes = setting.sizes
    paths = synthetic_videos(
        setting.folder / "videos",
        gop=GOP,
        num_videos=sizes.num_videos,
        num_frames=sizes.num_frames,
        num_workers=setting.num_workers,
    )
    records = [VideoRecord(str(path), 0, "train") for path in paths]
    sampler = RandomClips(shape=ClipShape(clip_len=sizes.clip_len, frame_interval=8))
    samples = [SampleIndex(number % len(records), number // len(records)) for number in range(sizes.num_clips)]
    return VideoDataset(records, sampler=sampler, seed=0, frames="yuv"), samples  # as training has it


def _seconds(gpu: GpuDecoding, samples: list[SampleIndex]) -> float:
    """Return the seconds until all clips are decoded."""

    def give_up() -> DecodedVideo:
        raise RuntimeError("a video was not decoded on the GPU; see the lines before")

    started = time.perf_counter()
    paths = [record.path for record in gpu.dataset.records]
    for wait in [gpu.start(sample, paths[sample.video], lambda: give_up) for sample in samples]:
        wait()
    return time.perf_counter() - started


def _loader_rate(
    setting: Setting, dataset: VideoDataset, samples: list[SampleIndex], device: torch.device, share: float
) -> float:
    gpu = GpuDecoding(dataset, device, GpuDecodingSettings(share=share), deadline_seconds=DEADLINE_SECONDS)
    batch_size = setting.sizes.batch_size
    loader = VideoLoader(dataset, samples, batch_size=batch_size, num_workers=setting.num_workers, gpu=gpu)
    with closing(loader):
        for _ in range(2):  # in the first pass the processes start
            started = time.perf_counter()
            for batch in loader:
                batch.to(device, non_blocking=True)
            if device.type == "cuda":
                torch.cuda.synchronize()
            seconds = time.perf_counter() - started
    return len(samples) / seconds
