"""A tool reports a value that it does not take in one short line, without jsonargparse's list of types."""

from collections.abc import Callable

import pytest
from jsonargparse.typing import NonNegativeInt, PositiveFloat, PositiveInt
from torch.nn import Module

from tests.each_case import each_case
from videoctx.cli.tool_parser import tool_parser


@each_case(
    "kind, value, message",
    [
        (PositiveFloat | None, "0", "some is 0; expected a number above 0"),
        (PositiveFloat | None, "abc", "some is abc; expected a number above 0"),
        (PositiveInt, "0", "some is 0; expected a whole number of 1 or more"),
        (PositiveInt | None, "1.5", "some is 1.5; expected a whole number of 1 or more"),
        (float, "abc", "some is abc; expected a number"),
        (Callable[[int], Module] | Module, "nowhere.Net", "some: there is no module nowhere; expected one that is .*"),
        (NonNegativeInt, "-1", "some is -1; expected a whole number of 0 or more"),
    ],
)
def test_a_refused_value_is_one_short_line(kind, value, message):
    parser = tool_parser("videoctx tool", None)
    parser.add_argument("--some", type=kind)
    with pytest.raises(ValueError, match=f"^{message}$"):
        parser.parse_args([f"--some={value}"])
