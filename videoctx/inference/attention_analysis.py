"""Measures how much the attention of every block of a network depends on the query, over a set of videos."""

import csv
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, astuple, dataclass, field, fields
from pathlib import Path

from videoctx.atomic_write import atomic_write
from videoctx.batch import Failure
from videoctx.data.annotations import VideoRecord, read_manifest
from videoctx.data.loading.dataset import VideoDataset
from videoctx.data.loading.loader import VideoLoader
from videoctx.data.sampling.video_samplers import EvaluationSampler
from videoctx.inference.classifier import Classifier
from videoctx.inference.even_distances import at_even_distances
from videoctx.visualize.attention import attention_blocks, find_block, trace_blocks
from videoctx.visualize.query_dependence import QueryDependence, query_dependence, summarize

MEASURES = tuple(measure.name for measure in fields(QueryDependence))


@dataclass(slots=True)
class AttentionAnalysis:
    """The measures of every block, for each video that could be read."""

    kinds: dict[str, str]  # class of each block, by its name in the network
    paths: list[str] = field(default_factory=list)
    measures: dict[str, list[QueryDependence]] = field(default_factory=dict)  # by block, one per path
    failures: list[Failure] = field(default_factory=list)

    def write_json(self, path: Path, *, manifest: Path, split: str) -> None:
        """Write mean and standard error over the videos; null where a measure is not defined."""
        blocks = {}
        for name, clips in self.measures.items():
            mean, error = summarize(clips)
            blocks[name] = {"kind": self.kinds[name], "mean": _json(mean), "standard_error": _json(error)}
        result = {"manifest": str(manifest), "split": split, "num_videos": len(self.paths), "blocks": blocks}
        with atomic_write(path) as part:
            part.write_text(json.dumps(result, indent=2) + "\n")

    def write_csv(self, path: Path) -> None:
        """Write one row per block and video; empty where a measure is not defined."""
        with atomic_write(path) as part, part.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["path", "block", *MEASURES])
            for name, clips in self.measures.items():
                for video, measures in zip(self.paths, clips, strict=True):
                    writer.writerow([video, name, *("" if math.isnan(value) else value for value in astuple(measures))])


def _json(measures: QueryDependence) -> dict[str, float | None]:
    return {name: None if math.isnan(value) else value for name, value in asdict(measures).items()}


def records_to_analyze(
    trained: Classifier, manifest: Path, *, split: str, num_videos: int | None = None
) -> Sequence[VideoRecord]:
    """Return the videos of a split, or `num_videos` of them at even distances.

    Raises:
        ValueError: the network has no block with attention, or the manifest cannot be read.
    """
    find_block(trained.net)
    records = read_manifest(
        manifest, trained.class_names, split=split, labels_required=False, multi_label=trained.multi_label
    )
    return at_even_distances(records, num_videos)


def analyze_attention(
    trained: Classifier,
    records: Sequence[VideoRecord],
    *,
    max_queries: int = 256,
    on_video: Callable[[], object] = lambda: None,
) -> AttentionAnalysis:
    """Measure the middle clip, center crop, of each video.

    Args:
        max_queries: of each clip and block, whose pairs are compared; at least 2.
        on_video: called after each video.

    Raises:
        ValueError: no video can be read.
    """
    dataset = VideoDataset(records, sampler=trained.preprocessing.sampler(num_clips=1), seed=0)
    loader = VideoLoader(dataset, EvaluationSampler(len(records), num_ranks=1, rank=0), batch_size=1)
    transform = trained.preprocessing.transform(num_crops=1)
    device = next(trained.net.parameters()).device
    blocks = attention_blocks(trained.net)
    analysis = AttentionAnalysis({name: type(block).__name__ for name, block in blocks.items()})
    analysis.measures = {name: [] for name in blocks}
    for batch in loader:
        views = transform(batch, num_clips=1)
        analysis.failures += views.failures.values()
        if not views.failures:
            analysis.paths += views.paths
            for name, trace in trace_blocks(trained.net, views.clips[:].to(device)).items():
                measures = query_dependence(trace, max_queries=max_queries, seed=len(analysis.paths))
                analysis.measures[name].append(measures)
        on_video()
    if not analysis.paths:
        first = analysis.failures[0]
        raise ValueError(f"none of {len(records)} videos can be read: {first.path}: {first.reason}")
    return analysis
