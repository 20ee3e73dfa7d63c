"""`videoctx bench model`: the clips per second of a network, in evaluation and training, with each way of running it.

In every round all ways take their turn, and so does a large matrix product, whose rate is taken as the device's peak. A
machine that slows down slows all of them. The results are medians over the rounds.
"""

import copy
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from rich.progress import track
from torch import Tensor, nn

from videoctx.bench.model_measurements import (
    GPU_PEER_WAYS,
    GPU_WAYS,
    PEER_WAYS,
    WAYS,
    Measurements,
    Options,
    Row,
    Ways,
    Work,
)
from videoctx.bench.network_runs import (
    as_input,
    forward_pass,
    laid_out,
    matrix_products,
    multiply_adds,
    seconds_of,
    training_step,
    tuned,
)
from videoctx.bench.peak_memory import peak_bytes
from videoctx.bench.pytorchvideo_network import pytorchvideo_network
from videoctx.layers.non_local import NonLocal
from videoctx.models.bf16_gradients import convolutions_with_incorrect_gradients
from videoctx.models.complexity import complexity
from videoctx.models.inference import cpu_capabilities, emulates_bf16, for_inference
from videoctx.models.insertion import insert_context
from videoctx.models.resnet3d import ResNet3D

NL5 = {"res3": [1, 3], "res4": [1, 3, 5]}

Run = Callable[[], None]


@dataclass(frozen=True, slots=True)
class _Side:
    network: str
    options: Options
    make: Callable[[Tensor, Tensor], Run]  # of clips and labels


