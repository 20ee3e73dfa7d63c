"""The table of clip grids: which frames make the clips of a video, in training and in test.

`data.clips.sampling` sets what a clip is: `dense` (T frames, `frame_interval` apart), `segments` (one frame of each of
T equal parts of the video) or `uniform` (T evenly spaced frames of the whole video). `data.clips.grid` names whose
formula chooses its frames: this package's own, or another project's. The formulas are listed in
`videoctx.data.sampling.dense_grids` and `videoctx.data.sampling.segment_grids`.
"""

from dataclasses import dataclass
from typing import Literal

from videoctx.data.sampling import dense_grids as dense
from videoctx.data.sampling import segment_grids as whole
from videoctx.data.sampling.clip_samplers import ClipGrid, RandomGrid, random_clips, uniform_clips

Sampling = Literal["dense", "segments", "uniform"]
GridName = Literal[
    "videoctx",
    "nonlocal",
    "pyslowfast",
    "mmaction2",
    "mmaction2_dense",
    "mmaction2_uniform",
    "mmaction2_frames",
    "pytorchvideo",
    "torchvision",
    "tsm",
]
# Where clip i of n starts, from 0 to 1, in the video or in each of its parts (`videoctx.evaluation.view_subset`)
ClipPlacement = Literal[
    "from_start", "ends_or_middle", "ends_or_start", "part_centers", "part_inner", "part_middle_then_start"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """The formulas of one project.

    Args:
        test: Returns the frames of a video's clips in test.
        train: Samples the frames of a video's clips in training.
        placement: Where the clips of a test start. None: at random.
        target_fps: Frames per second at which the project counts frames. None: frames of the video.
        max_clips: Number of different clips in a test. None: any number.
        has_range: Whether clips are placed by a range of frames, which may be longer than they are (`sample_range`).
    """

    test: ClipGrid
    train: RandomGrid
    placement: ClipPlacement | None
    target_fps: float | None = None
    max_clips: int | None = None
    has_range: bool = False


DENSE_RANGE = Grid(
    test=dense.dense_range_clips, train=dense.random_dense_range_clips, placement="ends_or_start", has_range=True
)
DENSE: dict[GridName, Grid] = {
    "videoctx": Grid(test=uniform_clips, train=random_clips, placement="ends_or_middle"),
    "nonlocal": Grid(test=dense.nonlocal_clips, train=dense.wrapped_random_clips, placement="from_start"),
    "pyslowfast": Grid(
        test=dense.pyslowfast_clips,
        train=dense.pyslowfast_random_clips,
        placement="from_start",
        target_fps=dense.FPS,
    ),
    "mmaction2": Grid(test=dense.mmaction2_clips, train=dense.wrapped_random_clips, placement="ends_or_middle"),
    "mmaction2_dense": DENSE_RANGE,
    "pytorchvideo": Grid(
        test=dense.pytorchvideo_clips,
        train=dense.pytorchvideo_random_clips,
        placement="from_start",
        target_fps=dense.FPS,
    ),
    "torchvision": Grid(
        test=dense.torchvision_clips,
        train=dense.torchvision_random_clips,
        placement="ends_or_start",
        target_fps=dense.FPS,
    ),
    "tsm": DENSE_RANGE,
}
SEGMENTS: dict[GridName, Grid] = {
    "videoctx": Grid(test=whole.segment_clips, train=whole.random_segment_clips, placement="part_centers"),
    "tsm": Grid(test=whole.tsm_clips, train=whole.tsm_random_clips, placement="part_middle_then_start", max_clips=2),
    "mmaction2": Grid(
        test=whole.tsm_clips, train=whole.mmaction2_random_segments, placement="part_middle_then_start", max_clips=2
    ),
    "mmaction2_uniform": Grid(
        test=whole.mmaction2_uniform_segments, train=whole.pyslowfast_random_segments, placement="part_inner"
    ),
    "mmaction2_frames": Grid(
        test=whole.mmaction2_frames_segments, train=whole.mmaction2_frames_random_segments, placement=None
    ),
    "pyslowfast": Grid(
        test=whole.pyslowfast_segments,
        train=whole.pyslowfast_random_segments,
        placement="ends_or_middle",
        max_clips=1,
    ),
    "pytorchvideo": Grid(
        test=whole.pyslowfast_segments,
        train=whole.pyslowfast_random_segments,
        placement="ends_or_middle",
        max_clips=1,
    ),
}
UNIFORM: dict[GridName, Grid] = {
    "videoctx": Grid(
        test=whole.evenly_spaced_clips,
        train=whole.evenly_spaced_random_clips,
        placement="ends_or_middle",
        max_clips=1,
    ),
    "pytorchvideo": Grid(
        test=whole.pytorchvideo_spaced_clips,
        train=whole.pytorchvideo_spaced_random_clips,
        placement="ends_or_middle",
        max_clips=1,
    ),
}
GRIDS: dict[Sampling, dict[GridName, Grid]] = {"dense": DENSE, "segments": SEGMENTS, "uniform": UNIFORM}


def find_grid(
    sampling: Sampling, name: GridName, *, target_fps: float | None = None, sample_range: int | None = None
) -> Grid:
    """Return the formulas of a project for a kind of clips.

    Raises:
        ValueError: The project has none; or frames are to be counted by time in clips that cover the whole video; or
            clips are to lie in a range, which the formulas do not have.

    >>> find_grid("segments", "tsm").max_clips
    2
    """
    if sampling not in GRIDS:
        raise ValueError(f"clips.sampling is {sampling!r}; expected one of {', '.join(GRIDS)}")
    grids = GRIDS[sampling]
    if name not in grids:
        raise ValueError(
            f"clips.grid {name} has no formula for clips.sampling {sampling}; expected clips.grid {' or '.join(grids)}"
        )
    if target_fps is not None and sampling != "dense":
        raise ValueError(
            f"clips.target_fps is {target_fps:g} with clips.sampling {sampling}, whose frames are spread over the whole"
            " video; expected None, or clips.sampling dense"
        )
    if sample_range is not None and not grids[name].has_range:
        kept = [known for known, grid in DENSE.items() if grid.has_range]
        raise ValueError(
            f"clips.sample_range is {sample_range} with clips.sampling {sampling} and clips.grid {name}; expected None,"
            f" or clips.sampling dense and clips.grid {' or '.join(kept)}"
        )
    return grids[name]
