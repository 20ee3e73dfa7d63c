"""The rows of a split as columns, of which a `VideoRecord` is made when it is asked for.

As objects, 300,000 records would take 500 MB. Here a record takes 77 bytes beside its path.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
import pyarrow as pa

from videoctx.data.annotations.video_record import FRAMES, ProbeResult, VideoRecord
from videoctx.data.storage.locations import resolve, resolve_all

ROW = np.dtype(  # what is not given is NaN, or -1 if it is an integer
    [
        ("label", "i4"),  # class index, or position among the label sets
        ("split", "i4"),  # position among the texts, as in `decoders` and `problem`
        ("start_seconds", "f8"),
        ("end_seconds", "f8"),
        ("weight", "f8"),
        ("size_bytes", "f8"),
        ("decoders", "i4"),
        ("num_frames", "f8"),
        ("fps", "f8"),
        ("variable_frame_rate", "?"),
        ("problem", "i4"),
        ("video_stream", "f8"),
    ]
)
ROWS_AT_ONCE = 4096
UTF8 = ("utf-8", "surrogatepass")  # a file name may have bytes that are not UTF-8


class VideoRecords(Sequence[VideoRecord]):
    """The rows of a split.

    Args:
        paths: (N,) paths, binary, as UTF-8.
        rows: (N,) array of `ROW`.
        texts: Values of the columns of text.
        root: Folder or URL that relative paths start from. None: the paths are complete.
        label_sets: Indices of the classes that a video shows. None: a video shows one class.
        num_classes: Number of classes.

    >>> records = VideoRecords.of([VideoRecord("a.mp4", 1, "train"), VideoRecord("b.mp4", 0, "train", weight=2.0)])
    >>> records[1].path, records.weights.tolist(), records.class_indices.tolist()
    ('b.mp4', [1.0, 2.0], [1, 0])
    """

    def __init__(
        self,
        paths: pa.ChunkedArray,
        rows: np.ndarray,
        texts: Sequence[str],
        *,
        root: str | Path | None = None,
        label_sets: Sequence[tuple[int, ...]] | None = None,
        num_classes: int = 0,
    ) -> None:
        self._paths = paths
        self._rows = rows
        self._texts = texts
        self._root = root
        self._label_sets = label_sets
        self._num_classes = num_classes

    @classmethod
    def of(cls, records: Sequence[VideoRecord]) -> "VideoRecords":
        """Return records as columns; without a copy if they are columns already."""
        if isinstance(records, cls):
            return records
        code_of_text: dict[str, int] = {}
        code_of_set: dict[tuple[int, ...], int] = {}
        num_classes = 0

        def code(text: str | None) -> int:
            return -1 if text is None else code_of_text.setdefault(text, len(code_of_text))

        rows = np.zeros(len(records), ROW)
        for index, record in enumerate(records):
            label, found = record.label, record.probe_result
            if isinstance(label, tuple):
                num_classes = len(label)
                shown = tuple(np.flatnonzero(label).tolist())
                label = code_of_set.setdefault(shown, len(code_of_set))
            row = rows[index]
            row["label"] = -1 if label is None else label
            row["split"], row["weight"] = code(record.split), record.weight
            row["start_seconds"], row["end_seconds"] = _nan(record.start_seconds), _nan(record.end_seconds)
            row["size_bytes"], row["fps"] = np.nan, record.fps or 0.0
            if found is not None:
                row["size_bytes"], row["num_frames"], row["fps"] = found.size_bytes, found.num_frames, found.fps
                row["decoders"], row["problem"] = code(" ".join(found.decoders)), code(found.problem)
                row["variable_frame_rate"], row["video_stream"] = found.variable_frame_rate, _nan(found.video_stream)
        paths = pa.chunked_array([[record.path.encode(*UTF8) for record in records]], pa.binary())
        sets = list(code_of_set) if num_classes else None
        return cls(paths, rows, list(code_of_text), label_sets=sets, num_classes=num_classes)

    def take(self, indices: np.ndarray) -> "VideoRecords":
        """Return the rows at some positions."""
        return VideoRecords(
            self._paths.take(pa.array(indices)),
            self._rows[indices],
            self._texts,
            root=self._root,
            label_sets=self._label_sets,
            num_classes=self._num_classes,
        )

    @property
    def rows(self) -> np.ndarray:
        """(N,) array of `ROW`."""
        return self._rows

    @property
    def weights(self) -> np.ndarray:
        """(N,) float64: the relative frequencies in training."""
        return np.ascontiguousarray(self._rows["weight"])

    @property
    def given_rates(self) -> np.ndarray:
        """(N,) float64: frames per second of images, as they were given; 0 for videos, whose files state it."""
        codes = [code for code, text in enumerate(self._texts) if text == FRAMES]
        of_images = np.isnan(self._rows["size_bytes"]) | np.isin(self._rows["decoders"], codes)
        return np.where(of_images, self._rows["fps"], 0.0)

    @property
    def class_indices(self) -> np.ndarray:
        """(N,) int64: the class of each video, -1 if it is not given."""
        assert self._label_sets is None, "a video has several classes"
        return self._rows["label"].astype(np.int64)

    def shown_classes(self) -> set[int]:
        """Return the indices of the classes that any video shows."""
        codes = np.unique(self._rows["label"]).tolist()
        if self._label_sets is None:
            return {code for code in codes if code >= 0}
        return {index for code in codes for index in self._label_sets[code]}

    def class_counts(self, num_classes: int, frequencies: np.ndarray | None = None) -> list[float]:
        """Return how many videos show each class, each counted as often as `frequencies` (N,) tells."""
        codes, code_of_row = np.unique(self._rows["label"], return_inverse=True)
        counts = np.bincount(code_of_row, weights=frequencies)
        found = [0.0] * num_classes
        for code, count in zip(codes.tolist(), counts.tolist(), strict=True):
            shown = ([code] if code >= 0 else []) if self._label_sets is None else self._label_sets[code]
            for index in shown:
                found[index] += count
        return found

    def label(self, code: int) -> int | tuple[bool, ...] | None:
        """Return the label of the rows that have this value in `rows`."""
        if self._label_sets is None:
            return None if code < 0 else code
        shown = self._label_sets[code]
        return tuple(index in shown for index in range(self._num_classes))

    def paths(self) -> Iterator[str]:
        """Yield the path or URL of each file."""
        for start in range(0, len(self), ROWS_AT_ONCE):
            yield from self._resolved(start)

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> VideoRecord: ...

    @overload
    def __getitem__(self, index: slice) -> list[VideoRecord]: ...

    def __getitem__(self, index: int | slice) -> VideoRecord | list[VideoRecord]:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        position = range(len(self))[index]
        path = self._paths[position].as_py().decode(*UTF8)
        return self._record(path if self._root is None else resolve(self._root, path), self._rows[position].item())

    def __iter__(self) -> Iterator[VideoRecord]:
        for start in range(0, len(self), ROWS_AT_ONCE):
            yield from map(self._record, self._resolved(start), self._rows[start : start + ROWS_AT_ONCE].tolist())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self)!r})"

    def _resolved(self, start: int) -> list[str]:
        paths = [path.decode(*UTF8) for path in self._paths.slice(start, ROWS_AT_ONCE).to_pylist()]
        return paths if self._root is None else resolve_all(self._root, paths)

    def _record(self, path: str, row: tuple[Any, ...]) -> VideoRecord:
        label, split, start, end, weight, size, decoders, num_frames, fps, varies, problem, stream = row
        found, given_fps = None, fps or None
        if size == size:  # not NaN
            given_fps = None
            found = ProbeResult(
                int(size),
                tuple(self._texts[decoders].split()) if decoders >= 0 else (),
                int(num_frames),
                fps,
                varies,
                self._texts[problem] if problem >= 0 else None,
                int(stream) if stream == stream else None,
            )
        seconds = _given(start), _given(end)
        return VideoRecord(path, self.label(label), self._texts[split], *seconds, weight, found, given_fps)


def _nan(value: float | None) -> float:
    return float("nan") if value is None else value


def _given(value: float) -> float | None:
    return value if value == value else None  # NaN: not given