@dataclass(frozen=True, slots=True)
class _Running:
    side: _Side
    run: Run
    batch_size: int

    def __call__(self) -> None:
        with tuned(self.side.options.tuned):
            self.run()


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
        ways: how the network is run; by default the ways of the device.
        nl5: also measure training with five Non-local blocks in the network.
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
    ways: Ways | None = None
    nl5: bool = True

    def run(self) -> Measurements:
        """Measure all of it.

        Raises:
            ValueError: the device is unknown, or the clips are too small for the network.
        """
        num_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
        devices = ["cpu", *(["cuda"] if num_gpus else []), *(f"cuda:{index}" for index in range(num_gpus))]
        if self.device not in devices:
            raise ValueError(f"device is {self.device!r}; expected {' or '.join(devices)}")
        kind = self.device.partition(":")[0]
        batch_size = self.batch_size or (2 if kind == "cpu" else 16)
        torch.manual_seed(0)
        net = self.make_net(self.num_classes).eval()
        clip = torch.randn(batch_size, 3, self.clip_len, self.size, self.size)
        labels = torch.randint(self.num_classes, (batch_size,), device=self.device)
        notes: list[str] = []
        if self._emulates_bf16:
            notes.append("bfloat16 is not measured: this device emulates it, many times slower than float32")
        peer, differ = self._peer(net, clip[:1], notes)
        macs_of_clip = complexity(lambda: self.make_net(self.num_classes), clip_len=self.clip_len, size=self.size).macs
        macs: dict[Work, int] = {"inference": macs_of_clip, "training": 3 * macs_of_clip}
        net, clip = net.to(self.device), clip.to(self.device)
        rows: list[Row] = []
        rates: dict[str, list[float]] = {}
        for work in self._ways:
            sides = {
                "inference": lambda: self._evaluation(net, peer),
                "training": lambda: self._training(net, peer, notes),
            }[work]()
            started = [running for side in sides if (running := self._started(side, clip, labels, notes))]
            rows += self._measured(work, started, macs[work], rates)
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
        of_batch = {work: batch_size * of_clip for work, of_clip in macs.items()}
        return Measurements(settings, peaks, of_batch, rows, differ, notes)

    @property
    def _on_gpu(self) -> bool:
        return self.device.startswith("cuda")

    @property
    def _ways(self) -> Ways:
        ways = self.ways or (GPU_WAYS if self._on_gpu else WAYS)
        if not self._emulates_bf16:
            return ways
        in_float32 = {work: [way._replace(bf16=False) for way in of_work] for work, of_work in ways.items()}
        return {work: tuple(dict.fromkeys(of_work)) for work, of_work in in_float32.items()}

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

    def _evaluation(self, net: nn.Module, peer: nn.Module | None) -> Iterator[_Side]:
        """Yield the ways of a forward pass without gradients, in evaluation mode."""

        def run(network: nn.Module, options: Options, clip: Tensor, _: Tensor, *, peers: bool) -> Run:
            if options.folded:
                dtype = torch.bfloat16 if options.bf16 else torch.float32
                folded = for_inference(network, self.device, dtype=dtype, compiled=options.compiled)
                return forward_pass(folded, as_input(clip, options, cast=True))
            network = laid_out(network, options)
            if peers and options.bf16:
                return forward_pass(network.to(torch.bfloat16), as_input(clip, options, cast=True))
            return forward_pass(network, as_input(clip, options), autocast=options.bf16)

        for options in self._peer_ways if peer is not None else ():
            assert peer is not None
            yield _Side("PyTorchVideo", options, partial(run, peer, options, peers=True))
        for options in self._ways["inference"]:
            if self.compiled or not options.compiled:
                yield _Side("ours", options, partial(run, net, options, peers=False))

    def _training(self, net: nn.Module, peer: nn.Module | None, notes: list[str]) -> Iterator[_Side]:
        """Yield the ways of a training step: cross-entropy, its gradients, and SGD with the settings of the papers."""
        inaccurate = (
            []
            if self._on_gpu or self._emulates_bf16
            else convolutions_with_incorrect_gradients(net, clip_len=self.clip_len, size=self.size)
        )
        if inaccurate:
            notes.append(
                "training in bfloat16 is not measured: with so few frames torch's gradients of"
                f" {len(inaccurate)} convolutions are incorrect on a CPU ({inaccurate[0]}, …)"
            )

        def side(name: str, network: nn.Module, options: Options) -> _Side:
            return _Side(name, options, lambda clip, labels: training_step(network, clip, labels, options))

        def possible(options: Options) -> bool:
            if options.checkpointing and not isinstance(net, ResNet3D):
                return False
            return not (options.bf16 and inaccurate) and (self.compiled or not options.compiled)

        for options in self._peer_ways if peer is not None else ():
            assert peer is not None
            if possible(options):
                yield side("PyTorchVideo", peer, options)
        measured = [options for options in self._ways["training"] if possible(options)]
        for options in measured:
            yield side("ours", net, options)
        if not self.nl5:
            return
        plain = [options for options in measured if not options.compiled and not options.checkpointing][-1]
        try:
            with_nl5 = insert_context(copy.deepcopy(net), NL5, NonLocal)
        except ValueError as error:
            notes.append(f"no NL5 beside it: {error}")
        else:
            yield side("NL5", with_nl5.to(self.device), plain)

    @property
    def _peer_ways(self) -> tuple[Options, ...]:
        ways = GPU_PEER_WAYS if self._on_gpu else PEER_WAYS
        return tuple(way for way in ways if not (way.bf16 and self._emulates_bf16))

    @property
    def _emulates_bf16(self) -> bool:
        return emulates_bf16(torch.device(self.device))

    def _started(self, side: _Side, clip: Tensor, labels: Tensor, notes: list[str]) -> _Running | None:
        """Run a way once, which compiles and tunes it. Where the memory does not suffice, take half the clips.

        Returns:
            None: it fails, and `notes` tells why.
        """
        if side.options.checkpointing:  # it is done for larger batches
            clip, labels = torch.cat([clip, clip]), torch.cat([labels, labels])
        size = len(clip)
        while size:
            try:
                running = _Running(side, side.make(clip[:size], labels[:size]), size)
                running()
            except torch.OutOfMemoryError:
                size //= 2
            except Exception as error:  # a compiler that is missing or fails raises errors of many kinds
                if not side.options.compiled:
                    raise
                reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
                notes.append(f"torch.compile is not measured, as it fails here: {reason[:160]}")
                return None
            else:
                return running
            torch.cuda.empty_cache()
        notes.append(f"{side.network}, {side.options.name}: out of memory with a single clip")
        return None

    # Measuring ----------------------------------------------------------------------------------------------------

    def _measured(self, work: Work, sides: list[_Running], macs: int, rates: dict[str, list[float]]) -> list[Row]:
        """Return the rows of all ways, and add the median rates of the matrix products to `rates`.

        Args:
            macs: multiply-adds of a clip.
        """
        memory = [peak_bytes(side, self.device) for side in sides]
        seconds: list[list[float]] = [[] for _ in sides]
        products = matrix_products(self.device, ["float32"] if self._emulates_bf16 else ["float32", "bfloat16"])
        of_products: dict[tuple[str, int], list[float]] = {key: [] for key in products}
        for _ in track(range(self.rounds), description=f"bench model, {work}", transient=True):
            for (precision, size), multiply in products.items():
                multiply()  # warm the caches, which hold what ran before
                rate = multiply_adds(self.device, size) / seconds_of(multiply, self.device)
                of_products[precision, size].append(rate)
            for running, taken in zip(sides, seconds, strict=True):
                taken.append(seconds_of(running, self.device))
        for (precision, _), found in of_products.items():
            rates.setdefault(precision, []).append(statistics.median(found))
        rows = []
        for running, taken, held in zip(sides, seconds, memory, strict=True):
            side, size = running.side, running.batch_size
            median = statistics.median(taken)
            peak = max(rates["bfloat16" if side.options.bf16 else "float32"])
            share = macs * size / median / peak if side.network != "NL5" else None  # NL5 does more multiply-adds
            name = side.options.name
            rows.append(Row(work, side.network, name, side.options, median, size / median, share, held, size))
        return rows
