"""Write a synthetic dataset of real H.264 videos whose class is only a relation between distant times.

    python -m data_prep.make_relations_dataset datasets/relations --seed 1

Four shapes appear one after the other, each for a quarter of the video and in its own quarter of the frame. Two of them
are red and two are blue. The class determines which have the same color:

| class       | one pair                    | the other pair             |
|-------------|-----------------------------|----------------------------|
| `rows`      | top left, top right         | bottom left, bottom right  |
| `columns`   | top left, bottom left       | top right, bottom right    |
| `diagonals` | top left, bottom right      | top right, bottom left     |

**No single time and no single place reveals the class.** A frame shows one shape, and its place, its color and its time
have the same distribution in all classes. In every split, each place has each color equally often in every class,
exactly. Two places reveal only whether their pair is the class.

**Average pooling is not enough.** A network whose features see one frame (C2D), and which averages them before a linear
classifier, scores a class by a sum over the four shapes. Add to it the sum for the same clip with red and blue swapped:
the total contains each shape once in red and once in blue, whatever the arrangement was. So at most one class can be
classified correctly both before and after the swap, and the other two in one of both: **two thirds at most**, with a
chance level of one third. The rest requires a product of what is seen at two times.

The splits share neither backgrounds (spatial frequencies), nor outlines (numbers of corners), nor seeds. They have to
share the colors. A mirror does not change the class.

Exit status: 0; 2 if an option or the output cannot be used; 130 if interrupted.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from data_prep.command_line.run_command import leave, run_command

if TYPE_CHECKING:
    import numpy as np


def make_relations_dataset(
    output_dir: Path,
    *,
    train_per_class: int = 200,
    val_per_class: int = 20,
    test_per_class: int = 100,
    num_frames: int = 16,
    side: int = 80,
    fps: int = 30,
    seed: int = 0,
    num_workers: int = 4,
) -> Path:
    """Write the relations dataset: which two of four shapes, seen one after the other, have the same color.

    The same arguments give the same bytes. The manifest is written last, so a dataset that has one is complete.

    Args:
        output_dir: Folder for videos/, manifest.csv and classes.txt; created if missing.
        train_per_class: Number of training videos per class, even.
        val_per_class: Number of validation videos per class, even.
        test_per_class: Number of test videos per class, even.
        num_frames: Frames per video, a multiple of 4.
        side: Pixels across and down, even. decord 0.6 reads from 80 on.
        fps: Frames per second.
        seed: Seed of the scenes.
        num_workers: Number of threads that render and encode.

    Returns:
        The path of the manifest.

    Raises:
        SettingError: a count, size or seed out of its bounds.
    """
    from data_prep.command_line.setting_error import SettingError, check_at_least
    from data_prep.make_relations_dataset.color_relations import (
        LOOKS,
        NUM_PLACES,
        RelationClip,
        random_scene,
        render,
    )
    from data_prep.synthetic.clips import clips_of_dataset
    from data_prep.synthetic.encoded_dataset import MIN_SIDE_PX, write_dataset

    for name, value, least, multiple in (
        ("train_per_class", train_per_class, 2, 2),
        ("val_per_class", val_per_class, 2, 2),
        ("test_per_class", test_per_class, 2, 2),
        ("num_frames", num_frames, NUM_PLACES, NUM_PLACES),
        ("side", side, MIN_SIDE_PX, 2),
    ):
        if value < least or value % multiple:
            raise SettingError(f"--{name} is {value}; expected at least {least} and a multiple of {multiple}")
    check_at_least(1, fps=fps, num_workers=num_workers)
    check_at_least(0, seed=seed)

    def frames(clip: RelationClip) -> "np.ndarray":
        scene = random_scene(clip.generator(seed), LOOKS[clip.split], num_frames=num_frames, side=side)
        return render(scene, clip.colors)

    clips = list(
        clips_of_dataset(
            RelationClip, train_per_class=train_per_class, val_per_class=val_per_class, test_per_class=test_per_class
        )
    )
    return write_dataset(Path(output_dir), clips, frames, fps=fps, num_workers=num_workers)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run_command(
        "make_relations_dataset",
        make_relations_dataset,
        arguments,
        example="datasets/relations --seed 1",
        when_interrupted="there is no manifest, run it again",
    )


if __name__ == "__main__":
    leave(main())
