"""Find the rows of a manifest that show the same video: one file, equal files, or files that look alike.

Such rows form a group. A group with rows of two splits is a leak: the network would be tested on videos that it was
trained on. Rows of one file in one split are segments of it, and are duplicates only if they name the same segment.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from data_prep.inspect_videos import near_duplicates
from data_prep.inspect_videos.frame_hashes import NUM_FRAMES, from_text
from data_prep.manifests.csv_output import write_csv

COLUMNS = (
    *("group", "leak", "how", "different_bits", "line", "split", "label", "path", "start_seconds", "end_seconds"),
)
SAME_FILE, SAME_BYTES, LOOK_ALIKE = "same file", "same bytes", "look alike"


@dataclass(frozen=True)
class Member:
    """A row of the manifest in a group."""

    line: int  # of the manifest
    source: str
    row: Mapping[str, str]
    different_bits: float  # from the group's first row, 0 to 63, averaged over frames; 0 if unknown


@dataclass(frozen=True)
class Group:
    """Rows that show the same video."""

    how: str  # the weakest relation that connects them
    members: tuple[Member, ...]  # in file order

    @cached_property
    def splits(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(member.row["split"] for member in self.members))

    @property
    def is_leak(self) -> bool:
        return len(self.splits) > 1

    @property
    def has_several_labels(self) -> bool:
        return len({member.row["label"] for member in self.members}) > 1


def find_duplicates(
    rows: Sequence[Mapping[str, str]], lines: Sequence[int], sources: Sequence[str]
) -> tuple[list[Group], int]:
    """Find all groups of duplicates.

    Args:
        rows: with the inspection columns.
        lines: of the manifest, for each row.
        sources: the file of each row.

    Returns:
        The groups, leaks first, and how many files show too little to be compared.
    """
    row_of = dict(zip(reversed(sources), reversed(rows), strict=True))  # the first row of each file
    files = list(dict.fromkeys(sources))
    equal = _groups_of_equal([row_of[file].get("content_hash", "") for file in files])
    hashes = [np.array(from_text(row_of[file].get("frame_hashes", "")), np.uint64) for file in files]
    alike, num_flat = _connect_similar(equal, hashes)

    rows_of_file = defaultdict(list)
    for number, source in enumerate(sources):
        rows_of_file[source].append(number)
    groups = []
    for indices in _members(alike):
        numbers = sorted(number for index in indices for number in rows_of_file[files[index]])
        if len(indices) == 1 and not _is_repeated([rows[number] for number in numbers]):
            continue
        hashes_of = {files[index]: hashes[index] for index in indices}
        first = hashes_of[sources[numbers[0]]]
        members = (
            Member(lines[number], sources[number], rows[number], _different_bits(first, hashes_of[sources[number]]))
            for number in numbers
        )
        groups.append(Group(_how(indices, equal), tuple(members)))
    groups.sort(key=lambda group: (not group.is_leak, group.members[0].line))
    return groups, num_flat


def write_duplicates(path: Path, groups: Sequence[Group]) -> None:
    """Write one row per member; only the header if there are no groups."""
    rows = [
        {column: member.row.get(column, "") for column in COLUMNS}
        | {
            "group": str(number),
            "leak": "yes" if group.is_leak else "",
            "how": group.how,
            "different_bits": f"{member.different_bits:.1f}",
            "line": str(member.line),
        }
        for number, group in enumerate(groups, 1)
        for member in group.members
    ]
    write_csv(path, rows, COLUMNS)


def _groups_of_equal(content_hashes: Sequence[str]) -> np.ndarray:
    """Return for each file the index of the first file with the same bytes; unknown files are alone."""
    first: dict[str, int] = {}
    return np.array([first.setdefault(one, index) if one else index for index, one in enumerate(content_hashes)], int)


def _connect_similar(equal: np.ndarray, hashes: Sequence[np.ndarray]) -> tuple[np.ndarray, int]:
    """Merge the groups of files that look alike; return the groups and how many files cannot be compared."""
    hashed = np.array([index for index, one in enumerate(hashes) if len(one)], int)
    table = np.array([hashes[index] for index in hashed], np.uint64).reshape(-1, NUM_FRAMES)
    is_comparable = near_duplicates.comparable(table)
    hashed, table = hashed[is_comparable], table[is_comparable]
    num_flat = int((~is_comparable).sum())
    if not len(hashed):
        return equal, num_flat
    return near_duplicates.connect(equal, hashed, hashed[near_duplicates.groups_of_alike(table)]), num_flat


def _members(group_of: np.ndarray) -> Iterator[list[int]]:
    """Yield the members of each group."""
    members = defaultdict(list)
    for index, group in enumerate(group_of.tolist()):
        members[group].append(index)
    yield from members.values()


def _how(files: Sequence[int], equal: np.ndarray) -> str:
    if len(files) == 1:
        return SAME_FILE
    return SAME_BYTES if len({int(equal[index]) for index in files}) == 1 else LOOK_ALIKE


def _is_repeated(rows: Sequence[Mapping[str, str]]) -> bool:
    """Return whether the rows of one file are of several splits, or two are of one segment and class."""
    segments = {tuple(row.get(column, "") for column in ("start_seconds", "end_seconds", "label")) for row in rows}
    return len({row["split"] for row in rows}) > 1 or len(segments) < len(rows)


def _different_bits(one: np.ndarray, other: np.ndarray) -> float:
    return near_duplicates.mean_bits(one, other) if len(one) == len(other) > 0 else 0.0
