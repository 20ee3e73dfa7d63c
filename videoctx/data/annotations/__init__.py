"""The manifest: a CSV file with one row per video or segment of a video, and a file of class names beside it.

`path` is a file, a URL or a member of a tar file (`videoctx.data.storage.locations`); or a folder, a `.zip` or a `.tar`
file of images, which need a frame rate in `fps` (`videoctx.data.decoding.frame_folder`).

| column          | needed | meaning |
|-----------------|--------|---------|
| `path`          | yes    | absolute, a URL, or relative to the manifest's folder or `root` |
| `label`         | yes    | class name, exactly as in the class file; empty if it is to be predicted |
| `split`         | yes    | `train`, `val`, `test`, or any other name |
| `start_seconds` | no     | the action starts here; empty: at the first frame |
| `end_seconds`   | no     | the action ends here; empty: at the last frame |
| `weight`        | no     | relative frequency in training, if its order is `weighted`; empty: 1 |
| `fps`           | images | frames per second of a video that is stored as images; other files state their own |

If a video may show several classes (Charades), `label` holds their names separated by `|`. It is empty if the video
shows none of them.

`data_prep.inspect_videos` adds its results, so that files need not be probed again. If `size_bytes` is empty, the file
has not been inspected.

| column                | meaning |
|-----------------------|---------|
| `size_bytes`          | size of the file, or of all images of a folder; a file of another size is refused |
| `decoders`            | decoders whose frames are exact, the fastest first: `sparse decord pyav`; of images `frames` |
| `num_frames`          | number of frames that can be decoded |
| `fps`                 | frames per second, on average; of images as it was |
| `variable_frame_rate` | `yes`, or empty |
| `problem`             | why the file cannot be used; empty if it can |
| `video_stream`        | which of the file's streams is the video, from 0; may be missing |

Other columns are kept for the tools that wrote them and are ignored here. The class file, `classes.txt`, has one name
per line. The line number, from 0, is the class index.

Class names are compared and written in Unicode's composed form (NFC). Names that look alike, as `Run` and `run`, and
one path with two labels are refused.

A manifest may have hundreds of thousands of rows, so its rows are kept as columns, and a `VideoRecord` is made when it
is asked for. The names below are imported when they are first used: a decoding process needs a `VideoRecord`, and not
the library that reads tables.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from videoctx.data.annotations.annotation_error import AnnotationError
    from videoctx.data.annotations.class_file import CLASS_FILE, check_class_names, read_classes, refuse_look_alikes
    from videoctx.data.annotations.columns import COLUMNS, LABEL_SEPARATOR, PROBE_COLUMNS
    from videoctx.data.annotations.csv_table import CsvTable, read_csv
    from videoctx.data.annotations.manifest import check_manifest, read_manifest, read_table
    from videoctx.data.annotations.manifest_output import write_manifest
    from videoctx.data.annotations.splits import has_no_validation, splits_of
    from videoctx.data.annotations.video_record import ProbeResult, VideoRecord
    from videoctx.data.annotations.video_records import VideoRecords

_MODULES = {
    "CLASS_FILE": "class_file",
    "COLUMNS": "columns",
    "LABEL_SEPARATOR": "columns",
    "PROBE_COLUMNS": "columns",
    "AnnotationError": "annotation_error",
    "CsvTable": "csv_table",
    "ProbeResult": "video_record",
    "VideoRecord": "video_record",
    "VideoRecords": "video_records",
    "check_class_names": "class_file",
    "check_manifest": "manifest",
    "has_no_validation": "splits",
    "read_classes": "class_file",
    "read_csv": "csv_table",
    "read_manifest": "manifest",
    "read_table": "manifest",
    "refuse_look_alikes": "class_file",
    "splits_of": "splits",
    "write_manifest": "manifest_output",
}

__all__ = [
    "CLASS_FILE",
    "COLUMNS",
    "LABEL_SEPARATOR",
    "PROBE_COLUMNS",
    "AnnotationError",
    "CsvTable",
    "ProbeResult",
    "VideoRecord",
    "VideoRecords",
    "check_class_names",
    "check_manifest",
    "has_no_validation",
    "read_classes",
    "read_csv",
    "read_manifest",
    "read_table",
    "refuse_look_alikes",
    "splits_of",
    "write_manifest",
]


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value  # the next use is a plain look-up
    return value
