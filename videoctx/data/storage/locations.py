"""Paths in a manifest: a file, a folder of images, an fsspec URL, or a member of a tar shard.

    videos/a.mp4                                        a file
    frames/a, frames/a.zip, frames/a.tar                the images of a video (`videoctx.data.decoding.frame_folder`)
    s3://bucket/videos/a.mp4                            a storage of `SCHEMES`, which fsspec opens
    tar://train/000012.mp4::train-000003.tar            a member of a tar file
    tar://train/000012.mp4::https://host/train-000003.tar

The last two are fsspec's notation for a file inside another file. Its other chains, such as `reference://` and
`filecache::`, are refused, because they make it read what a path does not show.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

URL = re.compile(r"[a-z][a-z0-9+.-]*://")
TAR = "tar://"
INSIDE = "::"  # the part on its left is inside the part on its right
LOCAL = "file://"
SCHEMES = (  # plain storage
    *("file", "http", "https", "s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "hf", "oss", "oci", "tos"),
    *("ftp", "sftp", "ssh", "smb", "hdfs", "webhdfs", "memory"),
)
VIDEO_SUFFIXES = (  # in lower or upper case, the usual ones first; `decoding.accepted_formats` has their containers
    *(".mp4", ".avi", ".mkv", ".mov", ".webm", ".mpg", ".wmv", ".m4v"),
    *(".264", ".265", ".3g2", ".3gp", ".amv", ".asf", ".dav", ".divx", ".dv", ".f4v", ".flv", ".gif", ".h264", ".h265"),
    *(".hevc", ".ivf", ".lrv", ".m1v", ".m2p", ".m2t", ".m2ts", ".m2v", ".mk3d", ".mod", ".mp4v", ".mpe", ".mpeg"),
    *(".mts", ".mxf", ".nut", ".ogm", ".ogv", ".qt", ".rm", ".rmvb", ".tod", ".trp", ".ts", ".vob", ".wtv", ".xvid"),
    ".y4m",
)
ARCHIVES_OF_IMAGES = (".zip", ".tar")
OTHER_ARCHIVES = (".tgz", ".tar.gz", ".tbz2", ".tar.bz2", ".txz", ".tar.xz", ".tar.zst", ".7z", ".rar")  # not read


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
    if path.startswith(TAR):
        inside, sep, outermost = path.rpartition(INSIDE)
        return f"{inside}{sep}{resolve(root, outermost)}" if sep else path
    if is_url(path):
        return path
    return f"{str(root).rstrip('/')}/{path}" if is_url(str(root)) else str(Path(root) / path)


def are_plain(paths: Sequence[str]) -> bool:
    """Return whether all paths are files, and none has an empty part, `.` or `..`. Some that are plain are not found.

    >>> are_plain(["videos/a.mp4", "/b.mp4"]), are_plain(["videos/../a.mp4"]), are_plain(["s3://bucket/a.mp4"])
    (True, False, False)
    """
    text = "\n".join(("", *paths, ""))
    return not any(part in text for part in ("//", "/.", "./", "/\n", "\n\n", "\n.\n", "\n..\n"))


def join_plain(root: str | Path, paths: Sequence[str]) -> list[str]:
    """Resolve many plain paths of a manifest (`are_plain`)."""
    if is_url(str(root)):
        return [f"{str(root).rstrip('/')}/{path}" for path in paths]
    folder = str(Path(root) / "_")[:-1]  # empty, or ends with /
    return [path if path.startswith("/") else folder + path for path in paths]


def resolve_all(root: str | Path, paths: Sequence[str]) -> list[str]:
    """Resolve many paths of a manifest.

    >>> resolve_all("data", ["a.mp4", "/videos/b.mp4"])
    ['data/a.mp4', '/videos/b.mp4']
    """
    if are_plain(paths):
        return join_plain(root, paths)
    tars: dict[str, str] = {}  # few have many members
    resolved = []
    for path in paths:
        inside, sep, tar = path.rpartition(INSIDE) if path.startswith(TAR) else ("", "", path)
        if sep and tar not in tars:
            tars[tar] = resolve(root, tar)
        resolved.append(f"{inside}{sep}{tars[tar]}" if sep else resolve(root, path))
    return resolved


def split_member(path: str) -> tuple[str, str] | None:
    """Return the member's name and the tar file's path. None if `path` is not a member of a tar file.

    >>> split_member("tar://a.mp4::train-000000.tar")
    ('a.mp4', 'train-000000.tar')
    """
    if not path.startswith(TAR) or INSIDE not in path:
        return None
    member, _, tar = path.removeprefix(TAR).partition(INSIDE)
    return member, tar


def local_path(path: str) -> str:
    """Return a path without `file://`.

    >>> local_path("file:///videos/a.mp4"), local_path("file://localhost/videos/a.mp4")
    ('/videos/a.mp4', '/videos/a.mp4')
    """
    return path.removeprefix(LOCAL).removeprefix("localhost") if path.startswith(LOCAL) else path


def holds_images(path: str) -> bool:
    """Return whether a path is an archive or a local folder, which hold the frames of a video as images.

    >>> holds_images("frames/a.zip"), holds_images("tar://a.mp4::train.tar"), holds_images("tar://a.tar::train.tar")
    (True, False, True)
    >>> holds_images("a.mp4"), holds_images("."), holds_images("https://host/a.zip?signature=x")
    (False, True, True)
    """
    member = split_member(path)
    name = member[0] if member else urlsplit(path).path if is_url(path) and not why_refused(path) else path
    is_archive = name.lower().endswith((*ARCHIVES_OF_IMAGES, *OTHER_ARCHIVES))
    return is_archive or (member is None and os.path.isdir(local_path(path)))


def why_refused(path: str) -> str | None:
    """Return why a path is not looked up at all. None: it is a file, a URL of plain storage, or a member of a tar file.

    >>> why_refused("https://host/a.mp4")
    >>> why_refused("zip://a.mp4::b.zip").partition(";")[0]
    'zip:// is not accepted'
    """
    member = split_member(path)
    outer = path if member is None else member[1]
    chain = re.match(r"([a-z][a-z0-9+.-]*)::", outer)
    found = URL.match(outer)
    scheme = found.group().removesuffix("://") if found else None
    if (scheme and scheme not in SCHEMES) or (chain and (found is None) and "://" in outer):
        what = f"{scheme}://" if scheme else f"{chain[1]}::" if chain else outer
        return f"{what} is not accepted; expected {', '.join(SCHEMES)}, a path, or {TAR}MEMBER::FILE"
    if scheme == "file" and not local_path(outer).startswith("/"):
        host = outer.removeprefix(LOCAL).partition("/")[0]
        return f"file:// with the host {host!r}; expected file:///PATH"
    if scheme is not None and scheme != "file":
        try:
            parts = urlsplit(outer)
            _ = parts.port
        except ValueError as error:
            return f"not a URL: {error}"
        if not (parts.hostname or parts.netloc) and scheme in ("http", "https", "ftp", "sftp", "ssh", "smb"):
            return "not a URL: it names no host"
    return None
