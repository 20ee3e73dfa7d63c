"""The clips of a synthetic dataset: their places in it, their paths and their random streams."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import numpy as np

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class SyntheticClip:
    """A video of a dataset. Its random stream follows from its place in the dataset, so clips share nothing."""

    class_names: ClassVar[tuple[str, ...]]

    split: str
    label: str
    index: int

    @property
    def path(self) -> str:
        """The path relative to the manifest."""
        return f"videos/{self.split}/{self.label}/{self.index:04d}.mp4"

    def generator(self, seed: int) -> np.random.Generator:
        """Return this clip's random stream, given the seed of the dataset."""
        place = (SPLITS.index(self.split), self.class_names.index(self.label), self.index)
        return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=place))


AnyClip = TypeVar("AnyClip", bound=SyntheticClip)


def clips_of_dataset(
    kind: type[AnyClip], *, train_per_class: int, val_per_class: int, test_per_class: int
) -> Iterator[AnyClip]:
    """Yield every clip of a dataset, split by split and class by class."""
    for split, per_class in zip(SPLITS, (train_per_class, val_per_class, test_per_class), strict=True):
        for label in kind.class_names:
            for index in range(per_class):
                yield kind(split, label, index)
