"""`videoctx attention --analyze`."""

import math
import sys
from dataclasses import astuple
from pathlib import Path

from rich.progress import Progress
from rich.table import Table

from videoctx.cli.output_path import writable_folder
from videoctx.inference.attention_analysis import AttentionAnalysis, analyze_attention, records_to_analyze
from videoctx.inference.classifier import Classifier
from videoctx.printed_tables import Console
from videoctx.visualize.query_dependence import summarize

HEADINGS = ("input", "output", "attention", "attention JSD")


def analyze(
    trained: Classifier, *, manifest: Path, split: str, num_videos: int | None, max_queries: int, output: Path
) -> None:
    """Print a table per block, and write `attention.json` and, with a row per video, `attention.csv` to `output`.

    Videos that cannot be read are listed at the end, with the reason, and the exit status is 1.
    """
    if max_queries < 2:
        raise ValueError(f"max_queries is {max_queries}; expected 2 or more, as pairs are compared")
    records = records_to_analyze(trained, manifest, split=split, num_videos=num_videos)
    writable_folder(output)
    with Progress(transient=True) as progress:
        task = progress.add_task("analyze", total=len(records))
        analysis = analyze_attention(trained, records, max_queries=max_queries, on_video=lambda: progress.advance(task))
    Console().print(_table(analysis))
    for name, clips in analysis.measures.items():
        if share := summarize(clips)[0].uniform:
            print(f"{name}: {share:.1%} of the maps weigh all places alike")
    json_file, csv_file = output / "attention.json", output / "attention.csv"
    analysis.write_json(json_file, manifest=manifest, split=split)
    analysis.write_csv(csv_file)
    print(f"{json_file}\n{csv_file}")
    if analysis.failures:
        for failure in analysis.failures:
            print(f"left out: {failure.path}: {failure.reason}", file=sys.stderr)
        sys.exit(1)


def _table(analysis: AttentionAnalysis) -> Table:
    table = Table(
        title=f"mean distance between the positions of a clip, {len(analysis.paths)} videos",
        caption="cosine distance, and Jensen-Shannon divergence in nats; ± standard error over the videos",
    )
    for heading in ("block", "kind", *HEADINGS):
        table.add_column(heading, justify="left" if heading in ("block", "kind") else "right")
    for name, clips in analysis.measures.items():
        mean, error = (astuple(part) for part in summarize(clips))
        cells = (_with_error(*pair) for pair in list(zip(mean, error, strict=True))[: len(HEADINGS)])
        table.add_row(name, analysis.kinds[name], *cells)
    return table


def _with_error(mean: float, error: float) -> str:
    if math.isnan(mean):
        return "–"
    return f"{mean:.4f}" + ("" if math.isnan(error) else f" ± {error:.4f}")
