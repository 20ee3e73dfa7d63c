"""Class names of published data sets, in the label order of published weights.

ImageNet's order is torchvision's, and Kinetics-400's is PyTorchVideo's. The names of Kinetics-600 and -700 are in
alphabetical order, as the projects that publish weights number them. No published weights of these two sets were at
hand to compare with. Of ImageNet's two classes named cardigan, the dog is named Cardigan Welsh corgi.
"""

from importlib.resources import files
from pathlib import Path
from typing import Literal, get_args
from unicodedata import normalize

DatasetName = Literal["kinetics400", "kinetics600", "kinetics700", "imagenet"]


def read_class_names(source: str | Path) -> list[str]:
    """Return the class names of a data set, or those of a text file with one per line.

    Args:
        source: kinetics400, kinetics600, kinetics700, imagenet, or a file.

    Raises:
        ValueError: There is no such data set or file; or a name is empty or occurs twice.

    >>> read_class_names("kinetics400")[:2]
    ['abseiling', 'air drumming']
    """
    if source in get_args(DatasetName):
        text = (files("videoctx.models") / "class_names" / f"{source}.txt").read_text(encoding="utf-8")
    else:
        try:
            text = Path(source).read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise ValueError(f"{source}: not a text file in UTF-8; expected one class name per line") from error
        except OSError as error:
            raise ValueError(
                f"class_names is {str(source)!r}, which cannot be read ({error.strerror}); expected a file with one"
                f" name per line, or one of {', '.join(get_args(DatasetName))}"
            ) from error
    names = [normalize("NFC", line).strip() for line in text.splitlines()]  # as in class files of data
    while names and not names[-1]:
        names.pop()
    for number, name in enumerate(names, start=1):
        if not name:
            raise ValueError(f"{source}: line {number} is empty; expected one class name per line")
        if names.index(name) != number - 1:
            raise ValueError(f"{source}: {name!r} is in lines {names.index(name) + 1} and {number}")
    if not names:
        raise ValueError(f"{source}: no class names in the file; expected one per line")
    return names
