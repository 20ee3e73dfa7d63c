"""What a search for videos passes over: files without a video suffix, and folders in which no video is."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from data_prep.manifests.inspection_columns import DUPLICATES_FILE
from data_prep.manifests.video_files import FolderContents
from data_prep.write_annotations.split_folders import split_of_name
from videoctx.data.annotations import CLASS_FILE
from videoctx.first_few import first_few

WRITTEN_FILES = ("manifest.csv", CLASS_FILE, DUPLICATES_FILE, "missing.csv")  # by these commands, in the root
MOST_SUFFIXES = 6


def counted_files(others: Sequence[Path]) -> list[str]:
    """Return a message that counts the files without a video suffix; none if there are no such files.

    >>> counted_files([Path("run/a.txt"), Path("run/b.txt"), Path("run/c")])
    ["3 files without a video suffix are passed over: 2 .txt ('run/a.txt', …), 1 without suffix ('run/c')"]
    """
    files = [path for path in others if path.as_posix() not in WRITTEN_FILES]
    if not files:
        return []
    first: dict[str, Path] = {}
    for path in files:
        first.setdefault(path.suffix.lower(), path)
    counts = Counter(path.suffix.lower() for path in files).most_common()
    texts = [
        f"{count} {suffix or 'without suffix'} ({str(first[suffix])!r}{', …' if count > 1 else ''})"
        for suffix, count in counts
    ]
    return [f"{len(files)} files without a video suffix are passed over: {first_few(texts, MOST_SUFFIXES)}"]


def folders_without_video(contents: FolderContents, *, in_splits: bool) -> list[str]:
    """Return a message about each class folder in which no video is, with the kinds of its files.

    Args:
        in_splits: Class folders are in split folders.
    """
    with_video = {parent for path in contents.videos for parent in path.parents}
    kinds: dict[Path, Counter[str]] = {}
    for path in contents.others:
        for parent in path.parents:
            kinds.setdefault(parent, Counter()).update([path.suffix.lower()])
    lacking = [
        folder
        for folder in contents.folders
        if folder not in with_video and len(folder.parts) <= _class_depth(folder, in_splits=in_splits)
    ]
    return [f"{str(folder)!r}: {_kinds(kinds.get(folder, Counter()).most_common())}" for folder in lacking]


def _class_depth(folder: Path, *, in_splits: bool) -> int:
    return 2 if in_splits and split_of_name(folder.parts[0]) else 1


def _kinds(counts: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{count} {suffix or 'without suffix'}" for suffix, count in counts) or "no files"
