"""The locations of the archives of Kinetics: the layout of the Common Visual Data Foundation (CVDF), or a mirror of it.

    400/train/k400_train_path.txt       one URL per line: https://s3.amazonaws.com/kinetics/400/train/part_0.tar.gz
    400/annotations/train.csv
    400/replacement_for_corrupted_k400.tgz

The same holds with 600 and k600, and with 700_2020 and k700_2020, which have no replacements. The annotations of
Kinetics-600 are `train.txt`, `val.txt`, `test.csv` and `kinetics600_holdout_test.csv`. A mirror is another place with
the same layout; URLs of CVDF in its lists are read from the mirror. A second column in a list is the MD5 or SHA-256 of
the archive.
Source: README.md and the `*_downloader.sh` of github.com/cvdfoundation/kinetics-dataset.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, unquote, urljoin, urlsplit
from urllib.request import url2pathname

CVDF = "https://s3.amazonaws.com/kinetics"
SPLITS = ("train", "val", "test")
ARCHIVE_SUFFIXES = (".tar.gz", ".tgz", ".tar")
CHECKSUM = re.compile(r"(.*\S)\s+([0-9a-fA-F]{64}|[0-9a-fA-F]{32})")


class MirrorError(ValueError):
    """A mirror that cannot be used; the message names it and what is accepted."""


@dataclass(frozen=True, slots=True)
class Release:
    """A version of Kinetics. Paths start from the base."""

    folder: str
    prefix: str
    annotations: dict[str, tuple[str, ...]] = field(
        default_factory=lambda: {split: (f"{split}.csv",) for split in SPLITS}
    )
    replacements: str | None = None  # an archive of videos that replace broken ones of train

    def list_path(self, split: str) -> str:
        return f"{self.folder}/{split}/{self.prefix}_{split}_path.txt"

    def annotation_paths(self, split: str) -> list[str]:
        return [f"{self.folder}/annotations/{name}" for name in self.annotations[split]]


RELEASES = {
    "k400": Release("400", "k400", replacements="400/replacement_for_corrupted_k400.tgz"),
    "k600": Release(
        "600",
        "k600",
        {"train": ("train.txt",), "val": ("val.txt",), "test": ("test.csv", "kinetics600_holdout_test.csv")},
    ),
    "k700_2020": Release("700_2020", "k700_2020"),
}


@dataclass(frozen=True, slots=True)
class Mirror:
    """A place with the layout of CVDF: a URL of a folder, or a folder on this machine."""

    base: str | Path

    def at(self, path: str) -> str | Path:
        """Return the URL or file of a path of the layout."""
        return self.base / path if isinstance(self.base, Path) else f"{self.base}/{_quoted(path)}"


@dataclass(frozen=True, slots=True)
class Archive:
    """An archive of videos."""

    split: str  # the folder below the output that it is extracted into
    name: str
    source: str | Path  # URL or file
    checksum: str | None = None  # MD5 or SHA-256, lower case

    def __str__(self) -> str:
        return f"{self.split}/{self.name}"


def mirror_at(base_url: str) -> Mirror:
    """Return the mirror at a URL or folder.

    Raises:
        MirrorError: it is neither a folder nor a URL that can be requested.
    """
    url = urlsplit(base_url)
    if url.scheme in ("http", "https") and url.netloc:
        return Mirror(base_url.rstrip("/"))
    folder = Path(url2pathname(url.path)) if url.scheme == "file" else Path(base_url)
    if "://" in base_url and url.scheme != "file":
        raise MirrorError(f"--base_url {base_url}: expected http://, https://, file:// or a folder")
    if not folder.is_dir():
        raise MirrorError(f"--base_url {base_url}: no such folder; expected one with 400/, 600/ or 700_2020/ in it")
    return Mirror(folder.absolute())


def read_list(text: str, mirror: Mirror, list_path: str, split: str) -> tuple[list[Archive], list[str]]:
    """Return the archives in a list, and a message about each line that does not name one."""
    archives, problems = {}, []
    for number, line in enumerate(text.lstrip("\ufeff").split("\n"), 1):
        if not line.strip():
            continue
        match = CHECKSUM.fullmatch(line.strip())
        address, checksum = (match[1], match[2].lower()) if match else (line.strip(), None)
        try:
            source = _source(address, mirror, list_path)
            name = source.name if isinstance(source, Path) else unquote(urlsplit(source).path).rpartition("/")[2]
            if name.startswith(".") or not name.isprintable() or not name.endswith(ARCHIVE_SUFFIXES):
                raise ValueError(f"{address!r} is not the address of an archive ({', '.join(ARCHIVE_SUFFIXES)})")
            if name in archives:
                raise ValueError(f"{name!r} is listed twice")
        except ValueError as error:
            problems.append(f"{list_path}, line {number}: {error}")
            continue
        archives[name] = Archive(split, name, source, checksum)
    return list(archives.values()), problems


def _source(address: str, mirror: Mirror, list_path: str) -> str | Path:
    """Return where an archive is, given its address in a list: at CVDF, elsewhere, or relative to the list."""
    path = re.sub(f"^https?://{re.escape(CVDF.partition('://')[2])}/", "", address)
    if path == address and "://" in address:
        if not address.startswith(("http://", "https://")):
            raise ValueError(f"{address!r} is neither http:// nor https://")
        return _quoted(address)
    if isinstance(mirror.base, str):
        return mirror.at(path) if path != address else urljoin(str(mirror.at(list_path)), _quoted(path))
    file = mirror.base / path if path != address else mirror.base / Path(list_path).parent / path
    if ".." in file.parts or not file.is_relative_to(mirror.base):
        raise ValueError(f"{address!r} lies outside {mirror.base}")
    return file


def _quoted(address: str) -> str:
    """Quote a URL. The archives of Kinetics-600 are named after classes, with spaces."""
    return quote(address, safe="/:%?&=+~!$,;'@()*#[]")
