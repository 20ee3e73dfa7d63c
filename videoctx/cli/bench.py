"""`videoctx bench`."""

import importlib
from collections.abc import Sequence

BENCHES = {  # each `run_bench_NAME(arguments)` in `videoctx.cli.bench_NAME`
    "data": "the data path, from file to network input, against other ways of reading",
    "model": "the clips per second of a network, with each way of running it",
    "nonlocal": "Non-local affinities with the N × M matrix and without it",
    "gpu": "everything that needs a GPU, in parts that can be resumed",
}
OVERVIEW = "\n".join(
    [
        "usage: videoctx bench NAME [options]",
        "",
        "Measure a part of the package against what it replaces.",
        "",
        *(f"  {name:<8}  {line}" for name, line in BENCHES.items()),
        "",
        "`videoctx bench NAME --help` lists the options of a bench.",
    ]
)


def run_bench(arguments: Sequence[str]) -> None:
    """Run one of the benches."""
    name = arguments[0] if arguments else "--help"
    if name in ("-h", "--help"):
        print(OVERVIEW)
        return
    if name not in BENCHES:
        raise ValueError(f"bench {name!r} is not there; expected one of {', '.join(BENCHES)}")
    getattr(importlib.import_module(f"videoctx.cli.bench_{name}"), f"run_bench_{name}")(arguments[1:])
