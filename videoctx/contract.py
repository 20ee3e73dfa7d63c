"""TaskData: what a task and its callbacks may ask of a data module.

`videoctx.data` satisfies it without importing `videoctx.tasks`, and the other way round. A data module of your own may
satisfy it too: a plain class with these attributes and methods is enough. Where it does not, a task still trains and
evaluates, and only what needs the data module is missing (`videoctx.tasks.task_data`).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

from videoctx.batch import ClipBatch

CardStage = Literal["train", "val", "test"]


class Stage(Protocol):
    """Consecutive epochs of multigrid training that share a clip length and a learning rate.

    Sizes and counts are per device.
    """

    @property
    def num_epochs(self) -> int:
        """How many epochs the stage lasts."""

    @property
    def clip_len(self) -> int:
        """Frames of a clip."""

    @property
    def cycle(self) -> Sequence[tuple[int, int]]:
        """(videos, crop side in pixels) of the batches of the short cycle, repeated throughout an epoch."""

    @property
    def batches(self) -> Sequence[tuple[int, int]]:
        """(videos, crop side in pixels) of every batch of an epoch."""

    @property
    def batch_factor(self) -> int:
        """The size of a batch of the long cycle, relative to a batch without multigrid."""

    @property
    def num_drops(self) -> int:
        """How many milestones of the learning rate come before the stage."""


@runtime_checkable
class TaskData(Protocol):
    """A data module whose batches are `videoctx.batch.ClipBatch`es, and which can describe them.

    `videoctx.data.datamodule.VideoDataModule` is one.
    """

    @property
    def class_names(self) -> list[str]:
        """K names, in the order of the class indices."""

    @property
    def multi_label(self) -> bool:
        """Whether a video may show several classes, or none; labels are then (V, K) bool."""

    @property
    def clips_per_device(self) -> int:
        """Clips in a training batch of one device, without multigrid."""

    @property
    def train_clip_size(self) -> tuple[int, int, int]:
        """(T, H, W) of a training clip, without multigrid."""

    @property
    def stages(self) -> Sequence[Stage]:
        """The stages of multigrid training, known after `setup("fit")`; empty without multigrid."""

    def preprocessing_dict(self) -> dict[str, Any]:
        """Return how test clips are made, as numbers, strings and lists that a checkpoint can hold."""

    def card(self, stage: CardStage) -> Mapping[str, Any]:
        """Return what a result should state about the videos of `stage`, whose loader must have been made.

        The values are plain. `num_videos` is the number of videos that the manifest lists, `clip_placement` tells where
        in a video the clips start; the rest is passed on to the card (`videoctx.evaluation.card`).
        """

    def clips_beside_training(self, num_batches: int) -> Iterator[ClipBatch]:
        """Yield at most `num_batches` training batches, on the device, without using up the epoch's own."""
