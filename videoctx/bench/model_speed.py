"""`videoctx bench model`: the clips per second of a network, in evaluation and training, with each way of running it.

In every round all ways take their turn, and so does a large matrix product, whose rate is taken as the device's peak. A
machine that slows down slows all of them. The results are medians over the rounds.
"""

import copy
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from rich.progress import track
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD

from videoctx.bench.model_measurements import PEER_WAYS, WAYS, Measurements, Options, Row, Work
from videoctx.bench.peak_memory import peak_bytes
from videoctx.bench.pytorchvideo_network import pytorchvideo_network
from videoctx.layers.non_local import NonLocal
from videoctx.models.bf16_gradients import convolutions_with_incorrect_gradients
from videoctx.models.compilation import compile_for_fixed_sizes
from videoctx.models.complexity import complexity
from videoctx.models.inference import cpu_capabilities, for_inference
from videoctx.models.insertion import insert_context

NL5 = {"res3": [1, 3], "res4": [1, 3, 5]}
MATMUL_SIZES = {"cpu": (1024, 2048), "cuda": (4096, 8192)}


@dataclass(frozen=True, slots=True)
class _Side:
    network: str
    options: Options
    run: Callable[[], None]


@dataclass(frozen=True, slots=True)
class ModelBench:
    """A measurement of a network's speed.

    Args:
        make_net: makes the network for a number of classes.
        against_pytorchvideo: also measure PyTorchVideo's network of the same architecture, with the same weights.
        batch_size: clips per batch; by default 2 on a CPU, 16 on a GPU.
        clip_len: number of frames of a clip.
        size: height and width of a clip, in pixels.
        num_classes: number of classes.
        rounds: number of rounds, in each of which every way runs once. All are warmed up before.
        compiled: also measure `torch.compile`, which takes about a minute each for evaluation and training.
        device: cpu or cuda.
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
        """Measure all of it.

        Raises:
            ValueError: the device is unknown, or the clips are too small for the network.
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
            "device": torch.cuda.get_device_name() if kind == "cuda" else cpu_capabilities().get("cpu_name"),
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
        """Yield the ways of a forward pass without gradients, in evaluation mode."""
        for options in PEER_WAYS if peer is not None else ():
            assert peer is not None
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
        """Yield the ways of a training step: cross-entropy, its gradients, and SGD with the settings of the papers."""
        inaccurate = convolutions_with_incorrect_gradients(net, clip_len=self.clip_len, size=self.size)
        bf16 = self.device != "cpu" or not inaccurate
        if not bf16:
            notes.append(
                "training in bfloat16 is not measured: with so few frames torch's gradients of"
                f" {len(inaccurate)} convolutions are incorrect on a CPU ({inaccurate[0]}, …)"
            )
        for options in PEER_WAYS if peer is not None else ():
            assert peer is not None
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
        """Return whether a way can be measured. Compiles it if it is to be compiled."""
        if not side.options.compiled:
            return True
        if not self.compiled:
            return False
        try:
            side.run()
        except Exception as error:  # a compiler that is missing or fails raises errors of many kinds
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            notes.append(f"torch.compile is not measured, as it fails here: {reason[:160]}")
            return False
        return True

    # Measuring ----------------------------------------------------------------------------------------------------

    def _measured(
        self, work: Work, sides: list[_Side], batch_size: int, macs: int, rates: dict[str, list[float]]
    ) -> list[Row]:
        """Return the rows of all ways, and add the median rates of the matrix products to `rates`."""
        for side in sides:  # warm
            side.run()
        memory = [peak_bytes(side.run, self.device) for side in sides]
        seconds: list[list[float]] = [[] for _ in sides]
        products = _products(self.device)
        of_products: dict[tuple[str, int], list[float]] = {key: [] for key in products}
        for _ in track(range(self.rounds), description=f"bench model, {work}", transient=True):
            for (precision, size), multiply in products.items():
                multiply()  # warm the caches, which hold what ran before
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
    optimizer = SGD(net.parameters(), lr=1e-4, momentum=0.9, nesterov=True, weight_decay=1e-4, fused=options.fused)
    called = compile_for_fixed_sizes(net) if options.compiled else net

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
    """Return large square matrix products, by precision and size."""

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
