"""`videoctx probe`."""

import sys
from collections.abc import Sequence
from pathlib import Path

from jsonargparse.typing import PositiveFloat

from videoctx.cli.tool_parser import tool_parser
from videoctx.terminal import printable


def run_probe(arguments: Sequence[str]) -> None:
    """Train a linear classifier on the features of a training split, and test it on those of a test split.

    It is a logistic regression with an L2 penalty, whose weight is chosen on the validation split, or without one by
    cross-validation that divides no group of the manifest. `videoctx features MANIFEST` writes the features: once, as
    that takes minutes, and a probe takes seconds. With --output, `videoctx results`, `compare` and `report` take the
    probe as any other run.
    """
    parser = tool_parser("videoctx probe", run_probe.__doc__)
    parser.add_argument("features", type=Path, help="a file of `videoctx features`")
    parser.add_argument("--train", type=str, default="train", metavar="SPLIT", help="split to train on")
    parser.add_argument("--val", type=str, default="val", metavar="SPLIT", help="split to choose the penalty on")
    parser.add_argument("--test", type=str, default="test", metavar="SPLIT", help="split to test on")
    parser.add_argument(
        "--penalty", type=PositiveFloat | None, help="weight of the L2 penalty; by default it is chosen"
    )
    parser.add_argument("-o", "--output", type=Path | None, help="folder to create, with the scores and the results")
    options = parser.parse_args(list(arguments))
    if options.output and options.output.exists():
        raise ValueError(f"{options.output}: exists already; expected a folder to create")

    from videoctx.evaluation.evaluation_result import EvaluationResult
    from videoctx.evaluation.feature_file import read_features
    from videoctx.evaluation.probed_features import probe_features
    from videoctx.evaluation.written_run import write_run

    table = read_features(options.features)
    try:
        probed = probe_features(table, train=options.train, val=options.val, test=options.test, penalty=options.penalty)
    except ValueError as error:
        raise ValueError(f"{options.features}: {error}") from error
    for note in probed.notes:
        print(printable(note))
    print(f"training accuracy {probed.train_accuracy:.1%}")
    if options.output:
        write_run(
            probed.scores,
            options.output,
            network=f"linear probe of {table.metadata.get('network', options.features)}",
            num_parameters=probed.probe.weight.size + probed.probe.bias.size,
            checkpoint=str(options.features),
            start_frames=probed.start_frames,
        )
    print(EvaluationResult(probed.scores).describe())
    if options.output:
        print(printable(f"scores and results: {options.output}"))
    failures = [
        (path, reason) for path, reason in zip(probed.scores.paths, probed.scores.failures, strict=True) if reason
    ]
    for path, reason in failures:
        print(printable(f"counted as incorrect: {path}: {reason}"), file=sys.stderr)
