"""Runs the steps of parts one after the other, each in its own process, and keeps what is done."""

import json
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch

from videoctx.bench.gpu.results import PartFile, StepResult
from videoctx.bench.gpu.steps import PARTS, STEPS, Part, Step
from videoctx.printed_tables import Console

LEFT = "no time left in this call; run it again, and what is done is kept"


@dataclass(frozen=True, slots=True)
class GpuBench:
    """All measurements on a GPU.

    Args:
        folder: where results, videos and runs are kept. A step that is done is not run again.
        device: cuda, or cpu to try the bench.
        tiny: small sizes, which measure nothing but show that every line runs.
        minutes_per_part: after so many minutes a part ends. The steps that are left run in the next call.
    """

    folder: Path
    device: str = "cuda"
    tiny: bool = False
    minutes_per_part: float = 9.0

    def run(self, parts: Iterable[Part] = PARTS) -> dict[Part, PartFile]:
        """Run what is left of some parts, and return the results of all parts."""
        files: dict[Part, PartFile] = {
            part: PartFile(self.folder / f"{part}.json", machine(self.device, tiny=self.tiny)) for part in PARTS
        }
        for part in parts:
            self._run_part(part, files[part])
        return files

    def _run_part(self, part: Part, file: PartFile) -> None:
        console = Console(stderr=True)
        deadline = time.monotonic() + 60 * self.minutes_per_part
        for position, step in enumerate(step for step in STEPS if step.part == part):
            if file.is_done(step.name):
                continue
            missing = self._missing(step)
            if missing:
                file.put(step.name, StepResult("skipped", missing))
                continue
            seconds_left = deadline - time.monotonic()
            if position and not self.tiny and seconds_left < 60 * step.minutes:
                file.put(step.name, StepResult("left", LEFT))
                continue
            console.print(f"{part}: {step.name} ({step.what})", highlight=False)
            file.put(step.name, self._in_a_process(step, seconds_left))

    def _missing(self, step: Step) -> str:
        """Return which device a step needs that is not there, or nothing."""
        if not self.device.startswith("cuda"):
            return ""
        if not torch.cuda.is_available():
            return "no CUDA device"
        there = torch.cuda.device_count()
        return f"needs {step.num_gpus} GPUs, there is {there}" if there < step.num_gpus else ""

    def _in_a_process(self, step: Step, seconds: float) -> StepResult:
        result, log = (self.folder / f"{step.part}-{step.name}.{suffix}" for suffix in ("json", "log"))
        self.folder.mkdir(parents=True, exist_ok=True)
        result.unlink(missing_ok=True)
        command = [sys.executable, "-m", "videoctx.bench.gpu.steps", step.part, step.name, "--device", self.device]
        command += ["--folder", str(self.folder), "--result", str(result), *(["--tiny"] if self.tiny else [])]
        with log.open("w") as output:
            process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
            try:
                process.wait(max(seconds, 1))
            except subprocess.TimeoutExpired:
                _end(process)
                return StepResult("failed", f"not finished after {seconds / 60:.1f} minutes; see {log}")
            except BaseException:  # Ctrl-C: its session is another, so it is not interrupted by itself
                _end(process)
                raise
        if process.returncode or not result.is_file():
            lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
            last = lines[-1][:300] if lines else "no output"
            return StepResult("failed", f"status {process.returncode}: {last}; see {log}")
        return StepResult.from_dict(json.loads(result.read_text()))


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End a step and all processes that it has started."""
    family = [process.pid]
    with suppress(psutil.NoSuchProcess):
        family += [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
    for pid in family:
        with suppress(psutil.NoSuchProcess):
            psutil.Process(pid).kill()
    process.wait()


def machine(device: str, *, tiny: bool) -> dict[str, Any]:
    """Return what results depend on."""
    found: dict[str, Any] = {"device": device, "tiny": tiny, "torch": torch.__version__}
    if device.startswith("cuda") and torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        found |= {
            "card": properties.name,
            "num_cards": torch.cuda.device_count(),
            "memory_gib": round(properties.total_memory / 2**30, 1),
            "capability": f"{properties.major}.{properties.minor}",
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
        }
    return found
