"""Comma-separated lists on the command line."""

import csv


def split_comma_list(text: str) -> list[str]:
    """Return the items of a comma-separated list. An item that contains a comma is in double quotes.

    >>> split_comma_list('a, b,"c,d"')
    ['a', 'b', 'c,d']
    """
    return [item.strip() for item in next(csv.reader([text]), [])]
