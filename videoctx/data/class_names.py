"""Names of classes that a person cannot tell apart, and one Unicode form for each name.

Two spellings that look the same, such as `Run` and `run`, are nearly always one class that was written in two ways. As
two classes they would divide its videos between them.
"""

import re
import unicodedata
from collections.abc import Iterable

LEADING_ZEROS = re.compile(r"(?<![\d.,])0+(?=\d)")  # but 1.05 is not 1.5
GAPS = re.compile(r"[\s_]+")
VARIATION_SELECTORS = re.compile("[\ufe00-\ufe0f]")  # the form of the character before: text or emoji
REMEDY = "expected one spelling for each class: rename one of them"


def nfc(name: str) -> str:
    r"""Return the name in Unicode's composed form, so that equal text is equal. macOS writes file names decomposed.

    >>> nfc("cafe\u0301") == "caf\xe9"
    True
    """
    return unicodedata.normalize("NFC", name)


def look_alike_key(name: str) -> str:
    r"""Return what is left of a name without the differences that are easily overlooked. Look-alikes have equal keys.

    >>> look_alike_key("Jump\xa0High "), look_alike_key("jump_high"), look_alike_key("007")
    ('jump high', 'jump high', '7')
    """
    text = VARIATION_SELECTORS.sub("", _visible(unicodedata.normalize("NFKC", name)))
    text = unicodedata.normalize("NFKC", text.casefold())
    return LEADING_ZEROS.sub("", GAPS.sub(" ", text)).strip(" .")


def look_alikes(names: Iterable[str]) -> tuple[str, str] | None:
    """Return the first two different names that look alike, in order of their occurrence. None: all are distinct.

    >>> look_alikes(["walk", "Run", "run"])
    ('Run', 'run')
    """
    first_of: dict[str, str] = {}
    for name in names:
        first = first_of.setdefault(look_alike_key(name), name)
        if first != name:
            return first, name
    return None


def how_they_differ(first: str, second: str) -> str:
    """Return in words what the only difference between two look-alikes is.

    >>> how_they_differ("0", "00")
    'in leading zeros'
    """
    changes = {
        "in Unicode's composed or decomposed form": nfc,
        "in upper and lower case": str.casefold,
        "in spaces around the name": str.strip,
        "in dots around the name": lambda name: name.strip(" ."),
        "in leading zeros": lambda name: LEADING_ZEROS.sub("", name),
        "in invisible characters": lambda name: VARIATION_SELECTORS.sub("", _visible(name)),
        "in spaces and underscores": lambda name: GAPS.sub(" ", name),
    }
    same = (words for words, change in changes.items() if change(first) == change(second))
    return next(same, "in characters that look alike")


def why_alike(first: str, second: str) -> str:
    r"""Return a message about two names that look alike, with escape sequences for what is not visible.

    >>> why_alike("jump", "jump\u200b").partition(";")[0]
    "'jump' and 'jump\\u200b' differ only in invisible characters"
    """
    return f"{_shown(first)} and {_shown(second)} differ only {how_they_differ(first, second)}; {REMEDY}"


def _visible(name: str) -> str:
    """Return the name without format characters: zero-width spaces and joiners, soft hyphens, text directions."""
    return "".join(character for character in name if unicodedata.category(character) != "Cf")


def _shown(name: str) -> str:
    return repr(name) if name == nfc(name) else ascii(name)  # a decomposed accent is visible only as its code
