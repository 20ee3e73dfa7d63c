"""`videoctx bench nonlocal`: each affinity with the N × M matrix and without it, forward and backward.

The two paths take turns, so that a machine that slows down slows both. Peak memory is that of torch's allocator, beyond
the inputs.
"""

import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from rich.progress import track
from rich.table import Table
from torch import Tensor

from videoctx.atomic_write import atomic_write
from videoctx.bench.peak_memory import peak_bytes
from videoctx.layers.non_local import (
    Affinity,
    ConcatenationAffinity,
    DotProductAffinity,
    SoftmaxAffinity,
)
from videoctx.printed_tables import Console

POSITIONS = (784, 6_272, 25_088, 100_352)
DIRECT_UP_TO = 25_088  # beyond, the matrix has more than 2.5 billion entries
KEYS_PER_QUERY = 1 / 4  # the subsampling trick: 2 × 2 pooling of what is attended to
AFFINITIES: dict[str, Callable[[int], Affinity]] = {
    "gaussian": lambda channels: SoftmaxAffinity(),  # noqa: ARG005
    "embedded_gaussian": lambda channels: SoftmaxAffinity(),  # noqa: ARG005
    "dot_product": lambda channels: DotProductAffinity(),  # noqa: ARG005
    "concatenation": ConcatenationAffinity,
}

AffinityPath = Literal["direct", "exact"]


class Row(NamedTuple):
    """One measurement."""

    affinity: str
    positions: int
    path: AffinityPath
    seconds: float
    peak_bytes: int


def bench_non_local(
    *,
    inner_channels: int = 256,
    positions: tuple[int, ...] = POSITIONS,
    repeats: int = 3,
    device: str = "cuda" if torch.cuda.is_available() else "cpu",
    dtype: torch.dtype = torch.float32,
) -> list[Row]:
    """Forward + backward of one clip's affinity.

    θ, φ and g all have `inner_channels`, for all four: the two Gaussians then do the same work. (In a block with
    `inner_ratio` 0.5 the plain Gaussian compares the inputs themselves, which are twice as wide.)

    Args:
        positions: numbers of queries N; there are N / 4 keys. The direct path is left out beyond 25 088.
        repeats: timed runs of each path; the median is given. One beyond 25 088, where there is nothing to compare.
        dtype: type of θ, φ, g and of the affinity's weights.
    """
    cases = [(affinity, count) for affinity in AFFINITIES for count in positions]
    rows = []
    for affinity, count in track(cases, description="bench nonlocal", transient=True):
        step = _step(affinity, count, inner_channels, device, dtype)
        paths: list[AffinityPath] = ["exact", "direct"] if count <= DIRECT_UP_TO else ["exact"]
        peaks = {path: peak_bytes(partial(step, path), device) for path in paths}  # also the warm-up
        seconds: dict[str, list[float]] = {path: [] for path in paths}
        for _ in range(repeats if "direct" in paths else 1):
            for path in paths:
                seconds[path].append(_seconds(partial(step, path), device))
        rows += [Row(affinity, count, path, statistics.median(seconds[path]), peaks[path]) for path in paths]
    return rows


def ratios(rows: list[Row]) -> dict[str, dict[str, float]]:
    """Return time and memory of the direct path over the exact one, by affinity and number of positions."""
    at = {(row.affinity, row.positions, row.path): row for row in rows}
    return {
        f"{affinity}_{count}": {
            "time": at[affinity, count, "direct"].seconds / row.seconds,
            "memory": at[affinity, count, "direct"].peak_bytes / max(row.peak_bytes, 1),
        }
        for (affinity, count, path), row in at.items()
        if path == "exact" and (affinity, count, "direct") in at
    }


def report(rows: list[Row], json_file: Path | None) -> None:
    """Print the table, and write `rows` and `ratios` to a JSON file if one is given."""
    compared = ratios(rows)
    table = Table(title="forward + backward, one clip", caption="×: direct / exact")
    for heading in ("affinity", "positions", "path", "ms", "peak MiB", "× time", "× memory"):
        table.add_column(heading, justify="left" if heading in ("affinity", "path") else "right")
    for row in rows:
        ratio = compared.get(f"{row.affinity}_{row.positions}") if row.path == "exact" else None
        table.add_row(
            row.affinity,
            f"{row.positions:,}",
            row.path,
            f"{row.seconds * 1e3:.1f}",
            f"{row.peak_bytes / 2**20:.1f}",
            *((f"{ratio['time']:.1f}", f"{ratio['memory']:.1f}") if ratio else ("", "")),
        )
    Console().print(table)
    if json_file:
        with atomic_write(json_file) as part:
            part.write_text(json.dumps({"rows": [row._asdict() for row in rows], "ratios": compared}, indent=2) + "\n")


def _step(name: str, positions: int, channels: int, device: str, dtype: torch.dtype) -> Callable[[str], None]:
    """Return a function that runs forward and backward of an affinity by the given path."""
    generator = torch.Generator(device).manual_seed(0)

    def random(count: int, width: int) -> Tensor:
        return torch.randn(1, count, width, generator=generator, device=device).to(dtype)

    affinity = AFFINITIES[name](channels).to(device, dtype)
    num_keys = max(int(positions * KEYS_PER_QUERY), 1)
    inputs = [random(count, channels).requires_grad_() for count in (positions, num_keys, num_keys)]
    gradient = random(positions, channels)

    def step(path: str) -> None:
        context = (affinity.direct if path == "direct" else affinity)(*inputs)
        torch.autograd.grad(context, [*inputs, *affinity.parameters()], gradient)

    return step


def _seconds(run: Callable[[], None], device: str) -> float:
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    start = time.perf_counter()
    run()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter() - start
