"""`videoctx attention --analyze`: how much the attention of every block depends on the query, over a set of videos."""

import csv
import json
import math
import sys
from dataclasses import asdict, astuple, fields
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from videoctx.atomic_write import atomic_write
from videoctx.cli.output_folder import made_folder
from videoctx.data.annotations import read_manifest
from videoctx.data.clips import VideoDataset
from videoctx.data.loader import VideoLoader
from videoctx.data.sharding import EvaluationSampler
from videoctx.trained import TrainedNetwork
from videoctx.visualize.attention import attending_blocks, find_block, watch
from videoctx.visualize.query_dependence import QueryDependence, query_dependence, summarize

MEASURES = tuple(field.name for field in fields(QueryDependence))
HEADINGS = ("input", "output", "attention", "attention JSD")
Found = dict[str, list[QueryDependence]]  # by block, one a video


def analyze(
    trained: TrainedNetwork, *, manifest: Path, split: str, num_videos: int | None, max_queries: int, output: Path
) -> None:
    """Print the table, and write `attention.json` and, video by video, `attention.csv` to the folder `output`.

    Every video gives its middle clip and the center crop. One that cannot be read is listed at the end, with its
    reason, and the program then ends with status 1.

    Raises:
        ValueError: the network has no block with attention, `max_queries` is less than 2, no video can be read, or
            `output` cannot be made.
    """
    find_block(trained.net)  # there is one
    if max_queries < 2:
        raise ValueError(f"max_queries is {max_queries}; expected 2 or more, as pairs are compared")
    records = read_manifest(
        manifest, trained.class_names, split=split, labels_required=False, multi_label=trained.multi_label
    )
    if num_videos and num_videos < len(records):
        records = [records[index * len(records) // num_videos] for index in range(num_videos)]
    made_folder(output)
    dataset = VideoDataset(records, sampler=trained.preprocessing.sampler(num_clips=1), seed=0)
    loader = VideoLoader(dataset, EvaluationSampler(len(records), num_ranks=1, rank=0), batch_size=1)
    transform = trained.preprocessing.transform(num_crops=1)
    device = next(trained.net.parameters()).device
    found: Found = {name: [] for name in attending_blocks(trained.net)}
    paths, failures = [], []
    for batch in track(loader, description="analyze", transient=True):
        views = transform(batch, num_clips=1)
        failures += views.failures.values()
        if views.failures:
            continue
        paths += views.paths
        for name, watched in watch(trained.net, views.clips[:].to(device)).items():
            found[name].append(query_dependence(watched, max_queries=max_queries, seed=len(paths)))
    if not paths:
        raise ValueError(f"none of {len(records)} videos can be read: {failures[0].path}: {failures[0].reason}")
    kinds = {name: type(block).__name__ for name, block in attending_blocks(trained.net).items()}
    _print_table(found, kinds, len(paths))
    _write_json(output / "attention.json", found, kinds, manifest=manifest, split=split, num_videos=len(paths))
    _write_csv(output / "attention.csv", found, paths)
    print(f"{output / 'attention.json'}\n{output / 'attention.csv'}")
    if failures:
        for failure in failures:
            print(f"left out: {failure.path}: {failure.reason}", file=sys.stderr)
        sys.exit(1)


def _print_table(found: Found, kinds: dict[str, str], num_videos: int) -> None:
    table = Table(
        title=f"mean distance between the positions of a clip, {num_videos} videos",
        caption="cosine distance, and Jensen-Shannon divergence in nats; ± standard error over the videos",
    )
    for heading in ("block", "kind", *HEADINGS):
        table.add_column(heading, justify="left" if heading in ("block", "kind") else "right")
    for name, clips in found.items():
        mean, error = (astuple(part) for part in summarize(clips))
        table.add_row(name, kinds[name], *(_shown(*pair) for pair in zip(mean, error, strict=True)))
    Console().print(table)


def _shown(mean: float, error: float) -> str:
    if math.isnan(mean):
        return "–"
    return f"{mean:.4f}" + ("" if math.isnan(error) else f" ± {error:.4f}")


def _write_json(
    path: Path, found: Found, kinds: dict[str, str], *, manifest: Path, split: str, num_videos: int
) -> None:
    blocks = {}
    for name, clips in found.items():
        mean, error = summarize(clips)
        blocks[name] = {"kind": kinds[name], "mean": _numbers(mean), "standard_error": _numbers(error)}
    result = {"manifest": str(manifest), "split": split, "num_videos": num_videos, "blocks": blocks}
    with atomic_write(path) as part:
        part.write_text(json.dumps(result, indent=2) + "\n")


def _numbers(measures: QueryDependence) -> dict[str, float | None]:
    """JSON knows no NaN: null."""
    return {name: None if math.isnan(value) else value for name, value in asdict(measures).items()}


def _write_csv(path: Path, found: Found, paths: list[str]) -> None:
    with atomic_write(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "block", *MEASURES])
        for name, clips in found.items():
            for video, measures in zip(paths, clips, strict=True):
                writer.writerow([video, name, *("" if math.isnan(value) else value for value in astuple(measures))])
