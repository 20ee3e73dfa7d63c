"""Rows of a manifest that show the same video: one file, equal files, or files that look alike.

They are told as groups. A group with rows of two splits is a leak: what is tested on has been trained on. Rows of one
file in one split are its stretches, and no duplicates, unless they name the same stretch.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from data_prep.inspect_videos import near_duplicates
from data_prep.inspect_videos.frame_hashes import NUM_FRAMES, from_text
from data_prep.manifests.manifest_rows import write_csv

DUPLICATES_FILE = "duplicates.csv"  # beside the manifest
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
    different_bits: float  # from the group's first, of 63, on average; 0 where that is not known


@dataclass(frozen=True)
class Group:
    how: str  # the weakest of what holds it together
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
    """
    Args:
        rows: with the columns of `data_prep.inspect_videos.inspection`.
        lines: of the manifest, for each row.
        sources: the files, for each row.

    Returns:
        The groups, leaks first, and how many files show too little for their looks to be compared.
    """
    row_of = dict(zip(reversed(sources), reversed(rows), strict=True))  # the first of each file
    distinct = list(dict.fromkeys(sources))
    equal = _groups_of_equal([row_of[source].get("content_hash", "") for source in distinct])
    hashes = [from_text(row_of[source].get("frame_hashes", "")) for source in distinct]
    seen = np.array([index for index, hashed in enumerate(hashes) if hashed], int)
    table = np.array([hashes[index] for index in seen], np.uint64).reshape(-1, NUM_FRAMES)
    says_enough = near_duplicates.comparable(table)
    seen, table = seen[says_enough], table[says_enough]
    alike = equal
    if len(seen):
        alike = near_duplicates.connect(equal, seen, seen[near_duplicates.groups_of_alike(table)])

    rows_of_file = defaultdict(list)
    for number, source in enumerate(sources):
        rows_of_file[source].append(number)
    files_of_group = defaultdict(list)
    for index, group in enumerate(alike.tolist()):
        files_of_group[group].append(index)
    groups = []
    for of_group in files_of_group.values():
        numbers = sorted(number for index in of_group for number in rows_of_file[distinct[index]])
        if len(of_group) == 1 and not _is_repeated([rows[number] for number in numbers]):
            continue
        how = (
            SAME_FILE
            if len(of_group) == 1
            else SAME_BYTES
            if len({int(equal[index]) for index in of_group}) == 1
            else LOOK_ALIKE
        )
        hashes_of = {distinct[index]: np.array(hashes[index], np.uint64) for index in of_group}
        first = hashes_of[sources[numbers[0]]]
        members = (
            Member(lines[number], sources[number], rows[number], _different_bits(first, hashes_of[sources[number]]))
            for number in numbers
        )
        groups.append(Group(how, tuple(members)))
    groups.sort(key=lambda group: (not group.is_leak, group.members[0].line))
    return groups, int((~says_enough).sum())


def write_duplicates(path: Path, groups: Sequence[Group]) -> None:
    """A row for each member; only the header where there is none."""
    write_csv(
        path,
        [
            {column: member.row.get(column, "") for column in COLUMNS}
            | {
                "group": number,
                "leak": "yes" if group.is_leak else "",
                "how": group.how,
                "different_bits": f"{member.different_bits:.1f}",
                "line": member.line,
            }
            for number, group in enumerate(groups, 1)
            for member in group.members
        ],
        COLUMNS,
    )


def _groups_of_equal(content_hashes: Sequence[str]) -> np.ndarray:
    """For each file the first that has the same bytes; those of which nothing is known are alone."""
    first: dict[str, int] = {}
    return np.array([first.setdefault(one, index) if one else index for index, one in enumerate(content_hashes)], int)


def _is_repeated(rows: Sequence[Mapping[str, str]]) -> bool:
    """Whether rows of one file are of several splits, or two are of one stretch and class."""
    stretches = {tuple(row.get(column, "") for column in ("start_seconds", "end_seconds", "label")) for row in rows}
    return len({row["split"] for row in rows}) > 1 or len(stretches) < len(rows)


def _different_bits(one: np.ndarray, other: np.ndarray) -> float:
    return near_duplicates.mean_bits(one, other) if len(one) == len(other) > 0 else 0.0
