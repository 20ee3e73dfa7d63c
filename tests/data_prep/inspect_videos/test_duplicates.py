"""Which videos of a manifest are found to be the same."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import numpy as np
import pytest

from data_prep.inspect_videos import frame_hashes, near_duplicates
from data_prep.inspect_videos.duplicates import find_duplicates
from data_prep.inspect_videos.inspection import inspect_file
from data_prep.make_toy_dataset.__main__ import make_toy_dataset
from tests.data_prep.inspect_videos.scenes import encode
from tests.numbered import write_video
from videoctx.data.storage.local_files import LocalFiles

SHARED = Path(__file__).parents[3].parent / "shared"


def inspect(path: Path) -> dict[str, str]:
    return inspect_file(str(path), files=LocalFiles())


def groups_of(paths, splits=None):
    """Groups of files by name; every file is one row of split `train`, or of those given."""
    rows = [
        inspect(path) | {"path": path.name, "label": "clap", "split": split}
        for path, split in zip(paths, splits or ["train"] * len(paths), strict=True)
    ]
    return find_duplicates(rows, list(range(2, len(rows) + 2)), [str(path) for path in paths])[0]


# --- duplicates -----------------------------------------------------------------------------------------------------


def test_re_encodings_are_found_and_other_scenes_are_not(videos):
    paths = list(videos.values())
    (group,) = groups_of(paths, ["train"] * (len(paths) - 1) + ["test"])
    assert {member.row["path"] for member in group.members} == {
        path.name for name, path in videos.items() if name not in ("scene1", "scene2", "scene3")
    }
    assert (group.how, group.is_leak, group.splits) == ("look alike", True, ("train", "test"))
    assert group.members[0].different_bits == 0
    assert all(member.different_bits <= near_duplicates.MAX_BITS for member in group.members)


def test_rotated_file_looks_like_the_upright_one(tmp_path):
    upright, turned = (
        write_video(tmp_path / f"{rotation}.mp4", num_frames=10, width=96, height=64, rotation=rotation).path
        for rotation in (0, 90)
    )
    assert inspect(turned)["width"] == "96"
    (group,) = groups_of([upright, turned])
    assert group.how == "look alike"


def test_videos_of_the_toy_dataset_are_distinguished(tmp_path):
    """Clips of one scene and different classes share a frame, and all of them their palette."""
    make_toy_dataset(tmp_path, train_per_class=2, val_per_class=1, test_per_class=1, num_frames=16, num_workers=1)
    assert groups_of(sorted(tmp_path.rglob("*.mp4"))) == []


def test_videos_that_show_nothing_are_not_compared(tmp_path):
    black, white = (
        encode(tmp_path / f"{level}.mp4", np.full((10, 96, 128), level) + noise)
        for level, noise in ((16, 0), (235, np.random.default_rng(0).integers(0, 2, (10, 96, 128))))
    )
    rows = [inspect(path) | {"path": path.name, "label": "", "split": "train"} for path in (black, white)]
    assert find_duplicates(rows, [2, 3], [str(black), str(white)]) == ([], 2)


def row(path, split, start="", label="clap", content_hash=""):
    return {"path": path, "label": label, "split": split, "start_seconds": start, "content_hash": content_hash}


def found_in(*rows):
    groups, _ = find_duplicates(rows, list(range(2, 2 + len(rows))), [row["path"] for row in rows])
    return [(group.how, group.is_leak, [member.line for member in group.members]) for group in groups]


def test_segments_of_one_file_in_two_splits_are_a_leak():
    assert found_in(row("a", "train", "1"), row("a", "train", "2")) == []
    assert found_in(row("a", "train", "1"), row("a", "test", "2")) == [("same file", True, [2, 3])]


def test_repeated_row_is_a_duplicate_and_two_classes_of_a_segment_are_not():
    assert found_in(row("a", "train"), row("a", "train")) == [("same file", False, [2, 3])]
    assert found_in(row("a", "train"), row("a", "train", label="wave")) == []


def test_leaks_come_first():
    rows = row("a", "train", content_hash="1"), row("b", "train", content_hash="1"), row("c", "train"), row("c", "val")
    assert found_in(*rows) == [("same file", True, [4, 5]), ("same bytes", False, [2, 3])]


def test_search_equals_a_loop_over_all_pairs(monkeypatch):
    """With blocks that are smaller than the number of videos; a reference in plain Python."""
    monkeypatch.setattr(near_duplicates, "BLOCK", 16)
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**63, (60, 8), dtype=np.uint64)
    for copy, original in ((50, 3), (51, 50), (52, 7), (53, 8)):
        flips = np.zeros(8, np.uint64)
        for _ in range(copy - 44):
            flips |= np.uint64(1) << rng.integers(0, 63, 8).astype(np.uint64)
        hashes[copy] = hashes[original] ^ flips
    hashes[54, :6], hashes[55, :5], hashes[56] = hashes[1, :6], hashes[2, :5], hashes[20]
    groups = list(range(60))
    for one in range(60):
        for other in range(one):
            pairs = zip(hashes[one].tolist(), hashes[other].tolist(), strict=True)
            if sum((a ^ b).bit_count() <= near_duplicates.MAX_BITS for a, b in pairs) >= near_duplicates.MIN_ALIKE:
                low, high = sorted((groups[one], groups[other]))
                groups = [low if group == high else group for group in groups]
    assert near_duplicates.groups_of_alike(hashes).tolist() == groups
    assert groups[50] == groups[51] == 3
    assert (groups[54], groups[55], groups[56]) == (1, 55, 20)


def test_no_line_is_run_per_pair_or_per_video():
    """Lines of Python are counted, which is the same on every machine."""
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**63, (4096, 8), dtype=np.uint64)
    hashes[500:1500] = hashes[0] ^ (np.uint64(1) << rng.integers(0, 63, (1000, 8)).astype(np.uint64))  # a dense group
    num_lines, num_pairs_of_blocks = 0, 8 * 9 // 2

    def count(_frame: FrameType, event: str, _argument: object) -> Callable:
        nonlocal num_lines
        num_lines += event == "line"
        assert num_lines < 100 * num_pairs_of_blocks  # ends a loop over 8 million pairs at once
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        groups = near_duplicates.groups_of_alike(hashes)
    finally:
        sys.settrace(before)
    assert near_duplicates.BLOCK == 512
    assert num_lines > num_pairs_of_blocks
    assert (groups[500:1500] == 0).all()
    assert len(np.unique(groups)) == 3096


def test_hashes_in_a_cell(videos):
    row = inspect(videos["scene0"])
    hashes = frame_hashes.from_text(row["frame_hashes"])
    assert len(hashes) == 8
    assert frame_hashes.to_text(hashes) == row["frame_hashes"]
    assert frame_hashes.from_text("") == frame_hashes.from_text("no hash") == ()


@pytest.mark.skipif(not (SHARED / "data/ut-interaction").exists(), reason="needs shared/data/ut-interaction")
def test_real_clips_with_one_background_are_distinguished():
    """One sequence: the same two people, one place, one after the other."""
    paths = sorted((SHARED / "data/ut-interaction/set1").glob("*_2_*.avi"))
    assert len(paths) == 6
    assert groups_of(paths) == []
