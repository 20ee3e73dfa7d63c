"""Write a small synthetic dataset of real H.264 videos, to try everything before your own dataset is ready.

    python -m data_prep.make_toy_dataset datasets/toy --seed 1

Two bright shapes move over a dark textured background that shakes, one in the left part of the frame and one in the
right part. The eight classes are combinations of their directions:

| class        | left shape | right shape | | class           | left shape | right shape |
|--------------|------------|-------------|-|-----------------|------------|-------------|
| `both_left`  | ←          | ←           | | `apart`         | ←          | →           |
| `both_right` | →          | →           | | `together`      | →          | ←           |
| `both_up`    | ↑          | ↑           | | `clockwise`     | ↑          | ↓           |
| `both_down`  | ↓          | ↓           | | `anticlockwise` | ↓          | ↑           |

**No single frame reveals the class.** Each shape moves on a torus, its window: what leaves at one edge returns at the
opposite one. A scene (shapes, positions, colors, texture, shake) is sampled before the class is known, as it is at a
random pivot frame; the class only moves it backward and forward from there. So every frame has the same distribution in
all classes, and clips of one scene and different classes share their pivot frame to the last pixel until they are
encoded.

**No single place reveals it either.** The heading of one shape leaves two classes, so a classifier that sees one side
has at most 50% accuracy. Only its place distinguishes the left shape from the right one, so a bag of local motions can
distinguish neither `apart` from `together` nor one turn from the other: at most 75%. The rest requires the relation
between distant places.

A mirror turns `both_left` into `both_right`, so **train without horizontal flips**. Both windows lie within the middle
three quarters of the central square, so a crop of seven eighths of the side of a square frame (70 of the default 80
pixels, 64 of 72) contains them wherever it lies.

Exit status: 0; 2 if an option or the output cannot be used; 130 if interrupted.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from data_prep.command_line.run_command import leave, run_command

if TYPE_CHECKING:
    import numpy as np


def make_toy_dataset(
    output_dir: Path,
    *,
    train_per_class: int = 40,
    val_per_class: int = 8,
    test_per_class: int = 15,
    num_frames: int = 32,
    width: int = 80,
    height: int = 80,
    fps: int = 30,
    seed: int = 0,
    num_workers: int = 4,
) -> Path:
    """Write the toy dataset: eight classes of moving shapes that no single frame can distinguish.

    The same arguments give the same bytes. The manifest is written last, so a dataset that has one is complete.

    Args:
        output_dir: Folder for videos/, manifest.csv and classes.txt; created if missing.
        train_per_class: Number of training videos per class.
        val_per_class: Number of validation videos per class.
        test_per_class: Number of test videos per class.
        num_frames: Frames per video.
        width: Pixels across, even. decord 0.6 cannot read 48 and 72: it counts four channels there.
        height: Pixels down, even.
        fps: Frames per second.
        seed: Seed of the scenes.
        num_workers: Number of threads that render and encode.

    Returns:
        The path of the manifest.

    Raises:
        SettingError: a count, size or seed out of its bounds.
    """
    from data_prep.command_line.setting_error import SettingError, check_at_least
    from data_prep.make_toy_dataset.moving_shapes import ToyClip, random_scene, render
    from data_prep.synthetic.clips import clips_of_dataset
    from data_prep.synthetic.encoded_dataset import MIN_SIDE_PX, write_dataset

    check_at_least(1, train_per_class=train_per_class, val_per_class=val_per_class, test_per_class=test_per_class)
    check_at_least(2, num_frames=num_frames)
    check_at_least(MIN_SIDE_PX, width=width, height=height)
    check_at_least(1, fps=fps, num_workers=num_workers)
    check_at_least(0, seed=seed)
    for name, value in (("width", width), ("height", height)):
        if value % 2:
            raise SettingError(f"--{name} is {value}; expected an even number, because yuv420p halves the color planes")

    def frames(clip: ToyClip) -> "np.ndarray":
        scene = random_scene(clip.generator(seed), num_frames=num_frames, width=width, height=height)
        return render(scene, clip.label)

    clips = list(
        clips_of_dataset(
            ToyClip, train_per_class=train_per_class, val_per_class=val_per_class, test_per_class=test_per_class
        )
    )
    return write_dataset(Path(output_dir), clips, frames, fps=fps, num_workers=num_workers)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run_command(
        "make_toy_dataset",
        make_toy_dataset,
        arguments,
        example="datasets/toy --seed 1",
        when_interrupted="there is no manifest, run it again",
    )


if __name__ == "__main__":
    leave(main())
