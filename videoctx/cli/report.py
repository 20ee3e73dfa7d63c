"""`videoctx report`."""

from collections.abc import Sequence
from pathlib import Path

from jsonargparse.typing import NonNegativeInt

from videoctx.cli.output_path import writable_file
from videoctx.cli.tested_run import RUN_HELP, tested_run
from videoctx.cli.tool_parser import tool_parser

MAX_ERRORS = 12


def run_report(arguments: Sequence[str]) -> None:
    """Write an HTML page on a tested run, which works offline: results, classes, confusions, errors and more."""
    parser = tool_parser("videoctx report", run_report.__doc__)
    parser.add_argument("run", type=str, help=RUN_HELP)
    parser.add_argument("--output", type=Path | None, help="page to write; by default report.html in the run's folder")
    parser.add_argument(
        "--fit", type=Path | None, help="folder of the run of `videoctx fit`; by default that of the checkpoint"
    )
    parser.add_argument("--errors", type=NonNegativeInt, default=MAX_ERRORS, help="number of errors to show at most")
    options = parser.parse_args(list(arguments))

    from videoctx.atomic_write import atomic_write
    from videoctx.cli.report_sources import error_images, training_log
    from videoctx.evaluation.confident_errors import most_confident_errors
    from videoctx.evaluation.controls import CARD_FILE
    from videoctx.evaluation.evaluation_result import EvaluationResult
    from videoctx.evaluation.report.page import render_page
    from videoctx.evaluation.result_files import RESULT_FILE, read_json_object
    from videoctx.evaluation.scores import read_run

    run = tested_run(options.run)
    output = options.output or run / "report.html"
    view_scores = read_run(run, allow_nan=True)
    result, card = (read_json_object(run / name) for name in (RESULT_FILE, CARD_FILE))
    writable_file(output)
    evaluation_result = EvaluationResult(view_scores)
    training = training_log(options.fit, run, card)
    errors = most_confident_errors(evaluation_result, run, most=options.errors)
    images = error_images(errors, card)
    page = render_page(
        evaluation_result,
        run=run,
        result=result,
        card=card,
        training=training,
        errors=list(zip(errors, images, strict=True)),
    )
    with atomic_write(output) as part:
        part.write_text(page, encoding="utf-8")
    missing = sum(not image.jpeg for image in images)
    without = f", {missing} of {len(errors)} errors without an image" if missing else ""
    print(f"{output}: {len(page.encode()) / 1e6:.2f} MB{without}")
