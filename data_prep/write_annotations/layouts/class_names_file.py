"""A file of class names, as text or JSON.

| file | content |
|---|---|
| text | one name per line, in class order |
| JSON | `["walk", "run"]`, in class order |
| JSON | `{"walk": 0, "run": 1}`, as of PyTorchVideo and Something-Something; or `{"0": "walk", "1": "run"}` |
"""

from collections.abc import Mapping
from pathlib import Path

from data_prep.write_annotations.layouts.listing import Doubled, read_json
from videoctx.data.annotations import AnnotationError, check_class_names, read_classes
from videoctx.data.class_names import nfc

EXPECTED = 'expected ["walk", "run"], or {"walk": 0, "run": 1} with numbers from 0 without gaps'


def read_class_names(file: Path) -> list[str]:
    """Return the class names in class order.

    Raises:
        AnnotationError: The file cannot be read, is no such file, or names look alike.
    """
    if file.suffix.lower() != ".json":
        return read_classes(file)
    content = read_json(file)
    if isinstance(content, Doubled):
        raise AnnotationError(f"{file}: {content.repeated[0]!r} is there more than once; {EXPECTED}")
    names = content if isinstance(content, list) else _in_order(content) if isinstance(content, Mapping) else None
    if not names or not all(isinstance(name, str) and name.strip() for name in names):
        raise AnnotationError(f"{file}: not class names; {EXPECTED}")
    names = [nfc(name.strip().strip('"')) for name in names]  # PyTorchVideo's have quotation marks inside
    check_class_names(names, file)
    return names


def _in_order(content: Mapping[str, object]) -> list[str] | None:
    """Return the names of an object, in class order. None: its values or keys are not the numbers from 0."""
    pairs = [(name, number) for name, number in content.items() if not isinstance(number, bool)]
    if all(isinstance(number, str) and not number.isdecimal() for _, number in pairs):
        pairs = [(str(name), number) for number, name in pairs]
    try:
        name_of = {int(str(number)): name for name, number in pairs}
    except ValueError:
        return None
    in_order = sorted(name_of)
    return [name_of[number] for number in in_order] if in_order == list(range(len(content))) else None
