"""The confusion matrix of the report: its drawing, its cells for the script, and the most frequent confusions."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from videoctx.evaluation.evaluation_result import EvaluationResult

MAX_CONFUSIONS = 30
MAX_TABLE = 30  # classes; a table of more has no room
SHADE_ENDS = (0.1, 0.25, 0.5, 0.75, 1.0)  # upper ends of the shades, as shares of a class's videos
NO_PREDICTION = "(no prediction)"


class CellPath(NamedTuple):
    """The SVG path of all cells of one color.

    Args:
        kind: `correct` or `incorrect`.
        shade: index into `SHADE_ENDS`.
        path: the `d` attribute; a unit is a cell.
    """

    kind: str
    shade: int
    path: str


class Confusion(NamedTuple):
    """How often videos of one class were predicted as another.

    Args:
        label: the class of the videos.
        prediction: the class that was predicted.
        num_videos: how many.
        share: of the videos of the class.
        cell: row and column in the matrix.
    """

    label: str
    prediction: str
    num_videos: int
    share: float
    cell: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfusionSection:
    """What the template needs.

    Args:
        paths: the cells that have videos.
        num_rows, num_columns: of the matrix.
        data: names and cells, for the script.
        top: the most frequent confusions.
        num_kinds: the number of pairs of class and other prediction that occur.
        shades: what the shades mean.
        table: the name, the number of videos and the cells of each class, as text; None with many classes.
    """

    paths: list[CellPath]
    num_rows: int
    num_columns: int
    data: dict[str, Any]
    top: list[Confusion]
    num_kinds: int
    shades: list[str]
    table: list[tuple[str, int, list[str]]] | None


def confusion_section(result: EvaluationResult, printable: Callable[[str], str]) -> ConfusionSection:
    """Return the confusion matrix. It has a column for videos without a prediction if there are any.

    Args:
        printable: makes names safe to show.
    """
    names = [printable(name) for name in result.view_scores.class_names]
    table = result.confusion if result.confusion[:, -1].any() else result.confusion[:, :-1]
    totals = table.sum(axis=1)
    cells = [(int(i), int(j), int(table[i, j])) for i, j in np.argwhere(table)]
    paths: dict[tuple[str, int], list[str]] = {}
    for i, j, count in cells:
        shade = next(index for index, end in enumerate(SHADE_ENDS) if count / totals[i] <= end)
        paths.setdefault(("correct" if i == j else "incorrect", shade), []).append(f"M{j} {i}h1v1h-1z")
    predictions = [*names, NO_PREDICTION][: table.shape[1]]
    errors = sorted((cell for cell in cells if cell[0] != cell[1]), key=lambda cell: (-cell[2], cell[0], cell[1]))
    return ConfusionSection(
        paths=[CellPath(kind, shade, "".join(parts)) for (kind, shade), parts in sorted(paths.items())],
        num_rows=len(names),
        num_columns=table.shape[1],
        data={"names": names, "predictions": predictions, "cells": cells},
        top=[
            Confusion(names[i], predictions[j], count, count / totals[i], f"{i} {j}")
            for i, j, count in errors[:MAX_CONFUSIONS]
        ],
        num_kinds=len(errors),
        shades=[f"up to {end:.0%}" for end in SHADE_ENDS],
        table=_table(names, table) if len(names) <= MAX_TABLE else None,
    )


def _table(names: list[str], table: np.ndarray) -> list[tuple[str, int, list[str]]]:
    """Return the rows of the matrix: counts, and their shares of the class."""
    totals = table.sum(axis=1).tolist()
    return [
        (name, total, [f"{count} ({count / total:.0%})" if count else "" for count in counts])
        for name, total, counts in zip(names, totals, table.tolist(), strict=True)
    ]
