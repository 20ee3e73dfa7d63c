"""Folders that are named after splits: `train/CLASS/…` or `CLASS/train/…`.

The usual names are understood in any case: `train` and `training`, `val`, `valid` and `validation`, `test` and
`testing`, also as `train_set`, `training-data`, `val2017`. A class may have such a name too, as `train` beside `car`
and `bus`. Where both could be meant, the folders are refused.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from videoctx.data.annotations import AnnotationError
from videoctx.data.class_names import nfc

SPLIT_OF_NAME = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
SPLIT_NAME = re.compile(rf"({'|'.join(SPLIT_OF_NAME)})[\s_-]*(set|split|data|videos|clips|\d{{4}})?")


@dataclass(frozen=True, slots=True)
class SplitFolders:
    """Where the split folders are."""

    level: int | None  # 0: ROOT/train/CLASS; 1: ROOT/CLASS/train; None: there are none
    decisions: list[str] = field(default_factory=list)  # messages


def split_of_name(name: str) -> str | None:
    """Return the split that a folder of this name usually holds.

    >>> split_of_name("Validation"), split_of_name("train_set"), split_of_name("walk")
    ('val', 'train', None)
    """
    match = SPLIT_NAME.fullmatch(nfc(name).strip().casefold())
    return SPLIT_OF_NAME[match[1]] if match else None


def find_split_folders(root: Path, videos: Sequence[Path]) -> SplitFolders:
    """Return where the split folders of these videos are.

    Args:
        videos: relative to the root.

    Raises:
        AnnotationError: Folders could be splits or classes, or two of them name one split.
    """
    inside = [path for path in videos if len(path.parts) > 1]
    top = sorted({path.parts[0] for path in inside})
    named = [name for name in top if split_of_name(name)]
    classes = [name for name in top if not split_of_name(name)]
    have_folders = any(len(path.parts) > 2 for path in inside if path.parts[0] in named)
    if named and not classes:
        if not have_folders:
            raise AnnotationError(
                f"{root}: {_folders(named)} is named after a split and has no class folders; expected"
                f" {named[0]}/CLASS/video.mp4, or CLASS/video.mp4"
            )
        return _at_the_top(root, named)
    if named and (have_folders or len({split_of_name(name) for name in named}) > 1):
        raise AnnotationError(
            f"{root}: {_folders(named)} looks like a split, and {_folders(classes)} beside it like a class; expected"
            " only split folders or only class folders, or the pattern command with a group (?P<split>...)"
        )
    decisions = [f"{name}/ is a class, as the folders beside it are" for name in named]
    within = [path for path in inside if len(path.parts) > 2 and split_of_name(path.parts[1])]
    found = sorted({path.parts[1] for path in within})
    if len({split_of_name(name) for name in found}) < 2:
        return SplitFolders(None, decisions)
    if len(top) == 1 and any(len(path.parts) > 3 for path in within):
        raise AnnotationError(f"{root}: its only folder {top[0]!r} has split folders; expected {root / top[0]} as ROOT")
    if len(within) < len(inside):
        other = next(path for path in inside if path not in set(within))
        raise AnnotationError(
            f"{root}: {str(within[0])!r} is in a split folder of its class, and {str(other)!r} is not; expected all"
            " videos in split folders, or none"
        )
    return SplitFolders(1, [*decisions, f"in the class folders, {_meanings(found)}; nothing is split at random"])


def _at_the_top(root: Path, named: Sequence[str]) -> SplitFolders:
    for split in SPLIT_OF_NAME.values():
        doubled = [name for name in named if split_of_name(name) == split]
        if len(doubled) > 1:
            raise AnnotationError(f"{root}: {_folders(doubled)} both name the split {split}; expected one folder of it")
    return SplitFolders(0, [f"{_meanings(named)}; classes are the folders in them, and nothing is split at random"])


def _folders(names: Sequence[str]) -> str:
    return " and ".join(repr(name) for name in names[:3]) + (" and others" if len(names) > 3 else "")


def _meanings(names: Sequence[str]) -> str:
    return ", ".join(f"{name}/ is the split {split_of_name(name)}" for name in names)
