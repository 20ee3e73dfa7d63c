"""Writing manifests."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from data_prep.command_line.warning import warn
from videoctx.data.annotations import CLASS_FILE, LABEL_SEPARATOR, AnnotationError, write_manifest
from videoctx.user_error import error_line


def label_cell(labels: Sequence[str]) -> str:
    """Return the `label` cell of a video that shows these classes."""
    return LABEL_SEPARATOR.join(labels)


def write_manifest_and_warn(output: Path, rows: Sequence[Mapping[str, object]], class_names: Sequence[str]) -> None:
    """Write the manifest and its class file; warn if the class file listed other classes before.

    Raises:
        AnnotationError: a class name that a manifest cannot contain, or a file that cannot be written.
    """
    class_file = output.parent / CLASS_FILE
    before = class_file.read_text("utf-8", "replace").splitlines() if class_file.exists() else class_names
    try:
        write_manifest(output, rows, class_names)
    except OSError as error:
        raise AnnotationError(
            f"{output}: cannot write the manifest ({error_line(error)}); expected an --output that can be written"
        ) from error
    if list(before) != list(class_names):
        warn(f"{class_file} listed other classes before; class numbers have changed")
