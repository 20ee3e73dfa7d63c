"""`videoctx receptive_field`."""

import sys
from collections.abc import Sequence
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse.typing import PositiveInt
from rich.progress import Progress
from rich.table import Table

from videoctx.cli.output_path import writable_file
from videoctx.cli.tool_parser import tool_parser
from videoctx.printed_tables import Console

if TYPE_CHECKING:
    from videoctx.visualize.receptive_field import ReceptiveField


def run_receptive_field(arguments: Sequence[str]) -> None:
    """Measure how far a unit in the middle of a layer sees, by its gradients over videos, and draw it.

    The effective receptive field (Luo et al., NeurIPS 2016) of several networks is drawn side by side.
    """
    parser = tool_parser("videoctx receptive_field", run_receptive_field.__doc__)
    parser.add_argument("ckpt_path", type=str, nargs="+", help="checkpoints of `videoctx fit` or `convert`")
    parser.add_argument("--manifest", type=Path, required=True, help="the manifest of the videos")
    parser.add_argument("--split", default="test", help="split of the manifest")
    parser.add_argument("--layer", default="res5", help="the layer, whose output is (B, C, T, H, W)")
    parser.add_argument(
        "--num_videos", type=PositiveInt | None, help="number of videos, at even distances; by default all"
    )
    parser.add_argument("--output", type=Path, default=Path("receptive_field.png"), help="the PNG to write")
    options = parser.parse_args(list(arguments))
    names = distinct_names(options.ckpt_path)
    writable_file(options.output)

    import torch

    from videoctx.data.annotations import read_manifest
    from videoctx.inference.classifier import load
    from videoctx.inference.even_distances import at_even_distances
    from videoctx.inference.receptive_field import measure_receptive_field
    from videoctx.visualize.receptive_field_sheet import draw_receptive_fields

    networks = {name: load(path) for name, path in zip(names, options.ckpt_path, strict=True)}
    fields: dict[str, ReceptiveField] = {}
    failures: dict[str, str] = {}
    with Progress(transient=True) as progress:
        for name, trained in networks.items():
            trained.net.to("cuda" if torch.cuda.is_available() else "cpu")
            every = read_manifest(
                options.manifest,
                trained.class_names,
                split=options.split,
                labels_required=False,
                multi_label=trained.multi_label,
            )
            records = at_even_distances(every, options.num_videos)
            task = progress.add_task(name, total=len(records))
            fields[name], failed = measure_receptive_field(
                trained, records, layer=options.layer, on_video=partial(progress.advance, task)
            )
            failures |= {failure.path: failure.reason for failure in failed}
    draw_receptive_fields(fields, options.output)
    table = Table(
        title=f"the central unit of {options.layer}, {len(records) - len(failures)} videos",
        caption="where the gradient exceeds 4.55 % of the greatest one; the rest of the gradients' sum is outside",
    )
    for heading in ("network", "size", "frames", "outside"):
        table.add_column(heading, justify="left" if heading == "network" else "right")
    for name, field in fields.items():
        table.add_row(
            name, f"{field.size_px:.1f} px", f"{field.num_frames} of {len(field.map)}", f"{field.outside:.1%}"
        )
    console = Console()
    console.print(table)
    console.print(f"plot: {options.output}", soft_wrap=True)
    if failures:
        for path, reason in failures.items():
            print(f"left out: {path}: {reason}", file=sys.stderr)
        sys.exit(1)


def distinct_names(paths: Sequence[str]) -> list[str]:
    """Return the parts of some paths that differ, as names of the networks.

    Raises:
        ValueError: a path is given twice.

    >>> distinct_names(["runs/plain/seed_0/last.ckpt", "runs/nl/seed_0/last.ckpt"])
    ['plain', 'nl']
    """
    if len(set(paths)) < len(paths):
        repeated = next(path for path in paths if list(paths).count(path) > 1)
        raise ValueError(f"{repeated} is given twice; expected every checkpoint once")
    if len(paths) == 1:
        return [Path(paths[0]).stem]
    parts = [Path(path).parts for path in paths]
    first = _num_shared(parts)
    last = _num_shared([one[:first:-1] for one in parts])  # one part differs, so that each keeps a name
    return ["/".join(one[first : len(one) - last]) for one in parts]


def _num_shared(parts: Sequence[Sequence[str]]) -> int:
    """Return with how many parts all of the paths begin."""
    alike = (len(set(places)) == 1 for places in zip(*parts, strict=False))
    return sum(1 for _ in takewhile(bool, alike))
