"""The features of videos in one file, Parquet or npz: a row per view, or per video.

| column | type | meaning |
|---|---|---|
| `row` | int32 | number of the video among all that were asked for, from 0 |
| `path` | string | of the video |
| `label`, `split`, `group` | string | as in the manifest; null where it has none |
| `clip`, `start_frame`, `crop` | integers | the view, as in `scores.parquet`; null for the mean of a video's views |
| `vector` | float32 × C | the features; null for a video that could not be read |
| `failure` | string | why it could not be read; null where it was |

A failed video has one row. In an npz file the columns are arrays: null is an empty text, -1, or a vector of NaN. The
metadata, `features` in Parquet and the array `metadata` in npz, is JSON: the version of this layout, the level (`clip`
or `video`), the layer, and the network they are of.
"""

import json
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from videoctx.atomic_write import ErrorsNaming, atomic_write
from videoctx.batch import View

FORMAT = 1
SUFFIXES = (".parquet", ".npz")
TEXTS = ("path", "label", "split", "group", "failure")
VIDEOS_AT_ONCE = 256  # in a row group of Parquet


class FeatureFileError(ValueError):
    """A file of features cannot be used. The message names it."""


@dataclass(frozen=True)
class VideoFeatures:
    """The features of one video.

    Attributes:
        path: of the video.
        label, split, group: as in the manifest. None: not given.
        views: where each vector is from. Empty: one vector, the mean of all views.
        vectors: (S, C) float32. None: the video failed.
        failure: why it did. None: it did not.
    """

    path: str
    label: str | None = None
    split: str | None = None
    group: str | None = None
    views: Sequence[View] = ()
    vectors: np.ndarray | None = None
    failure: str | None = None


@dataclass(frozen=True)
class FeatureTable:
    """The content of a file of features, S rows.

    Attributes:
        columns: `row`, `path`, `label`, `split`, `group`, `failure`, `clip`, `start_frame` and `crop`, (S,) each;
            null is None in texts and -1 in numbers.
        vectors: (S, C) float32, NaN for a failed video.
        metadata: what the features are.
    """

    columns: dict[str, np.ndarray]
    vectors: np.ndarray
    metadata: dict[str, Any]


def check_feature_file(path: Path) -> None:
    """Check the suffix of a file that is to be written or read.

    Raises:
        FeatureFileError: it is none of `SUFFIXES`.
    """
    if path.suffix not in SUFFIXES:
        raise FeatureFileError(f"{path}: expected a file that ends in {' or '.join(SUFFIXES)}")


class FeatureWriter:
    """Writes the features of videos, one after another. The file appears at `path` when the writer is closed.

    Args:
        path: the file, whose suffix chooses the format. An npz file is kept in memory until then.
        metadata: plain values that tell what the features are.

    Raises:
        FeatureFileError: the suffix is another one; or no video could be read.
    """

    def __init__(self, path: Path, metadata: Mapping[str, Any]) -> None:
        check_feature_file(path)
        self.path = path
        self.metadata = json.dumps({"format": FORMAT, **metadata})
        self._waiting: list[tuple[int, VideoFeatures]] = []
        self._num_videos = self._num_failed = 0
        self._files = ExitStack()
        self._part = self._files.enter_context(atomic_write(path))
        self._writer: pq.ParquetWriter | None = None

    def write(self, video: VideoFeatures) -> None:
        """Append a video."""
        self._waiting.append((self._num_videos, video))
        self._num_videos += 1
        self._num_failed += video.vectors is None
        if self.path.suffix == ".parquet" and len(self._waiting) >= VIDEOS_AT_ONCE:
            self._write_waiting()

    def close(self) -> None:
        """Write the rest, and move the file to `path`."""
        if self._num_failed == self._num_videos:
            first = f": {self._waiting[0][1].path}: {self._waiting[0][1].failure}" if self._waiting else ""
            raise FeatureFileError(f"none of {self._num_videos} videos can be read{first}")
        if self.path.suffix == ".parquet":
            self._write_waiting()
        else:
            with ErrorsNaming([self.path]), self._part.open("wb") as file:
                np.savez(file, allow_pickle=False, metadata=np.array(self.metadata), **_arrays(self._waiting))
        self._files.close()

    def _write_waiting(self) -> None:
        videos = [video for _, video in self._waiting]
        width = next((video.vectors.shape[1] for video in videos if video.vectors is not None), 0)
        if self._writer is None:
            if not width:
                return  # the width is not known yet
            schema = _schema(width, self.metadata)
            self._writer = self._files.enter_context(pq.ParquetWriter(self._part, schema, compression="zstd"))
        with ErrorsNaming([self.path]):
            self._writer.write_table(_table(self._waiting, self._writer.schema))
        self._waiting = []

    def __enter__(self) -> "FeatureWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._files.__exit__(kind, error, trace)
            return
        try:
            self.close()
        except BaseException as reason:
            self._files.__exit__(type(reason), reason, reason.__traceback__)
            raise


