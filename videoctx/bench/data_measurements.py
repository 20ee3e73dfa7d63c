"""What `videoctx bench data` measures, and the ratios that follow from it.

A ratio is the median over the rounds of the ratio within one round.
"""

import statistics
from dataclasses import dataclass, field

VIEW_PROTOCOL = "8x8"  # the default of the data module, for which the ratio is printed
OTHER_LOADERS = ("torchcodec", "spdl")
OTHER_DECODERS = ("decord", "torchcodec", "spdl")
Sides = dict[str, list[dict[str, float]]]  # by way of reading, the seconds per clip of each round


@dataclass(slots=True)
class Measurements:
    """All measurements. FILES is `gop250`, `gop16` or `manifest`, SIDE a way of reading."""

    settings: dict[str, object]
    skipped: dict[str, str] = field(default_factory=dict)  # peer: why it cannot be measured here
    stages: dict[str, dict[str, float]] = field(default_factory=dict)  # FILES, stage: seconds per clip
    rounds: dict[str, Sides] = field(default_factory=dict)  # FILES, SIDE: seconds per clip
    views: dict[str, dict[str, dict[str, list[float]]]] = field(default_factory=dict)  # shape, FILES, SIDE: CPU seconds
    clip_bytes: dict[str, int] = field(default_factory=dict)  # FILES: of the frames of a clip
    training_thread: float | None = None  # CPU seconds per batch of the thread that trains
    rows: dict[str, dict[str, float]] = field(default_factory=dict)  # kind of manifest: seconds and bytes of its rows
    memory: dict[str, list[int]] | None = None

    def ratios(self) -> dict[str, float]:
        """Return how many times faster than each other way, and the largest memory over that after the first videos."""
        ratios: dict[str, float] = {}
        with_loader = {files: sides for files, sides in self.rounds.items() if "ours" in sides}
        own = {files: bare for files, sides in with_loader.items() if (bare := _own_bare(sides))}
        if own:  # the files for which the loader adds most
            ratios["vs_bare_decode"] = min(_ratio(with_loader[files], bare) for files, bare in own.items())
        for files, sides in self.rounds.items():
            if files in with_loader:
                ratios |= {f"{name}_{files}": ratio for name, ratio in _of_loader(sides).items()}
            ratios |= {f"{name}_{files}": ratio for name, ratio in _of_sparse_decoding(sides).items()}
        for files, views in self.views.get(VIEW_PROTOCOL, {}).items():
            ratios[f"views_vs_per_view_{files}"] = statistics.median(
                peer / ours for ours, peer in zip(views["ours"], views["per_view"], strict=True)
            )
        if self.memory:
            ratios["memory_growth"] = max(self.memory["bytes"]) / self.memory["bytes"][0]
        return ratios


def _of_loader(sides: Sides) -> dict[str, float]:
    """Return other ways over the loader."""
    ratios = {}
    if "bare_decord" in sides:
        ratios["vs_bare_decord"] = _ratio(sides, "bare_decord")
        ratios["vs_decord_cpu"] = _cpu_ratio(sides, "bare_decord")
    if "bare_sparse_yuv" in sides:
        ratios["vs_sparse_cpu"] = _cpu_ratio(sides, "bare_sparse_yuv")
    ratios |= {f"vs_{loader}_cpu": _cpu_ratio(sides, loader) for loader in OTHER_LOADERS if loader in sides}
    if peers := [side for side in sides if side.startswith("pytorchvideo")]:
        ratios["vs_pytorchvideo"] = min(_ratio(sides, peer) for peer in peers)
        ratios["vs_pytorchvideo_cpu"] = min(_cpu_ratio(sides, peer) for peer in peers)
    return ratios


def _of_sparse_decoding(sides: Sides) -> dict[str, float]:
    """Return the sparse decoder over other decoders, all of them decoding alone."""
    return {
        f"{own}_of_{other}_cpu": _cpu_ratio(sides, f"bare_{own}", over=f"bare_{other}")
        for own in ("sparse_rgb", "sparse_yuv")
        for other in OTHER_DECODERS
        if {f"bare_{own}", f"bare_{other}"} <= sides.keys()
    }


def _own_bare(sides: Sides) -> str | None:
    """Return the bare decoding with the loader's decoder, if it was measured."""
    return next((side for side in ("bare_sparse_yuv", "bare_decord") if side in sides), None)


def _cpu_ratio(sides: Sides, side: str, *, over: str = "ours") -> float:
    return _ratio(sides, side, over=over, measure="cpu_seconds")


def _ratio(sides: Sides, side: str, *, over: str = "ours", measure: str = "seconds") -> float:
    """Return how many times as long a way takes as another one, by default as the loader."""
    return statistics.median(way[measure] / other[measure] for other, way in zip(sides[over], sides[side], strict=True))
