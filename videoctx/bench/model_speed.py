"""`videoctx bench model`: clips a second of a network, evaluation and training, by each way of running it.

All sides take their turn in every round, and so does a large matrix product, whose rate is the device's peak that a
network is held against: a machine that slows down slows all of them. Medians over the rounds.
"""

import copy
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple

import torch
from rich.progress import track
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD

from videoctx.bench.peak_memory import peak_bytes
from videoctx.bench.pytorchvideo_network import pytorchvideo_network
from videoctx.layers.non_local import NonLocal
from videoctx.models.bf16_gradients import convolutions_with_incorrect_gradients
from videoctx.models.complexity import complexity
from videoctx.models.inference import for_inference
from videoctx.models.insertion import insert_context

Work = Literal["inference", "training"]

NL5 = {"res3": [1, 3], "res4": [1, 3, 5]}
SGD_OF_THE_PAPERS = {"lr": 1e-4, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-4}
MATMUL_SIZES = {"cpu": (1024, 2048), "cuda": (4096, 8192)}


class Options(NamedTuple):
    """How a network is run; each of them on top of float32 in torch's default layout."""

    bf16: bool = False  # under autocast; evaluation, with norms folded, the weights too
    channels_last: bool = False
    folded: bool = False  # norms into the convolutions: evaluation only
    fused: bool = False  # the optimizer's step in one kernel: training only
    compiled: bool = False

    @property
    def name(self) -> str:
        return ", ".join(["bfloat16" if self.bf16 else "float32", *self.switched_on("bf16")])

    def switched_on(self, *but: str) -> list[str]:
        return [name for name, value in self._asdict().items() if value and name not in but]


