"""Text of others, such as a file's name, made safe to be shown."""


def printable(text: str) -> str:
    """The text, with escapes for the characters that would steer a terminal or that no page may have.

    >>> printable("two\\nlines")
    'two\\\\nlines'
    """
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)
