"""The scores of every view of a run, in one Parquet file (`scores.parquet`).

| column | type | meaning |
|---|---|---|
| `row` | int32 | the video's row in its split of the manifest, from 0 |
| `video` | string | its path |
| `label` | int32 | class index; -1: not known |
| `clip` | int16 | number of the clip in its video, from 0; null for a failed video |
| `start_frame` | int32 | first frame of the clip; null for a failed video |
| `crop` | int8 | number of the crop of the clip, from 0; null for a failed video |
| `scores` | float16 × K | logarithms of the probabilities; null for a failed video |
| `views_expected` | int32 | how many views the video should have |
| `failure` | string | why the video could not be read; null where it was read |

A failed video has one row. Where a video may have several labels, the column `labels`, a list of int32, replaces
`label`, and the scores are logits for a sigmoid.

The scores are logarithms because both averages can be computed from them: their softmax is the probabilities, and they
are the logits shifted by a constant per view, which changes the mean of the logits by a constant only. The score of the
best class is near 0, where float16 is most precise: a probability of 0.5 is stored to 0.03 %, one of 0.001 to 0.2 %;
logits of 10 would be stored to 0.4 %. Validation during training rounds the scores in the same way, and the file gives
the results of a run again to the last digit.

The metadata of the file holds `format`, the version of this layout; `class_names`, as JSON; and `clip_placement`, where
in a video the clips start, if that is known (`videoctx.evaluation.view_subset`).
"""

import json
import os
import shlex
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from torch import Tensor

from videoctx.atomic_write import ErrorsNaming, atomic_write
from videoctx.batch import ClipBatch
from videoctx.evaluation.run_folders import CONFIG_FILE, SCORES_FILE, TRAINING_CARD_FILE
from videoctx.evaluation.view_scores import ViewScores

FORMAT = "2"


class ScoreError(ValueError):
    """Scores cannot be used. The message names the file and what to do."""


# Reading --------------------------------------------------------------------------------------------------------------


def read_scores(path: Path) -> ViewScores:
    """Read a file of scores.

    Raises:
        ScoreError: the file is missing, truncated or of another version, or a video lacks views that the others have.
    """
    if not path.is_file():
        raise ScoreError(f"{path}: no such file; `videoctx test` writes it")
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno:  # the system's, as when too many files are open
            raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
        raise ScoreError(f"{path}: not a Parquet file, or a truncated one ({str(error).splitlines()[0]})") from error
    metadata = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
    if metadata.get("format") != FORMAT:
        found = f"format {metadata['format']}" if "format" in metadata else "no format"
        raise ScoreError(f"{path}: the scores have {found}, this version reads {FORMAT}; test again")
    class_names = json.loads(metadata["class_names"])
    multi_label = "labels" in table.column_names
    expected = score_schema(class_names, multi_label=multi_label)
    if not table.schema.equals(expected):
        raise ScoreError(f"{path}: the columns are {_columns(table.schema)}; expected {_columns(expected)}")
    failed = table["scores"].is_null().to_numpy()
    rows = table["row"].to_numpy()
    _, firsts, positions = np.unique(rows, return_index=True, return_inverse=True)  # one per video, (V,); (T,)
    views = table.filter(~failed)
    view_scores = ViewScores(
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
    _check_views(path, view_scores, num_rows=len(rows))
    return view_scores


def read_run(folder: Path, *, allow_nan: bool = False) -> ViewScores:
    """Read the scores of a run of `videoctx test`, to evaluate them again.

    Args:
        folder: of the run.
        allow_nan: accept views for which the network returned NaN.

    Raises:
        ScoreError: there are no scores, they cannot be read, or they lack labels or have NaN.
    """
    if not (folder / SCORES_FILE).is_file():
        raise ScoreError(_without_scores(folder))
    view_scores = read_scores(folder / SCORES_FILE)
    if not view_scores.multi_label and (view_scores.labels < 0).any():
        raise ScoreError(
            f"{folder}: {(view_scores.labels < 0).sum()} videos have no label; expected a run of `videoctx test`"
        )
    if not (allow_nan or view_scores.finite.all()):
        videos = np.unique(view_scores.video[~view_scores.finite])
        raise ScoreError(
            f"{folder}: {(~view_scores.finite).sum()} views of {len(videos)} videos got NaN from the network, the first"
            f" of {view_scores.paths[videos[0]]}; expected numbers"
        )
    return view_scores


def _without_scores(folder: Path) -> str:
    if not folder.is_dir():
        return f"{folder}: no such folder; expected that of a run of `videoctx test`"
    checkpoint = folder / "checkpoints" / "best.ckpt"
    if (folder / TRAINING_CARD_FILE).is_file() and checkpoint.is_file():
        config = shlex.quote(str(folder / CONFIG_FILE))
        command = f"videoctx test -c {config} --ckpt_path {shlex.quote(str(checkpoint))}"
        return f"{folder}: a training that has not been tested; first: {command}"
    return f"{folder}: no {SCORES_FILE} in there; expected the folder of a run of `videoctx test`"


def read_rows(path: Path) -> np.ndarray:
    """Return the row of each video of `read_scores` in its split of the manifest, (V,)."""
    return np.unique(pq.read_table(path, columns=["row"])["row"].to_numpy())


def _labels(videos: pa.Table, num_classes: int) -> np.ndarray:
    if "label" in videos.column_names:
        return videos["label"].to_numpy().astype(np.int64)
    labels = np.zeros((len(videos), num_classes), dtype=bool)
    for video, classes in enumerate(videos["labels"].to_pylist()):
        labels[video, classes] = True
    return labels


def _check_views(path: Path, view_scores: ViewScores, *, num_rows: int) -> None:
    counts = np.bincount(view_scores.video, minlength=len(view_scores.paths))
    incomplete = (counts != view_scores.views_expected) & ~view_scores.failed
    if incomplete.any():
        video = int(incomplete.argmax())
        found = f"{counts[video]} of {view_scores.views_expected[video]} views"
        raise ScoreError(f"{path}: {view_scores.paths[video]} has {found}; test again")
    num_clips, num_crops = view_scores.shape
    uneven = (view_scores.views_expected[~view_scores.failed] != num_clips * num_crops).any()
    if uneven or num_rows != len(view_scores.video) + view_scores.failed.sum():
        raise ScoreError(f"{path}: not every video has {num_clips} clips × {num_crops} crops; test again")


def _columns(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} {field.type}" for field in schema)


# Writing --------------------------------------------------------------------------------------------------------------


def score_schema(
    class_names: Sequence[str], *, clip_placement: str | None = None, multi_label: bool = False
) -> pa.Schema:
    """Return the columns and the metadata of a file of scores; the arguments are those of `ScoreWriter`."""
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
    """Writes the scores of batches to a file, which appears at `path` when the writer is closed.

    Args:
        path: the file. Its folder is made.
        class_names: K names.
        clip_placement: where in a video the clips start (`videoctx.evaluation.view_subset`). None: not known.
        multi_label: a video may have several labels; the labels of a batch are (V, K) bool.
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
        """Append the scores of a batch.

        Args:
            batch: S clips of V videos.
            scores: (S, K) logarithms of the probabilities; or logits for a sigmoid, with `multi_label`.
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
        with ErrorsNaming([self.path]):
            self._writer.write_table(pa.table(columns, schema=self.schema))

    def close(self) -> None:
        """Finish the file and move it to `path`."""
        self._file.close()

    def discard(self) -> None:
        """Delete what was written, unless the writer was closed."""
        ended = GeneratorExit()
        self._file.__exit__(type(ended), ended, None)

    def __enter__(self) -> "ScoreWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.__exit__(kind, error, trace)


def _clips(batch: ClipBatch) -> list[int]:
    """Return the number of each view's clip in its video. The k-th view of a crop shows the k-th clip."""
    seen: dict[tuple[int, int], int] = {}
    clips = []
    for video, view in zip(batch.video.tolist(), batch.views, strict=True):
        clip = seen.get((video, view.crop), 0)
        seen[video, view.crop] = clip + 1
        clips.append(clip)
    return clips


def merge_scores(parts: Sequence[Path], path: Path) -> None:
    """Merge the files of several ranks into one, ordered by row, clip and crop, and delete them."""
    table = pa.concat_tables([pq.read_table(part) for part in parts])
    table = table.sort_by([("row", "ascending"), ("clip", "ascending"), ("crop", "ascending")])
    with atomic_write(path) as part:
        pq.write_table(table, part, compression="zstd")
    for part in parts:
        part.unlink()


def pool_scores(files: Sequence[Path], path: Path) -> None:
    """Merge the scores of runs over different videos, such as the folds of a cross-validation.

    Args:
        files: the scores of each run.
        path: the file to write, in a folder that does not exist yet.

    Raises:
        ScoreError: a file cannot be read, differs from the first in classes, labels or views, or shares a video.
        FileExistsError: the folder exists.
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
    try:
        with atomic_write(path) as part:
            pq.write_table(pa.concat_tables(tables), part, compression="zstd")
    except BaseException:
        path.parent.rmdir()  # or else it would be in the way of the next attempt
        raise
