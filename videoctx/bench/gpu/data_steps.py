"""Steps of the part `data`: the loader over all cores, and the way from host memory to clips on the device."""

import statistics
from collections.abc import Callable

import torch

from videoctx.bench.data_path import DataBench
from videoctx.bench.gpu.results import StepResult
from videoctx.bench.gpu.sizes import Setting
from videoctx.bench.network_runs import seconds_of
from videoctx.bench.synthetic_videos import HEIGHT, WIDTH
from videoctx.bench.training_clips import THREAD_BATCH_SIZE
from videoctx.data.decoding.yuv_frames import YuvColors
from videoctx.data.loading.dataset import DecodedBatch, DecodedVideo
from videoctx.data.transforms.normalize import IMAGENET_MEAN, IMAGENET_STD, Normalize
from videoctx.data.transforms.train_transform import TrainTransform

BT709 = YuvColors(matrix=1, full_range=False)


def loader(setting: Setting) -> StepResult:
    """Measure the loader's clips per second with a process per core, beside PyTorchVideo's."""
    sizes = setting.sizes
    measured = DataBench(
        parts=("loaders",),
        against="pytorchvideo",
        clip_len=sizes.clip_len,
        batch_size=sizes.batch_size,
        num_workers=setting.num_workers,
        num_clips=sizes.num_clips,
        rounds=sizes.data_rounds,
        videos_dir=setting.folder / "videos",
        num_videos=sizes.num_videos,
        num_frames=sizes.num_frames,
    ).run()
    result = StepResult("done", figures=measured.ratios())
    for files, sides in measured.rounds.items():
        for side, rounds in sides.items():
            rate = 1 / statistics.median(of_round["seconds"] for of_round in rounds)
            result.figures[f"{files}_{side}_clips_per_second"] = rate
            result.rows.append((f"{files}, {side}, {setting.num_workers} processes", f"{rate:,.0f} clips/s"))
    if measured.training_thread is not None:
        result.figures["training_thread_seconds"] = measured.training_thread
        milliseconds = measured.training_thread * 1e3
        result.rows.append((f"the thread that trains, per {THREAD_BATCH_SIZE} clips", f"{milliseconds:.2f} ms"))
    result.details = {"stages": measured.stages, "rounds": measured.rounds}
    return result


def device_transform(setting: Setting) -> StepResult:
    """Measure the transfer of a batch from host memory, page-locked or not, and its training transform."""
    sizes, device = setting.sizes, torch.device(setting.device)
    transform = TrainTransform(
        crop_size_px=sizes.size,
        short_side_px=sizes.short_side_px,
        flip_probability=0.5,
        normalize=Normalize(IMAGENET_MEAN, IMAGENET_STD),
    )
    batch, rgb = (_decoded(sizes.batch_size, sizes.clip_len, colors) for colors in (BT709, None))
    pinned = batch.pin_memory() if device.type == "cuda" else batch
    on_device, rgb_on_device = batch.to(device), rgb.to(device)
    num_bytes = sum(video.frames.nbytes for video in batch.videos)
    runs: dict[str, Callable[[], object]] = {
        "transfer": lambda: batch.to(device),
        "transfer, page-locked": lambda: pinned.to(device, non_blocking=True),
        "training transform": lambda: transform(on_device),
        "training transform, from RGB": lambda: transform(rgb_on_device),
    }
    result = StepResult("done")
    for name, run in runs.items():
        run()
        seconds = statistics.median(seconds_of(run, setting.device) for _ in range(sizes.rounds))
        speed = f", {num_bytes / seconds / 1e9:.1f} GB/s" if "transfer" in name else ""
        result.figures[f"{name}_seconds"] = seconds
        result.rows.append((f"{name} of {sizes.batch_size} clips", f"{seconds * 1e3:.2f} ms{speed}"))
    return result


def _decoded(num_clips: int, clip_len: int, colors: YuvColors | None) -> DecodedBatch:
    """Return a batch as the loader gives it: a clip per video, of random pixels, in planes if there are `colors`."""
    generator = torch.Generator().manual_seed(0)
    shape = (clip_len, HEIGHT, WIDTH, 3) if colors is None else (clip_len, HEIGHT * 3 // 2, WIDTH)
    return DecodedBatch(
        [
            DecodedVideo(
                path=f"{number}.mp4",
                row=number,
                label=0,
                seed=number,
                frames=torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator),
                clips=torch.arange(clip_len)[None],
                starts=[0],
                colors=colors,
            )
            for number in range(num_clips)
        ]
    )
