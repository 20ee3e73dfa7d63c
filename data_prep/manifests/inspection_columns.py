"""The columns that `data_prep.inspect_videos` adds to a manifest, and its list of duplicates.

| column               | meaning |
|----------------------|---------|
| `size_bytes` … `problem` | see `videoctx.data.annotations` |
| `container`, `codec` | FFmpeg's names; of images `folder`, `zip` or `tar` |
| `width`, `height`    | pixels of the upright frame |
| `duration_seconds`   | from the first shown frame to the end of the last |
| `gop`                | packets in the largest GOP: the most packets to decode for one frame |
| `content_hash`       | SHA-256 of the file's bytes, as printed by `sha256sum`; of images, of their bytes in order |
| `frame_hashes`       | perceptual hashes of eight frames: `data_prep.inspect_videos.frame_hashes` |
| `file_stamp`         | size and modification time of the inspected file or of its tar file; empty for URLs |
"""

from videoctx.data.annotations import PROBE_COLUMNS

FOUND_COLUMNS = (
    *("container", "codec", "width", "height", "duration_seconds", "gop", "content_hash", "frame_hashes"),
    "file_stamp",
)
INSPECTION_COLUMNS = (*PROBE_COLUMNS, *FOUND_COLUMNS)
DUPLICATES_FILE = "duplicates.csv"  # beside the manifest
