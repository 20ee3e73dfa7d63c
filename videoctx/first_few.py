"""The first few of many names, for messages: `conv1, norm1, conv2, …`."""

from collections.abc import Sequence


def first_few(names: Sequence[str], most: int = 3) -> str:
    """Join at most `most` names with commas, with an ellipsis where there are more."""
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")
