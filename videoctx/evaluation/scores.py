"""The scores of every view, one Parquet file a run.

| column | type | meaning |
|---|---|---|
| `row` | int32 | the video's row in its split of the manifest, from 0 |
| `video` | string | its path |
| `label` | int32 | class index; -1: not given |
| `clip` | int16 | which of the video's clips, from 0; null for a failed video |
| `start_frame` | int32 | first frame of the clip; null for a failed video |
| `crop` | int8 | which crop of the clip, from 0; null for a failed video |
| `scores` | float16 × K | logarithms of the probabilities; null for a failed video |
| `views_expected` | int32 | how many views the video should have given |
| `failure` | string | why the video could not be read; null where it could |

A failed video has one row. Where a video may have several labels, there is `labels`, a list of int32, in place of
`label`, and the scores are logits for a sigmoid.

Logarithms, because both averages can be made of them: their softmax is the probabilities again, and logits that are
each shifted by a constant have the same mean but for a constant. The best class is near 0, where float16 is finest: a
probability of 0.5 is kept to 0.03 %, one of 0.001 to 0.2 %; logits of 10 would be kept to 0.4 %. What is evaluated,
during the run too, is what has been rounded so: the file gives a run's results again to the last digit.

The file's metadata holds `format`, the version of this page; `class_names`, as JSON; `clip_placement`, where in a video
the clips start, if that is known (`videoctx.evaluation.view_subset`).
"""

import json
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from torch import Tensor

from videoctx.atomic_write import atomic_write
from videoctx.batch import ClipBatch
from videoctx.evaluation.view_scores import ViewScores

FORMAT = "2"
SCORES_FILE = "scores.parquet"


class ScoreError(ValueError):
    """A file of scores that cannot be used; the message names the file and the remedy."""


# Reading --------------------------------------------------------------------------------------------------------------


def read_scores(path: Path) -> ViewScores:
    """
    Raises:
        ScoreError: the file is missing, truncated or of another version, or a video has not the views of the others.
    """
    if not path.is_file():
        raise ScoreError(f"{path}: no such file; `videoctx test` writes it")
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise ScoreError(f"{path}: not a Parquet file, or a truncated one ({str(error).splitlines()[0]})") from error
    metadata = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
    if metadata.get("format") != FORMAT:
        found = f"format {metadata['format']}" if "format" in metadata else "no format"
        raise ScoreError(f"{path}: the scores have {found}, this version reads {FORMAT}; test again")
    class_names = json.loads(metadata["class_names"])
    multi_label = "labels" in table.column_names
    expected = score_schema(class_names, multi_label=multi_label)
    if not table.schema.equals(expected):
        raise ScoreError(f"{path}: the columns are {_described(table.schema)}; expected {_described(expected)}")
    failed = table["scores"].is_null().to_numpy()
    rows = table["row"].to_numpy()
    _, firsts, positions = np.unique(rows, return_index=True, return_inverse=True)  # one a video, (V,); (T,)
    views = table.filter(~failed)
    stored = ViewScores(
        class_names=class_names,
        clip_placement=metadata.get("clip_placement"),
        paths=table["video"].take(firsts).to_pylist(),
        failures=table["failure"].take(firsts).to_pylist(),
        views_expected=table["views_expected"].to_numpy()[firsts].astype(np.int64),
        labels=_labels(table.take(firsts), len(class_names)),
        video=positions[~failed],
        clip=views["clip"].to_numpy().astype(np.int64),
        crop=views["crop"].to_numpy().astype(np.int64),
        scores=views["scores"].combine_chunks().flatten().to_numpy().reshape(-1, len(class_names)),
    )
    _check_views(path, stored, num_rows=len(rows))
    return stored


def read_run(folder: Path) -> ViewScores:
    """The scores of a run of `videoctx test`, to be evaluated anew.

    Raises:
        ScoreError: there are none, or `read_scores` refuses them, or they say nothing: no labels, or NaN.
    """
    if not (folder / SCORES_FILE).is_file():
        raise ScoreError(f"{folder}: no {SCORES_FILE} in there; expected the folder of a run of `videoctx test`")
    stored = read_scores(folder / SCORES_FILE)
    if not stored.multi_label and (stored.labels < 0).any():
        raise ScoreError(
            f"{folder}: {(stored.labels < 0).sum()} videos have no label; expected a run of `videoctx test`"
        )
    if not stored.finite.all():
        videos = np.unique(stored.video[~stored.finite])
        raise ScoreError(
            f"{folder}: {(~stored.finite).sum()} views of {len(videos)} videos got NaN from the network, the first of"
            f" {stored.paths[videos[0]]}; expected numbers"
        )
    return stored


def _labels(videos: pa.Table, num_classes: int) -> np.ndarray:
    if "label" in videos.column_names:
        return videos["label"].to_numpy().astype(np.int64)
    labels = np.zeros((len(videos), num_classes), dtype=bool)
    for video, classes in enumerate(videos["labels"].to_pylist()):
        labels[video, classes] = True
    return labels


def _check_views(path: Path, stored: ViewScores, *, num_rows: int) -> None:
    counts = np.bincount(stored.video, minlength=len(stored.paths))
    wrong = (counts != stored.views_expected) & ~stored.failed
    if wrong.any():
        video = int(wrong.argmax())
        found = f"{counts[video]} of {stored.views_expected[video]} views"
        raise ScoreError(f"{path}: {stored.paths[video]} has {found}; test again")
    num_clips, num_crops = stored.shape
    uneven = (stored.views_expected[~stored.failed] != num_clips * num_crops).any()
    if uneven or num_rows != len(stored.video) + stored.failed.sum():
        raise ScoreError(f"{path}: not every video has {num_clips} clips × {num_crops} crops; test again")


