"""The page of `videoctx report`: one HTML file about a tested run, with all charts and images, that loads nothing.

It is rendered from `page.html.j2` by Jinja (https://jinja.palletsprojects.com), which escapes the names of classes and
files. A content security policy in the page allows its own script and no other. Every number is computed from the
scores.
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from videoctx.evaluation.confident_errors import ConfidentError
from videoctx.evaluation.controls import controls
from videoctx.evaluation.evaluation_result import EvaluationResult, percent
from videoctx.evaluation.report.class_table import class_table
from videoctx.evaluation.report.confusion_matrix import confusion_section
from videoctx.evaluation.report.page_title import page_title
from videoctx.evaluation.report.reliability import reliability_section
from videoctx.evaluation.report.training_charts import training_charts
from videoctx.evaluation.report.training_curves import TrainingLog
from videoctx.evaluation.report.views import views_section
from videoctx.evaluation.run_folders import RESULT_FILE

TEMPLATE = Path(__file__).with_name("page.html.j2")
SCRIPTS = [Path(__file__).with_name(name) for name in ("page.js", "confusion_matrix.js")]
MAX_FAILURES = 200
TOLERANCE = 1e-9  # between results.json and the scores: they are equal except for the order of sums
HEADINGS = {
    "clip_top1": ("clip top-1", "every view by itself"),
    "clip_top5": ("clip top-5", "every view by itself"),
    "video_top1": ("video top-1", "mean over the views of a video"),
    "video_top5": ("video top-5", "mean over the views of a video"),
    "video_mean_class": ("mean class accuracy", "mean over the classes"),
    "video_auc": ("AUC", "area under the ROC curve; a video without a prediction loses to all of the other class"),
    "video_ece": ("calibration error", "of the confidence; lower is better"),
    "video_map": ("mAP", "mean average precision over the classes"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorImage:
    """The frames of an incorrectly predicted view, or why they cannot be shown.

    Args:
        jpeg: the image file; empty where there is none.
        width, height: in pixels.
        frames: the number of each frame in the video.
        reason: why there is no image.
    """

    jpeg: bytes = b""
    width: int = 0
    height: int = 0
    frames: Sequence[int] = ()
    reason: str = ""

    @property
    def base64(self) -> str:
        """The image file in base64, for a `data:` URL."""
        return base64.b64encode(self.jpeg).decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """The log of the training, or why there is none.

    Args:
        path: of the log.
        log: its curves. None: there are none.
        reason: why there are no curves.
    """

    path: str = ""
    log: TrainingLog | None = None
    reason: str = ""


def render_page(
    evaluation_result: EvaluationResult,
    *,
    run: Path,
    result: Mapping[str, Any],
    card: Mapping[str, Any],
    training: Training,
    errors: Sequence[tuple[ConfidentError, ErrorImage]],
) -> str:
    """Return the page as HTML.

    Args:
        evaluation_result: computed from the scores of the run.
        run: the folder of the run.
        result: the content of `results.json`. Where it differs from the scores, the page warns.
        card: the content of `card.json`; empty where there is none.
        training: the curves of the training.
        errors: the most confident one first.
    """
    view_scores = evaluation_result.view_scores
    script = "\n".join(path.read_text(encoding="utf-8") for path in SCRIPTS)
    environment = Environment(
        loader=FileSystemLoader(TEMPLATE.parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: printable(value) if type(value) is str else value,
    )
    return environment.get_template(TEMPLATE.name).render(
        title=page_title(card, run),
        folder=str(run),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        multi_label=view_scores.multi_label,
        num_videos=len(view_scores.paths),
        num_parameters=result.get("num_parameters"),
        warnings=[*_controls(card), *_warnings(evaluation_result, result)],
        headline=[(*HEADINGS[name], percent(found)) for name, found in evaluation_result.estimates.items()],
        card=_rows_of_card(card),
        training=training,
        training_charts=training_charts(training.log.curves) if training.log else [],
        class_table=class_table(evaluation_result),
        confusions=None if view_scores.multi_label else confusion_section(evaluation_result, printable),
        views=views_section(evaluation_result),
        reliability=None if view_scores.multi_label else reliability_section(evaluation_result),
        errors=errors,
        failures=[
            (path, reason)
            for path, reason in zip(view_scores.paths, view_scores.failures, strict=True)
            if reason is not None
        ],
        max_failures=MAX_FAILURES,
    )


def printable(text: str) -> str:
    """Return text that UTF-8 can encode, with its control characters shown as escapes.

    Example:
        >>> printable("a\\x07b")
        'a\\\\x07b'
    """
    text = text.encode("utf-8", "backslashreplace").decode()
    return "".join(c if c.isprintable() or c in " \n\t" or ord(c) > 0x9F else f"\\x{ord(c):02x}" for c in text)


def _controls(card: Mapping[str, Any]) -> list[str]:
    found = ", ".join(controls(card))
    return [f"This test is a control: {found}. Its numbers are not the accuracy of the network."] if found else []


def _warnings(evaluation_result: EvaluationResult, result: Mapping[str, Any]) -> list[str]:
    view_scores = evaluation_result.view_scores
    warnings = []
    if num_failed := int(view_scores.failed.sum()):
        warnings.append(f"{num_failed} of {len(view_scores.paths)} videos could not be read; they count as incorrect.")
    if num_undecided := evaluation_result.num_undecided:
        num_views = int((~view_scores.finite).sum())
        first = view_scores.paths[int(view_scores.video[~view_scores.finite][0])]
        warnings.append(
            f"The network returned NaN for {num_views} views of {num_undecided} videos; these videos count as"
            f" incorrect. The first is {first}."
        )
    other = [
        f"{HEADINGS[name][0]} {result[name]:.4%}"
        for name, found in evaluation_result.estimates.items()
        if isinstance(result.get(name), float) and abs(result[name] - found.value) > TOLERANCE
    ]
    if other:
        warnings.append(f"{RESULT_FILE} has other values: {', '.join(other)}. It does not belong to these scores.")
    return warnings


def _rows_of_card(card: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Return the fields of a card as rows of name and value; the names of nested fields have dots."""
    rows = []
    for name, value in card.items():
        if isinstance(value, Mapping):
            rows += _rows_of_card(value, f"{prefix}{name}.")
        elif value is None:
            rows.append((prefix + name, "–"))
        else:
            rows.append((prefix + name, value if isinstance(value, str) else json.dumps(value)))
    return rows
