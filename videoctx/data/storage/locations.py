"""Paths in a manifest: a file, an fsspec URL, or a member of a tar shard.

    videos/a.mp4                                        a file
    s3://bucket/videos/a.mp4                            anything that fsspec opens
    tar://train/000012.mp4::train-000003.tar            a member of a tar file
    tar://train/000012.mp4::https://host/train-000003.tar

The last two are fsspec's notation for a file inside another file.
"""

import re
from pathlib import Path

URL = re.compile(r"[a-z][a-z0-9+.-]*://")
TAR = "tar://"
INSIDE = "::"  # the part on its left is inside the part on its right
VIDEO_SUFFIXES = (  # in lower or upper case
    *(".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4"),
    *(".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".vob", ".webm", ".wmv"),
)


def is_url(path: str) -> bool:
    """Return whether a path is a URL.

    >>> is_url("https://host/a.mp4"), is_url("videos/a.mp4")
    (True, False)
    """
    return URL.match(path) is not None


def resolve(root: str | Path, path: str) -> str:
    """Resolve a path of a manifest. A relative path, also that of a tar file, starts from `root`.

    >>> resolve("data", "tar://a.mp4::train-000000.tar")
    'tar://a.mp4::data/train-000000.tar'
    """
    if is_url(path):
        inside, sep, outermost = path.rpartition(INSIDE)
        return f"{inside}{sep}{resolve(root, outermost)}" if sep else path
    return f"{str(root).rstrip('/')}/{path}" if is_url(str(root)) else str(Path(root) / path)


def split_member(path: str) -> tuple[str, str] | None:
    """Return the member's name and the tar file's path. None if `path` is not a member of a tar file.

    >>> split_member("tar://a.mp4::train-000000.tar")
    ('a.mp4', 'train-000000.tar')
    """
    if not path.startswith(TAR) or INSIDE not in path:
        return None
    member, _, tar = path.removeprefix(TAR).partition(INSIDE)
    return member, tar
