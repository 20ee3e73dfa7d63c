"""`videoctx report`."""

from collections.abc import Sequence
from pathlib import Path

from jsonargparse.typing import NonNegativeInt

from videoctx.cli.tool_parser import tool_parser

MOST_MISTAKES = 12


def run_report(arguments: Sequence[str]) -> None:
    """Write an HTML page on a tested run, which works offline: results, classes, confusions, mistakes and more."""
    parser = tool_parser("videoctx report", run_report.__doc__)
    parser.add_argument("run", type=str, help="folder of a run of `videoctx test`")
    parser.add_argument("--output", type=Path | None, help="page to write; by default report.html in the run's folder")
    parser.add_argument(
        "--fit", type=Path | None, help="folder of the run of `videoctx fit`; by default that of the checkpoint"
    )
    parser.add_argument("--mistakes", type=NonNegativeInt, default=MOST_MISTAKES, help="number of mistakes at most")
    options = parser.parse_args(list(arguments))

    from videoctx.atomic_write import atomic_write
    from videoctx.cli.report_sources import mistake_images, training_log
    from videoctx.evaluation.card import CARD_FILE
    from videoctx.evaluation.evaluation_result import EvaluationResult
    from videoctx.evaluation.most_confident_errors import most_confident_errors
    from videoctx.evaluation.report import read_object, read_tested, render_report
    from videoctx.evaluation.result_files import RESULT_FILE

    run = Path(options.run)
    output = options.output or run / "report.html"
    stored = read_tested(run)
    result, card = (read_object(run / name) for name in (RESULT_FILE, CARD_FILE))
    if output.is_dir() or not output.parent.is_dir():
        raise ValueError(f"{output}: cannot be written; expected a file in a folder that exists")
    evaluation_result = EvaluationResult(stored)
    training = training_log(options.fit, card)
    mistakes = most_confident_errors(evaluation_result, run, most=options.mistakes)
    images = mistake_images(mistakes, card)
    page = render_report(
        evaluation_result,
        run=run,
        result=result,
        card=card,
        training=training,
        mistakes=list(zip(mistakes, images, strict=True)),
    )
    try:
        with atomic_write(output) as part:
            part.write_text(page, encoding="utf-8")
    except OSError as error:
        raise ValueError(f"{output}: cannot be written ({error.strerror})") from error
    missing = sum(not image.jpeg for image in images)
    without = f", {missing} of {len(mistakes)} mistakes without an image" if missing else ""
    print(f"{output}: {len(page.encode()) / 1e6:.2f} MB{without}")
