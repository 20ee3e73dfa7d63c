"""How the commands that write manifests write them, and how they warn."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from videoctx.data.annotations import CLASS_FILE, LABEL_SEPARATOR, AnnotationError, write_manifest


def label_cell(labels: Sequence[str]) -> str:
    """The manifest's `label` of a video that shows these classes."""
    return LABEL_SEPARATOR.join(labels)


def write(output: Path, rows: Sequence[Mapping[str, object]], class_names: Sequence[str]) -> None:
    """Write the manifest and its class file; warn where the class file named other classes before.

    Raises:
        AnnotationError: a class name that a manifest cannot hold, or a file that cannot be written.
    """
    class_file = output.parent / CLASS_FILE
    before = class_file.read_text("utf-8", "replace").splitlines() if class_file.exists() else class_names
    try:
        write_manifest(output, rows, class_names)
    except OSError as error:
        raise AnnotationError(
            f"{output}: cannot write the manifest ({error.strerror}); expected an --output that can be"
        ) from error
    if list(before) != list(class_names):
        warn(f"{class_file} held other names before; class numbers have changed")


def warn(text: str, details: Sequence[str] = (), most: int | None = None) -> None:
    """Write the text on the error stream, and below it the details, or the first `most` of them."""
    lines = [f"warning: {text}", *details[:most]]
    if most is not None and len(details) > most:
        lines.append(f"and {len(details) - most} more")
    print("\n  ".join(lines), file=sys.stderr)
