"""Lists on the command line: `a,b,"c,d"`."""

import csv


def items_of(text: str) -> list[str]:
    """Items of a comma list; one that has a comma itself stands in double quotes."""
    return [item.strip() for item in next(csv.reader([text]), [])]