BF16_LAST = Options(bf16=True, channels_last=True)
WAYS: dict[Work, tuple[Options, ...]] = {
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
# The peer as its users run it, in bfloat16, and with our memory format too; and how the ratio to each is called.
PEER_WAYS = {Options(): "peer", Options(bf16=True): "peer_bf16", BF16_LAST: "peer_same_precision"}


class Row(NamedTuple):
    """One side of the comparison."""

    work: Work
    network: str  # ours, PyTorchVideo, NL5
    way: str
    options: Options
    seconds: float  # of a batch: forward, or forward, backward and the optimizer's step
    clips_per_second: float
    of_matmul_peak: float | None  # of that in the same precision; none: not counted
    peak_bytes: int  # beyond what is held between batches


@dataclass(frozen=True, slots=True)
class Measurements:
    """What `report` prints and writes."""

    settings: dict[str, Any]
    matmul_peak: dict[str, float]  # multiply-adds a second, by precision
    macs: dict[Work, int]  # multiply-adds of a batch
    rows: list[Row]
    logits_differ: float | None  # from the peer's, in float32, relative to the largest
    notes: list[str] = field(default_factory=list)  # what was not measured, and why

    def ratios(self) -> dict[str, float]:
        """How many times faster, by our fastest way; what is missing was not measured."""
        found = {}
        for work, name in (("inference", "inference"), ("training", "train")):
            ours = min(self._rows(work, "ours"), key=lambda row: row.seconds, default=None)
            ours_bf16 = min(self._rows(work, "ours", bf16=True), key=lambda row: row.seconds, default=None)
            for peer in self._rows(work, "PyTorchVideo"):
                compared = ours_bf16 if peer.options.bf16 else ours
                found[f"{name}_vs_{PEER_WAYS[peer.options]}"] = peer.seconds / compared.seconds
            if ours:
                found[f"{name}_vs_matmul_peak"] = ours.of_matmul_peak
        for with_nl5 in self._rows("training", "NL5"):
            plain = next(row for row in self._rows("training", "ours") if row.options == with_nl5.options)
            found["nl5_vs_plain_train"] = with_nl5.seconds / plain.seconds
        return found

    def gains(self) -> Iterator[tuple[Work, str, str, float]]:
        """Of each option, on top of each way that it was measured on: how many times faster it makes the network."""
        for work in WAYS:
            rows = {row.options: row for row in self._rows(work, "ours")}
            for option in Options._fields:
                for options, row in rows.items():
                    without = rows.get(options._replace(**{option: False}))
                    if getattr(options, option) and without:
                        yield work, option, without.way, without.seconds / row.seconds

    def as_dict(self) -> dict[str, Any]:
        rows = [row._asdict() | {"options": row.options._asdict()} for row in self.rows]
        gains = [dict(zip(("work", "option", "on", "gain"), gain, strict=True)) for gain in self.gains()]
        return {**asdict(self), "rows": rows, "gains": gains, "ratios": self.ratios()}

    def _rows(self, work: Work, network: str, *, bf16: bool | None = None) -> list[Row]:
        return [r for r in self.rows if (r.work, r.network) == (work, network) and bf16 in (None, r.options.bf16)]


@dataclass(frozen=True, slots=True)
class _Side:
    network: str
    options: Options
    run: Callable[[], None]


@dataclass(frozen=True, slots=True)
class ModelBench:
    """
    Args:
        make_net: makes the network for a number of classes.
        against_pytorchvideo: measure PyTorchVideo's network of the same architecture, with the same weights, too.
        batch_size: clips of (clip_len, size, size); by default 2 on a CPU, 16 on a GPU.
        rounds: in each of which every side has its turn, once its kernels are warm.
        compiled: measure `torch.compile` too: a minute or so for each of evaluation and training.
    """

    make_net: Callable[[int], nn.Module]
    against_pytorchvideo: bool = False
    batch_size: int | None = None
    clip_len: int = 8
    size: int = 224
    num_classes: int = 400
    rounds: int = 5
    compiled: bool = True
    device: str = "cuda" if torch.cuda.is_available() else "cpu"

    def run(self) -> Measurements:
        """
        Raises:
            ValueError: an unknown device, or clips that are too small for the network.
        """
        kind = self.device.partition(":")[0]
        if kind not in MATMUL_SIZES or (kind == "cuda" and not torch.cuda.is_available()):
            raise ValueError(f"device is {self.device!r}; expected cpu{' or cuda' * torch.cuda.is_available()}")
        batch_size = self.batch_size or (2 if kind == "cpu" else 16)
        torch.manual_seed(0)
        net = self.make_net(self.num_classes).eval()
        clip = torch.randn(batch_size, 3, self.clip_len, self.size, self.size)
        labels = torch.randint(self.num_classes, (batch_size,), device=self.device)
        notes: list[str] = []
        peer, differ = self._peer(net, clip[:1], notes)
        macs_of_clip = complexity(lambda: self.make_net(self.num_classes), clip_len=self.clip_len, size=self.size).macs
        macs: dict[Work, int] = {"inference": macs_of_clip * batch_size, "training": 3 * macs_of_clip * batch_size}
        net, clip = net.to(self.device), clip.to(self.device)
        rows: list[Row] = []
        rates: dict[str, list[float]] = {}
        for work in WAYS:
            sides = {
                "inference": lambda: self._evaluation(net, peer, clip, notes),
                "training": lambda: self._training(net, peer, clip, labels, notes),
            }[work]()
            rows += self._measured(work, list(sides), batch_size, macs[work], rates)
        settings = {
            "device": torch.cuda.get_device_name() if kind == "cuda" else torch.cpu.get_capabilities().get("cpu_name"),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "batch_size": batch_size,
            "clip_len": self.clip_len,
            "size": self.size,
            "rounds": self.rounds,
        }
        peaks = {precision: max(of_precision) for precision, of_precision in rates.items()}
        return Measurements(settings, peaks, macs, rows, differ, notes)

    # Sides --------------------------------------------------------------------------------------------------------

    def _peer(self, net: nn.Module, clip: Tensor, notes: list[str]) -> tuple[nn.Module | None, float | None]:
        if not self.against_pytorchvideo:
            return None, None
        try:
            peer = pytorchvideo_network(net, self.num_classes, clip)
        except ValueError as error:
            notes.append(f"not compared: {error}")
            return None, None
        with torch.no_grad():
            ours, theirs = net(clip), peer(clip)
        return peer.to(self.device), ((ours - theirs).abs().max() / theirs.abs().max()).item()

    def _evaluation(self, net: nn.Module, peer: nn.Module | None, clip: Tensor, notes: list[str]) -> Iterator[_Side]:
        """A forward without gradients, in evaluation mode."""
        for options in PEER_WAYS if peer else ():
            theirs = _laid_out(peer, options)
            theirs = theirs.to(torch.bfloat16) if options.bf16 else theirs
            yield _Side("PyTorchVideo", options, _forward(theirs, _input(clip, options, cast=True)))
        for options in WAYS["inference"]:
            if options.folded:
                dtype = torch.bfloat16 if options.bf16 else torch.float32
                ours = for_inference(net, self.device, dtype=dtype, compiled=options.compiled)
                side = _Side("ours", options, _forward(ours, _input(clip, options, cast=True)))
            else:
                run = _forward(_laid_out(net, options), _input(clip, options), autocast=options.bf16)
                side = _Side("ours", options, run)
            if self._possible(side, notes):
                yield side

    def _training(
        self, net: nn.Module, peer: nn.Module | None, clip: Tensor, labels: Tensor, notes: list[str]
    ) -> Iterator[_Side]:
        """Cross-entropy, its gradients, and a step of SGD, as the papers have it."""
        wrong = convolutions_with_incorrect_gradients(net, clip_len=self.clip_len, size=self.size)
        bf16 = self.device != "cpu" or not wrong
        if not bf16:
            notes.append(
                f"training in bfloat16 is not measured: on a CPU torch gets the gradients of {len(wrong)} convolutions"
                f" wrong with so few frames ({wrong[0]}, …)"
            )
        for options in PEER_WAYS if peer else ():
            if bf16 or not options.bf16:
                yield _Side("PyTorchVideo", options, _step(peer, clip, labels, options))
        measured = []
        for options in WAYS["training"]:
            if bf16 or not options.bf16:
                side = _Side("ours", options, _step(net, clip, labels, options))
                if self._possible(side, notes):
                    measured.append(options)
                    yield side
        plain = [options for options in measured if not options.compiled][-1]
        try:
            with_nl5 = insert_context(copy.deepcopy(net), NL5, NonLocal)
        except ValueError as error:
            notes.append(f"no NL5 beside it: {error}")
        else:
            yield _Side("NL5", plain, _step(with_nl5.to(self.device), clip, labels, plain))

    def _possible(self, side: _Side, notes: list[str]) -> bool:
        """Whether it can be measured; what is to be compiled is compiled here."""
        if not side.options.compiled:
            return True
        if not self.compiled:
            return False
        try:
            side.run()
        except Exception as error:  # a compiler that is missing or fails raises anything
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            notes.append(f"torch.compile does not work here, and is left out: {reason[:160]}")
            return False
        return True

    # Measuring ----------------------------------------------------------------------------------------------------

    def _measured(
        self, work: Work, sides: list[_Side], batch_size: int, macs: int, rates: dict[str, list[float]]
    ) -> list[Row]:
        """Rows of all sides; the medians of the matrix products' rates are added to `rates`."""
        for side in sides:  # warm
            side.run()
        memory = [peak_bytes(side.run, self.device) for side in sides]
        seconds: list[list[float]] = [[] for _ in sides]
        products = _products(self.device)
        of_products: dict[tuple[str, int], list[float]] = {key: [] for key in products}
        for _ in track(range(self.rounds), description=f"bench model, {work}", transient=True):
            for (precision, size), multiply in products.items():
                multiply()  # what ran before has the caches
                of_products[precision, size].append(size**3 / _seconds(multiply, self.device))
            for side, taken in zip(sides, seconds, strict=True):
                taken.append(_seconds(side.run, self.device))
        for (precision, _), found in of_products.items():
            rates.setdefault(precision, []).append(statistics.median(found))
        rows = []
        for side, taken, held in zip(sides, seconds, memory, strict=True):
            median = statistics.median(taken)
            peak = max(rates["bfloat16" if side.options.bf16 else "float32"])
            share = macs / median / peak if side.network != "NL5" else None  # NL5 does more than these multiply-adds
            rows.append(
                Row(work, side.network, side.options.name, side.options, median, batch_size / median, share, held)
            )
        return rows


def _laid_out(net: nn.Module, options: Options) -> nn.Module:
    net = copy.deepcopy(net)
    return net.to(memory_format=torch.channels_last_3d) if options.channels_last else net


def _input(clip: Tensor, options: Options, *, cast: bool = False) -> Tensor:
    clip = clip.to(torch.bfloat16) if cast and options.bf16 else clip
    return clip.contiguous(memory_format=torch.channels_last_3d) if options.channels_last else clip


def _forward(net: nn.Module, clip: Tensor, *, autocast: bool = False) -> Callable[[], None]:
    def run() -> None:
        with torch.inference_mode(), _autocast(clip) if autocast else nullcontext():
            net(clip)

    return run


def _step(net: nn.Module, clip: Tensor, labels: Tensor, options: Options) -> Callable[[], None]:
    net = _laid_out(net, options).train().requires_grad_()
    clip = _input(clip, options)
    optimizer = SGD(net.parameters(), **SGD_OF_THE_PAPERS, fused=options.fused)
    called = torch.compile(net, dynamic=False) if options.compiled else net

    def run() -> None:
        with _autocast(clip) if options.bf16 else nullcontext():
            loss = F.cross_entropy(called(clip), labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return run


def _autocast(clip: Tensor) -> torch.autocast:
    return torch.autocast(clip.device.type, torch.bfloat16)


def _products(device: str) -> dict[tuple[str, int], Callable[[], Tensor]]:
    """Large square matrix products, by precision and size."""

    def product(precision: str, size: int) -> Callable[[], Tensor]:
        a, b = torch.randn(2, size, size, device=device).to(getattr(torch, precision))
        return lambda: a @ b

    sizes = MATMUL_SIZES[torch.device(device).type]
    return {(precision, size): product(precision, size) for precision in ("float32", "bfloat16") for size in sizes}


def _seconds(run: Callable[[], Any], device: str) -> float:
    cuda = torch.device(device).type == "cuda"
    if cuda:
        torch.cuda.synchronize()
    start = time.perf_counter()
    run()
    if cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start
