"""The choice of the stored views for a test with fewer views."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.each_case import each_case
from tests.evaluation.synthetic_scores import random_run, synthetic_scores
from videoctx.data.sampling.clip_samplers import ClipShape
from videoctx.data.sampling.grids import DENSE, SEGMENTS
from videoctx.evaluation.view_subset import SINGLE_CLIP, Views, choose_views, clip_starts, nearest_clips


@each_case(
    ("clip_placement", "stored", "wanted", "clips", "exact"),
    [
        ("from_start", 10, 5, [0, 2, 4, 6, 8], True),
        ("from_start", 10, 2, [0, 5], True),
        ("from_start", 10, 1, [0], True),
        ("from_start", 10, 4, [0, 2, 5, 7], False),  # 2.5 and 7.5: the earlier
        ("from_start", 10, 3, [0, 3, 7], False),
        ("ends_or_middle", 10, 4, [0, 3, 6, 9], True),
        ("ends_or_middle", 10, 2, [0, 9], True),
        ("ends_or_middle", 10, 1, [4], False),
        ("ends_or_middle", 11, 1, [5], True),
        ("ends_or_middle", 10, 5, [0, 2, 4, 7, 9], False),  # 0, 2.25, 4.5, 6.75, 9
        ("ends_or_start", 10, 1, [0], True),
        ("ends_or_start", 5, 3, [0, 2, 4], True),
    ],
)
def test_nearest_clips_by_hand(clip_placement, stored, wanted, clips, exact):
    assert nearest_clips(clip_placement, stored=stored, wanted=wanted) == (clips, exact)


@given(st.sampled_from(sorted(SINGLE_CLIP)), st.integers(1, 30), st.data())
def test_nearest_clips_are_distinct_and_in_order(clip_placement, stored, data):
    stored = min(stored, 2) if clip_placement == "part_middle_then_start" else stored
    clips, _ = nearest_clips(clip_placement, stored=stored, wanted=data.draw(st.integers(1, stored)))
    assert clips == sorted(set(clips))


@each_case("name", DENSE)
@each_case(("stored", "wanted"), [(10, 1), (10, 2), (10, 4), (10, 5), (9, 3), (9, 5), (11, 1)])
def test_exact_clips_equal_a_test_with_fewer_clips(name, stored, wanted):
    grid = DENSE[name]
    clips, exact = nearest_clips(grid.placement, stored=stored, wanted=wanted)
    shape = ClipShape(clip_len=4, frame_interval=2)
    lengths = range(60, 400, 7)
    equal = []
    for num_frames in lengths:
        many, few = (grid.test(num_frames, 30.0, shape, count) for count in (stored, wanted))
        equal.append(np.abs(many[clips] - few).max() <= (name != "videoctx"))  # floating point may round the other way
    assert all(equal) if exact else not any(equal[10:])


@each_case(
    ("name", "stored", "wanted", "exact"),
    [
        ("videoctx", 9, 3, True),
        ("videoctx", 10, 5, False),
        ("videoctx", 11, 1, True),
        ("mmaction2_uniform", 7, 3, True),
        ("mmaction2_uniform", 6, 3, False),
        ("tsm", 2, 1, True),
        ("mmaction2", 2, 1, True),
    ],
)
def test_exact_clips_of_segments_equal_a_test_with_fewer_clips(name, stored, wanted, exact):
    grid = SEGMENTS[name]
    clips, found = nearest_clips(grid.placement, stored=stored, wanted=wanted)
    assert found == exact
    shape = ClipShape(clip_len=4, frame_interval=2)
    for num_frames in range(600, 900, 7):
        many, few = (grid.test(num_frames, 30.0, shape, count) for count in (stored, wanted))
        assert (np.abs(many[clips] - few).max() <= 1) == exact


def test_start_of_a_single_clip():
    assert [
        float(clip_starts(clip_placement, 1)[0]) for clip_placement in ("from_start", "ends_or_middle", "ends_or_start")
    ] == [0, 0.5, 0]


@pytest.fixture
def stored(tmp_path):
    return synthetic_scores(tmp_path, *random_run(0, num_videos=3, views=(4, 3)))


@each_case(
    ("views", "clips", "crops"),
    [("4x3", [0, 1, 2, 3], [0, 1, 2]), ("4x1", [0, 1, 2, 3], [1]), ("2x3", [0, 2], [0, 1, 2]), ("1x1", [0], [1])],
)
def test_views_of_a_subset(stored, views, clips, crops):
    subset = choose_views(stored, Views.parse(views))
    assert (subset.clips, subset.exact) == (clips, True)
    kept = subset.scores
    assert kept.video.tolist() == np.repeat([0, 1, 2], len(clips) * len(crops)).tolist()
    assert kept.clip.tolist() == np.repeat(clips, len(crops)).tolist() * 3
    assert kept.crop.tolist() == crops * len(clips) * 3
    assert kept.shape == (len(clips), len(crops))
    assert kept.views_expected.tolist() == [len(clips) * len(crops)] * 3
    wanted = stored.scores.reshape(3, 4, 3, 7)[:, clips][:, :, crops].reshape(-1, 7)
    assert (kept.scores == wanted).all()


@each_case("views", ["5x3", "4x2", "4x5", "12x1"])
def test_views_that_were_not_tested_are_refused(stored, views):
    with pytest.raises(ValueError, match=f"{views} are not among those tested, 4x3; expected 1 to 4 clips and 1 or 3"):
        choose_views(stored, Views.parse(views))


def test_middle_of_two_crops_is_refused(tmp_path):
    stored = synthetic_scores(tmp_path, *random_run(0, num_videos=2, views=(2, 2)))
    with pytest.raises(ValueError, match="of 2 crops none is in the middle; expected 1 to 2 clips and 2 crops"):
        choose_views(stored, Views(2, 1))


def test_fewer_clips_without_placement_are_refused(tmp_path):
    stored = synthetic_scores(tmp_path, *random_run(0, num_videos=2, views=(4, 3)), clip_placement=None)
    assert choose_views(stored, Views(4, 1)).exact
    with pytest.raises(ValueError, match="it is not known where the clips start"):
        choose_views(stored, Views(2, 3))


@each_case("text", ["10", "10x", "x3", "0x1", "3x0", "-1x3", "10x3x1", "ten"])
def test_views_in_another_form_are_refused(text):
    with pytest.raises(ValueError, match="expected clips x crops, such as 10x3"):
        Views.parse(text)
