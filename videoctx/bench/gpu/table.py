"""The one table of `videoctx bench gpu`, its bars, and the JSON beside it."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from rich.table import Table

from videoctx.bench.gpu.results import PartFile, StepResult, write_json
from videoctx.bench.gpu.steps import STEPS, Part
from videoctx.printed_tables import Console

WIDTH = 160  # of the table in a file


class Bar(NamedTuple):
    """A bar for a measured value."""

    what: str
    expected: str
    measured: float
    is_met: bool


def report(files: Mapping[Part, PartFile], json_file: Path) -> bool:
    """Print the table, write everything to a JSON file, and return whether no step has failed."""
    machine = next(iter(files.values())).machine
    write_json(
        json_file,
        {
            "machine": machine,
            "parts": {
                part: {name: asdict(result) for name, result in file.results.items()} for part, file in files.items()
            },
            "bars": [bar._asdict() for bar in bars(files)],
        },
    )
    console = Console()
    Console(width=console.width if console.is_terminal else WIDTH).print(table(files, machine))
    return not any(result.state == "failed" for file in files.values() for result in file.results.values())


def table(files: Mapping[Part, PartFile], machine: Mapping[str, Any]) -> Table:
    """Return a table of every step, with a line on each that was not run."""
    about = ", ".join(str(machine[key]) for key in ("card", "torch", "cudnn") if key in machine)
    made = Table("part", "step", "measured", "", title=about or f"device {machine['device']}, torch {machine['torch']}")
    if machine["tiny"]:
        made.caption = "tiny sizes: these numbers say nothing about speed"
    for part, file in files.items():
        for step in (step for step in STEPS if step.part == part):
            result = file.results.get(step.name, StepResult("left", "not asked for"))
            state = [] if result.state == "done" else [(result.state, result.reason)]
            for number, (what, value) in enumerate([*state, *result.rows]):
                made.add_row(*((part, step.name) if number == 0 else ("", "")), what, value)
        made.add_section()
    for bar in () if machine["tiny"] else bars(files):
        made.add_row("bar", "met" if bar.is_met else "not met", bar.what, f"{bar.measured:.3g}, {bar.expected}")
    return made


def bars(files: Mapping[Part, PartFile]) -> Iterator[Bar]:
    """Yield the bars whose values were measured."""

    def figure(part: Part, step: str, name: str) -> float | None:
        result = files[part].results.get(step)
        return result.figures.get(name) if result else None

    def at_least(what: str, measured: float | None, bound: float) -> Iterator[Bar]:
        if measured is not None:
            yield Bar(what, f"at least {bound:g}", measured, measured >= bound)

    def at_most(what: str, measured: float | None, bound: float) -> Iterator[Bar]:
        if measured is not None:
            yield Bar(what, f"at most {bound:g}", measured, measured <= bound)

    yield from at_least(
        "training of I3D-R50 over PyTorchVideo's under autocast", figure("model", "i3d_r50", "train_vs_peer_bf16"), 1.5
    )
    yield from at_least(
        "training of I3D-R50, of the matrix product's rate", figure("model", "i3d_r50", "train_vs_matmul_peak"), 0.35
    )
    plain, with_nl5 = (figure("model", name, "training_clips_per_second") for name in ("i3d_r50", "i3d_r50_nl5"))
    yield from at_most("a step with five Non-local blocks, over one without", _ratio(plain, with_nl5), 1.3)
    wait, rate = figure("fit", "one_gpu", "wait"), figure("fit", "one_gpu", "clips_per_second")
    loaded = figure("data", "loader", "gop16_ours_clips_per_second")
    forced = None if loaded is None or plain is None else max(0.0, 1 - loaded / plain)
    if wait is not None and forced is not None:
        what = f"share of waiting in fit beyond the {forced:.1%} that {loaded:,.0f} decoded clips/s force"
        yield from at_most(what, max(0.0, wait - forced), 0.02)
    fastest = None if plain is None or loaded is None else min(plain, loaded)
    yield from at_least("fit, of the slower of bare step and loader", _ratio(rate, fastest), 0.95)


def _ratio(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one / other
