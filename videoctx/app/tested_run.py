"""Browse results: the videos of a tested run by class, the most confident errors first."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from videoctx.app.manifest_rows import segments_of_split
from videoctx.data.annotations.annotation_error import AnnotationError
from videoctx.data.annotations.image_rates import image_rates
from videoctx.data.loading.segment import WHOLE, Segment
from videoctx.data.storage.locations import holds_images, resolve
from videoctx.evaluation.confident_errors import shown_classes, shown_predictions
from videoctx.evaluation.controls import CARD_FILE, data_of
from videoctx.evaluation.evaluation_result import EvaluationResult
from videoctx.evaluation.result_files import read_json_object
from videoctx.evaluation.run_folders import SCORES_FILE
from videoctx.evaluation.scores import read_rows, read_run

VIDEOS_AT_ONCE = 60


class TestedRun:
    """A run of `videoctx test`.

    Args:
        folder: of the run.

    Raises:
        ScoreError: it is no such run.
    """

    __test__ = False  # no test of pytest's

    def __init__(self, folder: Path) -> None:
        self.name = str(folder)
        self.result = EvaluationResult(read_run(folder, allow_nan=True))
        card: Mapping[str, Any] = read_json_object(folder / CARD_FILE)
        self._root = str(card.get("folder", "."))
        self._manifest, self._split = (data_of(card).get(name) for name in ("manifest", "split"))
        self._rows = read_rows(folder / SCORES_FILE)
        self.shown = shown_classes(self.result)
        self.predictions, self.confidences, self.incorrect = shown_predictions(self.result)

    def summary(self) -> dict[str, Any]:
        """Return the classes with their results, and a line on the whole run."""
        return {
            "name": self.name,
            "line": self.result.describe(),
            "multi_label": self.result.view_scores.multi_label,
            "classes": [
                {"class": one.name, "num_videos": one.num_videos, "value": one.value} for one in self.result.per_class
            ],
        }

    def source(self, index: int) -> tuple[str, float | None, Segment]:
        """Return the path of a video, its frames per second if it is stored as images, and its segment.

        Raises:
            ValueError: there is no such video.
        """
        return self.path(index), self.image_rate(index), self.segment(index)

    def path(self, index: int) -> str:
        """Return the path of a video.

        Raises:
            ValueError: there is no such video.
        """
        paths = self.result.view_scores.paths
        if not 0 <= index < len(paths):
            raise ValueError(f"run is {index}; expected the number of a tested video, from 0 to {len(paths) - 1}")
        return resolve(self._root, paths[index])

    def image_rate(self, index: int) -> float | None:
        """Return the frames per second that the manifest of the test gives to a video that is stored as images."""
        if not self._manifest or not holds_images(self.path(index)):
            return None
        path = self.result.view_scores.paths[index]
        try:
            return image_rates(resolve(self._root, str(self._manifest)), [path]).get(path)
        except AnnotationError:
            return None  # the manifest is not there any more: the page asks for the rate

    def segment(self, index: int) -> Segment:
        """Return the part of a video that was tested, as the manifest of the test gives it."""
        path, row = self.result.view_scores.paths[index], int(self._rows[index])
        if row >= len(self._segments):
            return WHOLE
        named, segment = self._segments[row]
        return segment if path == named or path.endswith(f"/{named}") else WHOLE  # the manifest has changed

    @cached_property
    def _segments(self) -> list[tuple[str, Segment]]:
        try:
            manifest = resolve(self._root, str(self._manifest))
            return segments_of_split(Path(manifest), str(self._split)) if self._manifest and self._split else []
        except AnnotationError:
            return []  # the manifest is not there any more

    def videos(self, class_index: int | None, *, start: int = 0) -> dict[str, Any]:
        """Return some videos, errors first and the most confident ones before others; then the least confident ones.

        Args:
            class_index: of the class that they show. None: of any class.
            start: how many to leave out.
        """
        view_scores = self.result.view_scores
        chosen = np.arange(len(view_scores.paths))
        if class_index is not None:
            chosen = np.flatnonzero(self.shown[:, class_index])
        order = sorted(chosen.tolist(), key=self._rank)
        names = view_scores.class_names
        rows = []
        for index in order[start : start + VIDEOS_AT_ONCE]:
            has_prediction = self.confidences[index] >= 0
            rows.append(
                {
                    "index": index,
                    "name": view_scores.paths[index],
                    "labels": [names[k] for k in np.flatnonzero(self.shown[index])],
                    "prediction": names[self.predictions[index]] if has_prediction else None,
                    "confidence": float(self.confidences[index]) if has_prediction else None,
                    "incorrect": bool(self.incorrect[index]),
                    "failure": view_scores.failures[index],
                }
            )
        return {"videos": rows, "num_videos": len(order), "start": start}

    def _rank(self, index: int) -> tuple[int, float, str]:
        confidence = float(self.confidences[index])
        path = self.result.view_scores.paths[index]
        if confidence < 0:
            return 1, 0.0, path  # failed
        return (0, -confidence, path) if self.incorrect[index] else (2, confidence, path)
