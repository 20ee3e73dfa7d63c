"""Text from elsewhere, such as a file name, made safe to print."""


def printable(text: str) -> str:
    r"""Return the text with escape sequences for the characters that would control a terminal or break a page.

    >>> printable("two\nlines")
    'two\\nlines'
    """
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )
