"""The ways of running a network that `videoctx bench model` measures, and its measurements."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple

Work = Literal["inference", "training"]


class Options(NamedTuple):
    """How a network is run. Each option is on top of float32 in torch's default memory format."""

    bf16: bool = False  # under autocast; with folded norms the weights are in bfloat16 too
    channels_last: bool = False
    folded: bool = False  # norms are folded into the convolutions: evaluation only
    fused: bool = False  # the optimizer's step is one kernel: training only
    tuned: bool = False  # cuDNN tries its algorithms and takes the fastest: GPUs only
    checkpointing: bool = False  # of the activations of res2 and res3, for twice the clips: training only
    compiled: bool = False  # the whole network for evaluation, each residual block for training

    @property
    def name(self) -> str:
        return ", ".join(["bfloat16" if self.bf16 else "float32", *self.switched_on("bf16")])

    def switched_on(self, *but: str) -> list[str]:
        return [name for name, value in self._asdict().items() if value and name not in but]


BF16_LAST = Options(bf16=True, channels_last=True)
Ways = dict[Work, tuple[Options, ...]]
WAYS: Ways = {  # on a CPU
    "inference": (
        Options(),
        Options(channels_last=True),
        Options(channels_last=True, folded=True),
        Options(bf16=True),
        BF16_LAST,
        BF16_LAST._replace(folded=True),
        BF16_LAST._replace(folded=True, compiled=True),
    ),
    "training": (
        Options(),
        Options(channels_last=True),
        Options(bf16=True),
        BF16_LAST,
        BF16_LAST._replace(fused=True),
        BF16_LAST._replace(fused=True, compiled=True),
    ),
}
FASTEST_ON_GPU = BF16_LAST._replace(tuned=True)
GPU_WAYS: Ways = {
    "inference": (
        Options(),
        BF16_LAST,
        FASTEST_ON_GPU,
        FASTEST_ON_GPU._replace(folded=True),
        FASTEST_ON_GPU._replace(folded=True, compiled=True),
    ),
    "training": (
        Options(),
        Options(bf16=True),
        BF16_LAST,
        FASTEST_ON_GPU,
        FASTEST_ON_GPU._replace(fused=True, checkpointing=True),
        FASTEST_ON_GPU._replace(fused=True),
        FASTEST_ON_GPU._replace(fused=True, compiled=True),
    ),
}
# How PyTorchVideo's network is run (as by its users, in bfloat16, in channels last too), and the name of the ratio.
PEER_RATIOS = {
    Options(): "peer",
    Options(bf16=True): "peer_bf16",
    BF16_LAST: "peer_same_precision",
    FASTEST_ON_GPU: "peer_same_precision",
}
PEER_WAYS = (Options(), Options(bf16=True), BF16_LAST)  # on a CPU
GPU_PEER_WAYS = (Options(), Options(bf16=True), FASTEST_ON_GPU)


class Row(NamedTuple):
    """The measurement of a network that is run in one way."""

    work: Work
    network: str  # ours, PyTorchVideo, NL5
    way: str
    options: Options
    seconds: float  # per batch: forward, in training also backward and the optimizer's step
    clips_per_second: float
    of_matmul_peak: float | None  # share of the rate of a matrix product in the same precision; None: not counted
    peak_bytes: int  # beyond the memory between batches
    batch_size: int | None = None  # clips; fewer than asked for, if those do not fit into the memory


@dataclass(frozen=True, slots=True)
class Measurements:
    """All measurements, as `report` prints and writes them."""

    settings: dict[str, Any]
    matmul_peak: dict[str, float]  # multiply-adds per second of a large matrix product, by precision
    macs: dict[Work, int]  # multiply-adds of a batch
    rows: list[Row]
    logits_differ: float | None  # from the peer's, in float32, relative to the largest
    notes: list[str] = field(default_factory=list)  # what was not measured, and why

    def ratios(self) -> dict[str, float]:
        """Return the ratios of our fastest way to others. A ratio that was not measured is missing."""
        found: dict[str, float] = {}
        names: dict[Work, str] = {"inference": "inference", "training": "train"}
        for work, name in names.items():
            ours = self.fastest(work)
            ours_bf16 = self.fastest(work, bf16=True)
            for peer in self._rows(work, "PyTorchVideo"):
                compared = ours_bf16 if peer.options.bf16 else ours
                if compared:
                    ratio = compared.clips_per_second / peer.clips_per_second
                    found[f"{name}_vs_{PEER_RATIOS[peer.options]}"] = ratio
            if ours and ours.of_matmul_peak is not None:
                found[f"{name}_vs_matmul_peak"] = ours.of_matmul_peak
        for with_nl5 in self._rows("training", "NL5"):
            plain = next((row for row in self._rows("training", "ours") if row.options == with_nl5.options), None)
            if plain is None:  # it did not fit into the memory
                continue
            found["nl5_vs_plain_train"] = plain.clips_per_second / with_nl5.clips_per_second
        return found

    def fastest(self, work: Work, *, bf16: bool | None = None) -> Row | None:
        """Return our fastest way, with `bf16` the fastest one in or not in bfloat16."""
        rows = self._rows(work, "ours", bf16=bf16)
        return max(rows, key=lambda row: row.clips_per_second, default=None)

    def gains(self) -> Iterator[tuple[Work, str, str, float]]:
        """Yield work, option, the way without it, and how many times faster the option makes it."""
        for work in WAYS:
            rows = {row.options: row for row in self._rows(work, "ours")}
            for option in Options._fields:
                for options, row in rows.items():
                    without = rows.get(options._replace(**{option: False}))
                    if getattr(options, option) and without:
                        yield work, option, without.way, row.clips_per_second / without.clips_per_second

    def as_dict(self) -> dict[str, Any]:
        rows = [row._asdict() | {"options": row.options._asdict()} for row in self.rows]
        gains = [dict(zip(("work", "option", "on", "gain"), gain, strict=True)) for gain in self.gains()]
        return {**asdict(self), "rows": rows, "gains": gains, "ratios": self.ratios()}

    def _rows(self, work: Work, network: str, *, bf16: bool | None = None) -> list[Row]:
        return [r for r in self.rows if (r.work, r.network) == (work, network) and bf16 in (None, r.options.bf16)]