def _schema(width: int, metadata: str) -> pa.Schema:
    return pa.schema(
        [
            pa.field("row", pa.int32(), nullable=False),
            *(pa.field(name, pa.string(), nullable=name != "path") for name in TEXTS[:4]),
            pa.field("clip", pa.int16()),
            pa.field("start_frame", pa.int32()),
            pa.field("crop", pa.int8()),
            pa.field("vector", pa.list_(pa.float32(), width)),
            pa.field("failure", pa.string()),
        ],
        metadata={"features": metadata},
    )


def _lines(videos: Sequence[tuple[int, VideoFeatures]]) -> dict[str, list[Any]]:
    """Return the columns of all rows as lists, with None where there is no value."""
    columns: dict[str, list[Any]] = {
        name: [] for name in ("row", *TEXTS[:4], "clip", "start_frame", "crop", "vector", "failure")
    }
    for row, video in videos:
        vectors: Sequence[np.ndarray | None] = [None] if video.vectors is None else list(video.vectors)
        seen: dict[int, int] = {}
        for index, vector in enumerate(vectors):
            view = video.views[index] if video.views and vector is not None else None
            if view is not None:
                seen[view.crop] = seen.get(view.crop, -1) + 1  # the k-th view of a crop shows the k-th clip
            place = (seen[view.crop], view.start_frame, view.crop) if view else (None, None, None)
            values = (row, video.path, video.label, video.split, video.group, *place, vector, video.failure)
            for name, value in zip(columns, values, strict=True):
                columns[name].append(value)
    return columns


def _table(videos: Sequence[tuple[int, VideoFeatures]], schema: pa.Schema) -> pa.Table:
    return pa.table(_lines(videos), schema=schema)


def _arrays(videos: Sequence[tuple[int, VideoFeatures]]) -> dict[str, np.ndarray]:
    columns = _lines(videos)
    vectors = columns.pop("vector")
    width = next(len(vector) for vector in vectors if vector is not None)
    missing = np.full(width, np.nan, np.float32)
    arrays = {"vector": np.stack([missing if vector is None else vector for vector in vectors])}
    for name, values in columns.items():
        empty: str | int = "" if name in TEXTS else -1
        arrays[name] = np.array([empty if value is None else value for value in values])
    return arrays


# Reading --------------------------------------------------------------------------------------------------------------


def read_features(path: Path) -> FeatureTable:
    """Read a file of features. Nothing in it is run.

    Raises:
        FeatureFileError: it is missing, truncated, or not a file of features.
    """
    check_feature_file(path)
    if not path.is_file():
        raise FeatureFileError(f"{path}: no such file; `videoctx features` writes it")
    try:
        columns, vectors, metadata = (_read_parquet if path.suffix == ".parquet" else _read_npz)(path)
    except (pa.ArrowException, OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise FeatureFileError(f"{path}: not a file of `videoctx features`, or a truncated one ({reason})") from error
    if not isinstance(metadata, dict) or metadata.get("format") != FORMAT:
        raise FeatureFileError(f"{path}: not a file of `videoctx features` of this version")
    if vectors.ndim != 2 or any(len(column) != len(vectors) for column in columns.values()):
        raise FeatureFileError(f"{path}: its columns differ in length; expected a file of `videoctx features`")
    return FeatureTable(columns, vectors, metadata)


def _read_parquet(path: Path) -> tuple[dict[str, np.ndarray], np.ndarray, Any]:
    table = pq.read_table(path)
    metadata = json.loads((table.schema.metadata or {})[b"features"])
    columns = {}
    for name in ("row", *TEXTS, "clip", "start_frame", "crop"):
        values = table[name].to_pylist()
        columns[name] = (
            np.array(values, object) if name in TEXTS else np.array([-1 if v is None else v for v in values], np.int64)
        )
    vector = table["vector"].combine_chunks()
    width = vector.type.list_size
    vectors = np.full((len(vector), width), np.nan, np.float32)
    given = vector.is_valid().to_numpy(zero_copy_only=False)
    vectors[given] = vector.drop_null().flatten().to_numpy(zero_copy_only=False).reshape(-1, width)
    return columns, vectors, metadata


def _read_npz(path: Path) -> tuple[dict[str, np.ndarray], np.ndarray, Any]:
    with np.load(path, allow_pickle=False) as stored:
        metadata = json.loads(str(stored["metadata"]))
        columns = {}
        for name in ("row", *TEXTS, "clip", "start_frame", "crop"):
            values = stored[name]
            columns[name] = np.array([str(v) or None for v in values], object) if name in TEXTS else values
        return columns, np.asarray(stored["vector"], np.float32), metadata
