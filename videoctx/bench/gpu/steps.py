"""The table of all steps, by part, and the process that runs one: `python -m videoctx.bench.gpu.steps PART STEP …`.

A process of its own can be ended when it takes too long, and neither an error of the device nor memory that is not
given back reaches the next step.
"""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from videoctx.bench.gpu.results import StepResult, write_json
from videoctx.bench.gpu.sizes import FULL, TINY, Setting

Part = Literal["tests", "model", "data", "fit"]


@dataclass(frozen=True, slots=True)
class Step:
    """A step: what it is called, what it needs, and how long it takes on a GPU at most."""

    part: Part
    name: str
    what: str
    minutes: float  # expected; a step is not begun if the part has less time left
    num_gpus: int = 1

    def run(self, setting: Setting) -> StepResult:
        """Measure it, in this process."""
        return _function(self)(setting)


STEPS = (
    Step("tests", "cuda", "the tests marked cuda", 4),
    Step("model", "peak", "matrix products and memory copies", 0.5),
    Step("model", "i3d_r50", "I3D-R50 and PyTorchVideo's", 4),
    Step("model", "i3d_r50_nl5", "with five Non-local blocks", 3),
    Step("model", "i3d_r50_gc5", "with five Global Context blocks", 3),
    Step("model", "i3d_r50_gc_all", "with Global Context everywhere", 3),
    Step("model", "nonlocal", "Non-local affinities", 1.5),
    Step("data", "loader", "the loader over all cores", 5),
    Step("data", "nvdec", "decoding on the GPU", 1.5),
    Step("data", "transform", "from frames in host memory to clips on the device", 1),
    Step("fit", "one_gpu", "fit of I3D-R50", 3.5),
    Step("fit", "ddp_1", "the same, as one rank of DDP", 2),
    Step("fit", "ddp_all", "the same, as a rank of DDP on every GPU", 2.5, num_gpus=2),
    Step("fit", "evaluation", "test with 10 × 3 views", 2),
)
PARTS: tuple[Part, ...] = ("tests", "model", "data", "fit")


def _function(step: Step) -> Callable[[Setting], StepResult]:
    """Return the function of a step. What it imports is imported here, in its own process."""
    if step.part == "tests":
        from videoctx.bench.gpu.marked_tests import run_marked_tests

        return run_marked_tests
    if step.part == "model":
        from videoctx.bench.gpu import network_steps

        by_name = {"peak": network_steps.device_peak, "nonlocal": network_steps.affinities}
        return by_name.get(step.name) or network_steps.network(step.name)
    if step.part == "data":
        from videoctx.bench.gpu import data_steps, nvdec_step

        return {
            "loader": data_steps.loader,
            "nvdec": nvdec_step.decoding_on_the_gpu,
            "transform": data_steps.device_transform,
        }[step.name]
    from videoctx.bench.gpu import fit_steps

    return {
        "one_gpu": fit_steps.one_device,
        "ddp_1": fit_steps.one_rank,
        "ddp_all": fit_steps.all_ranks,
        "evaluation": fit_steps.evaluation,
    }[step.name]


def main(arguments: list[str]) -> None:
    """Run one step and write its result to a file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("part")
    parser.add_argument("step")
    parser.add_argument("--device", required=True)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--result", type=Path, required=True)
    options = parser.parse_args(arguments)
    (step,) = (step for step in STEPS if (step.part, step.name) == (options.part, options.step))
    started = time.monotonic()
    result = step.run(Setting(options.device, TINY if options.tiny else FULL, options.folder))
    result.seconds = time.monotonic() - started
    write_json(options.result, asdict(result))


if __name__ == "__main__":
    main(sys.argv[1:])
