"""`videoctx report`."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path

from jsonargparse.typing import NonNegativeInt

from videoctx.atomic_write import atomic_write
from videoctx.cli.tool_parser import ToolParser
from videoctx.data.containers import VideoDecodeError
from videoctx.data.locations import resolve
from videoctx.data.preprocessing import Preprocessing
from videoctx.data.protocols import PROTOCOLS
from videoctx.data.remote import StorageError
from videoctx.data.storage import LocalFiles
from videoctx.evaluation.evaluation_result import EvaluationResult
from videoctx.evaluation.most_confident_errors import Mistake, most_confident_errors
from videoctx.evaluation.report import (
    CARD_FILE,
    RESULT_FILE,
    Picture,
    Training,
    read_object,
    read_tested,
    render_report,
)
from videoctx.evaluation.training_curves import METRICS_FILE, read_curves
from videoctx.visualize.seen_view import view_sheet

MOST_MISTAKES = 12


def run_report(arguments: Sequence[str]) -> None:
    """One HTML page about a tested run, which works offline: results, classes, confusions, mistakes and more."""
    parser = ToolParser(prog="videoctx report", description=run_report.__doc__)
    parser.add_argument("run", type=str, help="folder of a run of `videoctx test`")
    parser.add_argument("--output", type=Path | None, help="the page to write; by default report.html in the run")
    parser.add_argument(
        "--fit", type=Path | None, help="folder of the run of `videoctx fit`; by default that of the checkpoint"
    )
    parser.add_argument("--mistakes", type=NonNegativeInt, default=MOST_MISTAKES, help="most mistakes to show")
    options = parser.parse_args(list(arguments))
    run = Path(options.run)
    output = options.output or run / "report.html"
    stored = read_tested(run)
    result, card = (read_object(run / name) for name in (RESULT_FILE, CARD_FILE))
    if output.is_dir() or not output.parent.is_dir():
        raise ValueError(f"{output}: cannot be written; expected a file in a folder that exists")
    evaluation_result = EvaluationResult(stored)
    training = _training(options.fit, card)
    mistakes = most_confident_errors(evaluation_result, run, most=options.mistakes)
    pictures = _pictures(mistakes, card)
    page = render_report(
        evaluation_result,
        run=run,
        result=result,
        card=card,
        training=training,
        mistakes=list(zip(mistakes, pictures, strict=True)),
    )
    try:
        with atomic_write(output) as part:
            part.write_text(page, encoding="utf-8")
    except OSError as error:
        raise ValueError(f"{output}: cannot be written ({error.strerror})") from error
    missing = sum(not picture.jpeg for picture in pictures)
    without = f", {missing} of {len(mistakes)} mistakes without a picture" if missing else ""
    print(f"{output}: {len(page.encode()) / 1e6:.2f} MB{without}")


def _training(fit: Path | None, card: Mapping) -> Training:
    """The curves of `fit`, which must have some, or of the run that the checkpoint lies in, if there are any."""
    if fit is not None:
        path = fit / METRICS_FILE
        if not path.is_file():
            raise ValueError(f"{fit}: no {METRICS_FILE} in there; expected the folder of a run of `videoctx fit`")
        return Training(path=str(path), log=read_curves(path))
    checkpoint = card.get("checkpoint")
    if not checkpoint:
        return Training(reason="the card names no checkpoint; --fit names the folder of the training")
    path = Path(card.get("folder", "."), str(checkpoint["path"])).parent.parent / METRICS_FILE
    if not path.is_file():
        return Training(reason=f"{path} is not there; --fit names the folder of the training")
    try:
        return Training(path=str(path), log=read_curves(path))
    except ValueError as error:
        return Training(reason=str(error))


def _pictures(mistakes: Sequence[Mistake], card: Mapping) -> list[Picture]:
    try:
        preprocessing = _preprocessing(card.get("data") or {})
    except (ValueError, TypeError) as error:
        return [Picture(reason=f"the card does not say how the clips were made: {error}")] * len(mistakes)
    files = LocalFiles(num_attempts=1)
    return [_picture(mistake, card.get("folder", "."), files, preprocessing) for mistake in mistakes]


def _preprocessing(data: Mapping) -> Preprocessing:
    """What a card says of it, which calls some fields by other names.

    Raises:
        ValueError: it does not say all, or names a protocol that this version does not have.
    """
    ours = {"short_side_px": "test_short_side_px", "crop_size_px": "test_crop_size_px", "views": "test_views"}
    named = {ours.get(name, name): value for name, value in data.items()}
    wanted = {field.name for field in fields(Preprocessing)}
    preprocessing = Preprocessing.from_dict({name: value for name, value in named.items() if name in wanted})
    if preprocessing.protocol not in PROTOCOLS:
        raise ValueError(f"protocol is {preprocessing.protocol!r}; expected one of {', '.join(PROTOCOLS)}")
    return preprocessing


def _picture(mistake: Mistake, folder: str, files: LocalFiles, preprocessing: Preprocessing) -> Picture:
    try:
        with files.local_copy(resolve(folder, mistake.path)) as file:
            sheet = view_sheet(file, preprocessing, start_frame=mistake.start_frame, crop=mistake.crop)
    except VideoDecodeError as error:
        return Picture(reason=error.reason)
    except (StorageError, OSError, ValueError) as error:
        return Picture(reason=str(error))
    return Picture(jpeg=sheet.jpeg, width=sheet.width, height=sheet.height, frames=sheet.frames)
