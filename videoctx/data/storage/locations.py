"""What a manifest's path may be: a file, an fsspec URL, or a member of a tar shard, and where it leads to.

    videos/a.mp4                                        a file
    s3://bucket/videos/a.mp4                            anything that fsspec opens
    tar://train/000012.mp4::train-000003.tar            a member of a tar file
    tar://train/000012.mp4::https://host/train-000003.tar

The last two are fsspec's own way of writing a file inside another.
"""

import re
from pathlib import Path

URL = re.compile(r"[a-z][a-z0-9+.-]*://")
TAR = "tar://"
INSIDE = "::"  # what is left of it lies inside what is right of it
VIDEO_SUFFIXES = (  # in lower or upper case
    *(".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4"),
    *(".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".vob", ".webm", ".wmv"),
)


def is_url(path: str) -> bool:
    return URL.match(path) is not None


def resolve(root: str | Path, path: str) -> str:
    """Where a manifest's path leads to: a relative path, also that of a tar file, starts from `root`.

    >>> resolve("data", "tar://a.mp4::train-000000.tar")
    'tar://a.mp4::data/train-000000.tar'
    """
    if is_url(path):
        inside, sep, outermost = path.rpartition(INSIDE)
        return f"{inside}{sep}{resolve(root, outermost)}" if sep else path
    return f"{str(root).rstrip('/')}/{path}" if is_url(str(root)) else str(Path(root) / path)


def split_member(path: str) -> tuple[str, str] | None:
    """The member's name and the tar file's path; nothing where `path` is no member of a tar file."""
    if not path.startswith(TAR) or INSIDE not in path:
        return None
    member, _, tar = path.removeprefix(TAR).partition(INSIDE)
    return member, tar
