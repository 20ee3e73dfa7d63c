"""The class file: the class names, in the order of their indices."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from videoctx.data.annotations.annotation_error import AnnotationError
from videoctx.data.class_names import look_alikes, nfc, why_alike

CLASS_FILE = "classes.txt"


def read_classes(path: str | Path | Sequence[str]) -> list[str]:
    """Read the class names, in the order of their indices.

    Args:
        path: File with one class name per line, or the names themselves.

    Raises:
        AnnotationError: The file is missing, empty or not UTF-8, or names a class twice, or two that look alike.
    """
    if not isinstance(path, str | Path):
        check_class_names(path, "class_file")
        return list(path)
    try:
        names = [nfc(line).strip() for line in Path(path).read_text(encoding="utf-8-sig").splitlines()]
    except OSError as error:
        raise AnnotationError(
            f"{path}: cannot read the class names ({error.strerror}); expected a text file with one name per line"
        ) from error
    except UnicodeDecodeError as error:
        raise AnnotationError(f"{path}: the class names are not UTF-8 text ({error})") from error
    names = [name for name in names if name]
    if not names:
        raise AnnotationError(f"{path}: no class names; expected one per line")
    check_class_names(names, path)
    return names


def check_class_names(names: Sequence[str], where: str | Path) -> None:
    """Raise an AnnotationError if a class is named twice, or if two names look alike."""
    doubled = sorted(name for name, count in Counter(names).items() if count > 1)
    if doubled:
        raise AnnotationError(f"{where}: classes named more than once: {', '.join(doubled)}")
    refuse_look_alikes(names, where)


def refuse_look_alikes(names: Iterable[str], where: str | Path, what: str = "classes") -> None:
    """Raise an AnnotationError if two different names look alike."""
    pair = look_alikes(names)
    if pair is not None:
        raise AnnotationError(f"{where}: the {what} {why_alike(*pair)}")
