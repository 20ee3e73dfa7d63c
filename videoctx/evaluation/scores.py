"""The scores of every view, one Parquet file a run.

| column | type | meaning |
|---|---|---|
| `row` | int32 | the video's row in its split of the manifest, from 0 |
| `video` | string | its path |
| `label` | int32 | class index; -1: not given |
| `start_frame` | int32 | first frame of the view's clip; null for a failed video |
| `crop` | int8 | which crop of the clip; null for a failed video |
| `scores` | float16 × K | probabilities; null for a failed video |
| `failure` | string | why the video could not be read; null where it could |

The file's metadata holds the class names under `class_names`, as JSON. A failed video has one row.
"""

import csv
import json
import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from torch import Tensor

from videoctx.batch import ClipBatch


class ScoreWriter:
    """Appends batches; nothing stands at `path` before `close`, so a file there is whole."""

    def __init__(self, path: Path, class_names: Sequence[str]) -> None:
        self.path = path
        self.schema = score_schema(class_names)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._part = path.with_name(path.name + ".part")
        self._writer = pq.ParquetWriter(self._part, self.schema, compression="zstd")

    def write(self, batch: ClipBatch, scores: Tensor) -> None:
        """
        Args:
            scores: (S, K) probabilities of the batch's S clips.
        """
        video = batch.video.tolist()
        labels = batch.labels.tolist()
        failed = list(batch.failures)
        columns = {
            "row": [batch.rows[i] for i in video + failed],
            "video": [batch.paths[i] for i in video + failed],
            "label": [labels[i] for i in video + failed],
            "start_frame": [view.start_frame for view in batch.views] + [None] * len(failed),
            "crop": [view.crop for view in batch.views] + [None] * len(failed),
            "scores": [*scores.half().cpu().numpy(), *[None] * len(failed)],
            "failure": [None] * len(video) + [failure.reason for failure in batch.failures.values()],
        }
        self._writer.write_table(pa.table(columns, schema=self.schema))

    def close(self) -> None:
        self._writer.close()
        os.replace(self._part, self.path)

    def __enter__(self) -> "ScoreWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self._writer.close()
            self._part.unlink(missing_ok=True)


def score_schema(class_names: Sequence[str]) -> pa.Schema:
    return pa.schema(
        [
            pa.field("row", pa.int32(), nullable=False),
            pa.field("video", pa.string(), nullable=False),
            pa.field("label", pa.int32(), nullable=False),
            pa.field("start_frame", pa.int32()),
            pa.field("crop", pa.int8()),
            pa.field("scores", pa.list_(pa.float16(), len(class_names))),
            pa.field("failure", pa.string()),
        ],
        metadata={"class_names": json.dumps(list(class_names))},
    )


def merge_scores(parts: Sequence[Path], path: Path) -> None:
    """One file of several ranks' parts, ordered by row, clip and crop; the parts are deleted."""
    table = pa.concat_tables([pq.read_table(part) for part in parts])
    table = table.sort_by([("row", "ascending"), ("start_frame", "ascending"), ("crop", "ascending")])
    temporary = path.with_name(path.name + ".part")
    pq.write_table(table, temporary, compression="zstd")
    os.replace(temporary, path)
    for part in parts:
        part.unlink()


def write_predictions(scores: Path, predictions: Path, *, num_best: int = 5) -> None:
    """A CSV row a video: its best classes and their probabilities, averaged over its views, or why it failed."""
    table = pq.read_table(scores)
    class_names = json.loads(table.schema.metadata[b"class_names"])
    num_best = min(num_best, len(class_names))
    header = [f"{name}_{rank}" for rank in range(1, num_best + 1) for name in ("class", "probability")]
    with predictions.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["video", *header, "failure"])
        rows = table["row"].to_numpy()
        starts = np.flatnonzero(np.diff(rows, prepend=-1))  # rows are sorted: where each video's views begin
        for start, stop in zip(starts, [*starts[1:], len(rows)], strict=True):
            views = table.slice(start, stop - start)
            video, failure = views["video"][0].as_py(), views["failure"][0].as_py()
            if failure is not None:
                writer.writerow([video, *[""] * len(header), failure])
                continue
            average = np.mean(views["scores"].to_pylist(), axis=0, dtype=np.float64)  # (K,)
            best = np.argsort(-average)[:num_best]
            cells = [cell for index in best for cell in (class_names[index], f"{average[index]:.4f}")]
            writer.writerow([video, *cells, ""])
