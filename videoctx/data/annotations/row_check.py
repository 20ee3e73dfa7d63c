"""What a row of the manifest must be, for the rows of one split."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from videoctx.data.annotations.annotation_error import AnnotationError
from videoctx.data.annotations.columns import LABEL_SEPARATOR
from videoctx.data.class_names import look_alikes, why_alike
from videoctx.first_few import first_few


@dataclass(frozen=True, slots=True)
class RowCheck:
    """The rules of one row, in the order in which they are reported.

    `videoctx.data.annotations.record_columns` applies the same rules to many rows at once; this reports one of them.
    """

    class_names: Sequence[str]
    index_of: Mapping[str, int]  # class names in Unicode's composed form
    labels_required: bool
    multi_label: bool

    def class_indices(self, cell: str) -> tuple[int, ...] | None:
        """Return the indices of the classes that a cell of `label` names, in order. None: one is unknown."""
        if not cell:
            return ()
        indices = {self.index_of.get(name, -1) for name in self._names(cell)}
        return None if -1 in indices else tuple(sorted(indices))

    def refuse(self, row: Mapping[str, str], where: str) -> None:
        """Raise an AnnotationError for the first rule that a row breaks."""
        if not row["path"]:
            raise AnnotationError(f"{where}: the path is empty")
        self._check_label(row["label"], where)
        start, end = (number(row, column, where) for column in ("start_seconds", "end_seconds"))
        if start is not None and end is not None and end <= start:
            raise AnnotationError(f"{where}: end_seconds {end:g} is not after start_seconds {start:g}")
        for column in ("weight", "fps"):
            number(row, column, where)
        if not row.get("size_bytes"):
            return
        _, num_frames = (number(row, column, where) for column in ("size_bytes", "num_frames"))
        if not row.get("problem") and not (row.get("decoders") and num_frames):
            raise AnnotationError(
                f"{where}: size_bytes is given, but not decoders and num_frames; expected all or none"
            )
        number(row, "video_stream", where)

    def _names(self, cell: str) -> list[str]:
        return [name.strip() for name in cell.split(LABEL_SEPARATOR)] if self.multi_label else [cell]

    def _check_label(self, cell: str, where: str) -> None:
        if not cell:
            if self.labels_required and not self.multi_label:
                classes = first_few(self.class_names, most=6)
                raise AnnotationError(f"{where}: the label is empty; expected a class ({classes})")
            return
        for name in self._names(cell):
            if name not in self.index_of:
                several = not self.multi_label and set(cell.split(LABEL_SEPARATOR)) <= self.index_of.keys()
                hint = "; multi_label reads several" if several else ""
                alike = None if several else look_alikes([*self.index_of, name])
                if alike is not None and alike[1] == name:
                    hint = f": {why_alike(*alike)}"
                raise AnnotationError(
                    f"{where}: label {name!r} is not one of the {len(self.index_of)} classes"
                    f" in the class file ({first_few(list(self.index_of), most=6)}){hint}"
                )


def number(row: Mapping[str, str], column: str, where: str) -> float | None:
    """Return a cell as a number, or None if it is empty.

    Raises:
        AnnotationError: It is not a number, or below zero.
    """
    text = row.get(column, "")
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise AnnotationError(f"{where}: {column} is {text!r}; expected a number, zero or more, or nothing")
    return value
