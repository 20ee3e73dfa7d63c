"""The result of a step, and the file of a part, which makes the bench resumable."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from videoctx.atomic_write import atomic_write

# left: there was no time for it in this call; the next call runs it.
State = Literal["done", "skipped", "failed", "left"]


@dataclass(slots=True)
class StepResult:
    """What came of a step.

    Args:
        state: what happened.
        reason: why there are no figures.
        rows: what the table prints of it, each a name and a value.
        figures: the numbers behind the rows.
        details: everything that was measured, for the JSON file.
    """

    state: State
    reason: str = ""
    seconds: float = 0.0
    rows: list[tuple[str, str]] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)
    details: Any = None

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> "StepResult":
        """Return the result that `asdict` has made a dict of."""
        rows = [(str(name), str(value)) for name, value in stored["rows"]]
        return cls(**{**stored, "rows": rows})


class PartFile:
    """The results of a part's steps, in a file that holds those of one machine and one kind of run.

    Args:
        path: the file, which need not exist.
        machine: what the results depend on. A file of another machine is begun again.
    """

    def __init__(self, path: Path, machine: dict[str, Any]) -> None:
        self.path = path
        self.machine = machine
        self.results: dict[str, StepResult] = {}
        try:
            stored = json.loads(path.read_text())
            if stored["machine"] == machine:
                self.results = {name: StepResult.from_dict(result) for name, result in stored["steps"].items()}
        except FileNotFoundError:
            pass
        except (ValueError, KeyError, TypeError, AttributeError):  # not a file of ours: it is begun again
            self.results = {}

    def is_done(self, step: str) -> bool:
        """Whether a step has its figures already."""
        return step in self.results and self.results[step].state == "done"

    def put(self, step: str, result: StepResult) -> None:
        """Store a result."""
        self.results[step] = result
        write_json(
            self.path,
            {"machine": self.machine, "steps": {name: asdict(result) for name, result in self.results.items()}},
        )


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as part:
        part.write_text(json.dumps(content, indent=2, default=str) + "\n")