def _described(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} {field.type}" for field in schema)


# Writing --------------------------------------------------------------------------------------------------------------


def score_schema(
    class_names: Sequence[str], *, clip_placement: str | None = None, multi_label: bool = False
) -> pa.Schema:
    label = pa.field("labels", pa.list_(pa.int32())) if multi_label else pa.field("label", pa.int32(), nullable=False)
    metadata = {"format": FORMAT, "class_names": json.dumps(list(class_names))}
    return pa.schema(
        [
            pa.field("row", pa.int32(), nullable=False),
            pa.field("video", pa.string(), nullable=False),
            label,
            pa.field("clip", pa.int16()),
            pa.field("start_frame", pa.int32()),
            pa.field("crop", pa.int8()),
            pa.field("scores", pa.list_(pa.float16(), len(class_names))),
            pa.field("views_expected", pa.int32(), nullable=False),
            pa.field("failure", pa.string()),
        ],
        metadata=metadata | ({"clip_placement": clip_placement} if clip_placement else {}),
    )


class ScoreWriter:
    """Appends batches; nothing stands at `path` before `close`, so a file there is whole.

    Args:
        clip_placement: where in a video the clips start; none: not known.
        multi_label: a batch's labels are (V, K) bool.
    """

    def __init__(
        self, path: Path, class_names: Sequence[str], *, clip_placement: str | None = None, multi_label: bool = False
    ) -> None:
        self.path = path
        self.schema = score_schema(class_names, clip_placement=clip_placement, multi_label=multi_label)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = ExitStack()
        part = self._file.enter_context(atomic_write(path))
        self._writer = self._file.enter_context(pq.ParquetWriter(part, self.schema, compression="zstd"))

    def write(self, batch: ClipBatch, scores: Tensor) -> None:
        """
        Args:
            scores: (S, K) logarithms of the probabilities of the batch's S clips, or logits for a sigmoid.
        """
        video = batch.video.tolist()
        failed = list(batch.failures)
        owners = video + failed
        labels = [label.nonzero().flatten().tolist() if label.ndim else int(label) for label in batch.labels.cpu()]
        expected = batch.views_expected.tolist()
        columns = {
            "row": [batch.rows[i] for i in owners],
            "video": [batch.paths[i] for i in owners],
            self.schema.field(2).name: [labels[i] for i in owners],
            "clip": _clips(batch) + [None] * len(failed),
            "start_frame": [view.start_frame for view in batch.views] + [None] * len(failed),
            "crop": [view.crop for view in batch.views] + [None] * len(failed),
            "scores": [*scores.half().cpu().numpy(), *[None] * len(failed)],
            "views_expected": [expected[i] for i in owners],
            "failure": [None] * len(video) + [failure.reason for failure in batch.failures.values()],
        }
        self._writer.write_table(pa.table(columns, schema=self.schema))

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> "ScoreWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.__exit__(kind, error, trace)


def _clips(batch: ClipBatch) -> list[int]:
    """Which of its video's clips each view shows: a crop's k-th view shows the k-th."""
    seen: dict[tuple[int, int], int] = {}
    clips = []
    for video, view in zip(batch.video.tolist(), batch.views, strict=True):
        clip = seen.get((video, view.crop), 0)
        seen[video, view.crop] = clip + 1
        clips.append(clip)
    return clips


def merge_scores(parts: Sequence[Path], path: Path) -> None:
    """One file of several ranks' parts, ordered by row, clip and crop; the parts are deleted."""
    table = pa.concat_tables([pq.read_table(part) for part in parts])
    table = table.sort_by([("row", "ascending"), ("clip", "ascending"), ("crop", "ascending")])
    with atomic_write(path) as part:
        pq.write_table(table, part, compression="zstd")
    for part in parts:
        part.unlink()


def pool_scores(files: Sequence[Path], path: Path) -> None:
    """One file, in a new folder, of runs over different videos, such as the folds of a cross-validation.

    Raises:
        ScoreError: a file cannot be read, has other classes, labels or views than the first, or a video of another.
        FileExistsError: the folder is there.
    """
    runs = [read_scores(file) for file in files]
    tables = [pq.read_table(file) for file in files]
    owners: dict[str, Path] = {}
    num_rows = 0
    for index, (file, run, table) in enumerate(zip(files, runs, tables, strict=True)):
        same_views = run.shape in (runs[0].shape, (0, 0)) or runs[0].shape == (0, 0)  # where all videos have failed
        if not (table.schema.equals(tables[0].schema, check_metadata=True) and same_views):
            raise ScoreError(f"{file}: other classes, labels or views than in {files[0]}; expected the same")
        if again := next((video for video in run.paths if video in owners), None):
            raise ScoreError(f"{file}: has {again}, and so has {owners[again]}; expected runs over different videos")
        owners |= dict.fromkeys(run.paths, file)
        rows = pc.add(table["row"], pa.scalar(num_rows, pa.int32()))
        tables[index] = table.set_column(0, table.schema.field("row"), rows)
        num_rows = pc.max(rows).as_py() + 1 if len(rows) else num_rows
    path.parent.mkdir(parents=True)
    with atomic_write(path) as part:
        pq.write_table(pa.concat_tables(tables), part, compression="zstd")
