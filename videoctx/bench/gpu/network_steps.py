"""Steps of the part `model`: the device's peak, networks in evaluation and training, and Non-local affinities."""

import statistics
from collections.abc import Callable

import torch

from videoctx.bench.gpu.results import StepResult
from videoctx.bench.gpu.sizes import Setting
from videoctx.bench.model_measurements import GPU_WAYS, Measurements, Row, Ways
from videoctx.bench.model_speed import ModelBench
from videoctx.bench.network_runs import matrix_products, multiply_adds, seconds_of
from videoctx.bench.non_local import bench_non_local, ratios
from videoctx.models import create_model

COMPARED = "i3d_r50"  # the network that PyTorchVideo has too
# Of the networks with context blocks, the fastest ways alone.
FASTEST_WAYS: Ways = {"inference": GPU_WAYS["inference"][-2:], "training": GPU_WAYS["training"][-3:]}


def device_peak(setting: Setting) -> StepResult:
    """Measure the rates of large matrix products, and of a copy within the device's memory."""
    torch.manual_seed(0)
    result = StepResult("done")
    for (precision, size), multiply in matrix_products(setting.device).items():
        seconds = _median_seconds(multiply, setting)
        rate = 2 * multiply_adds(setting.device, size) / seconds / 1e12
        result.figures[f"{precision}_{size}_tflops"] = rate
        result.rows.append((f"matrix product of {size}, {precision}", f"{rate:.1f} TFLOP/s"))
    source = torch.empty(setting.sizes.copied_bytes, dtype=torch.uint8, device=setting.device)
    target = torch.empty_like(source)
    rate = 2 * source.numel() / _median_seconds(lambda: target.copy_(source), setting) / 1e9
    result.figures["memory_gb_per_second"] = rate
    result.rows.append(("copy within the memory, read and written", f"{rate:.0f} GB/s"))
    return result


def _median_seconds(run: Callable[[], object], setting: Setting) -> float:
    run()  # the first one loads kernels
    return statistics.median(seconds_of(run, setting.device) for _ in range(setting.sizes.rounds))


def network(name: str) -> Callable[[Setting], StepResult]:
    """Return the step of a network of `configs/model`."""

    def measure(setting: Setting) -> StepResult:
        sizes = setting.sizes
        bench = ModelBench(
            lambda num_classes: create_model(name, num_classes, dropout=0.0, **sizes.network),
            against_pytorchvideo=name == COMPARED,
            batch_size=sizes.batch_size,
            clip_len=sizes.clip_len,
            size=sizes.size,
            num_classes=sizes.num_classes,
            rounds=sizes.rounds,
            compiled=sizes.compiled,
            device=setting.device,
            ways=GPU_WAYS if name == COMPARED else FASTEST_WAYS,
            nl5=name == COMPARED,
        )
        return _result(bench.run())

    return measure


def _result(measured: Measurements) -> StepResult:
    result = StepResult("done", details=measured.as_dict(), figures=measured.ratios())
    for work in ("inference", "training"):
        for row in measured.rows:
            if row.work == work:
                result.rows.append((f"{work}, {row.network}, {row.way}", _described(row)))
        fastest = measured.fastest(work)
        if fastest is not None:
            result.figures[f"{work}_clips_per_second"] = fastest.clips_per_second
            result.figures[f"{work}_peak_bytes"] = fastest.peak_bytes
    result.rows += [("note", note) for note in measured.notes]
    return result


def _described(row: Row) -> str:
    share = "" if row.of_matmul_peak is None else f", {row.of_matmul_peak:.2f} of the peak"
    return f"{row.clips_per_second:,.1f} clips/s{share}, {row.peak_bytes / 2**30:.1f} GiB, batch {row.batch_size}"


def affinities(setting: Setting) -> StepResult:
    """Measure each affinity with the N × M matrix and without it, in float32 and bfloat16."""
    result = StepResult("done", details={})
    for dtype in (torch.float32, torch.bfloat16):
        rows = bench_non_local(
            inner_channels=setting.sizes.inner_channels,
            positions=setting.sizes.positions,
            device=setting.device,
            dtype=dtype,
        )
        precision = str(dtype).removeprefix("torch.")
        result.details[precision] = [row._asdict() for row in rows]
        compared = ratios(rows)
        for row in rows:
            if row.path == "exact" and row.positions == setting.sizes.positions[-1]:
                ratio = compared[f"{row.affinity}_{row.positions}"]
                what = f"{row.affinity}, {row.positions:,} positions, {precision}"
                value = f"{row.seconds * 1e3:.2f} ms; with the matrix ×{ratio['time']:.1f} time, ×{ratio['memory']:.1f}"
                result.rows.append((what, f"{value} memory"))
                result.figures |= {f"{row.affinity}_{precision}_{name}": value for name, value in ratio.items()}
    return result


def bare_forward(setting: Setting) -> float:
    """Return the clips per second of I3D-R50 on views of a test, without anything around it."""
    sizes = setting.sizes
    ways: Ways = {"inference": GPU_WAYS["inference"][3:4]}  # folded norms, as a test runs it
    bench = ModelBench(
        lambda num_classes: create_model(COMPARED, num_classes, **sizes.network),
        batch_size=sizes.views_per_forward,
        clip_len=sizes.clip_len,
        size=sizes.test_size,
        num_classes=sizes.num_classes,
        rounds=sizes.rounds,
        device=setting.device,
        ways=ways,
    )
    (row,) = bench.run().rows
    return row.clips_per_second
