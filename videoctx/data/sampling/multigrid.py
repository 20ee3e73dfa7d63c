"""Multigrid training: batches of more, shorter and smaller clips first, and of full ones at the end.

Wu et al.: "A Multigrid Method for Efficiently Training Video Models" (arXiv 1912.00998), as their code, PySlowFast,
has it. B clips of T frames and S × S pixels take as much work and memory wherever B·T·S² is the same. The long cycle
changes T and S over epochs, within each stretch of constant learning rate of a step schedule, and ends with the full
shape; the short cycle changes S from batch to batch. What a clip shows of its video stays: a shorter one takes its
frames further apart, at random up to as far as makes it span as much, and a smaller crop is of a smaller picture.

    8×8 clips of 224 px, 8 videos a batch: (videos, T, S) of the four shapes of a long cycle, and their short cycles
    (128, 2, 112) (64, 2, 158) (64, 2, 158) · (64, 4, 112) (32, 4, 158) (32, 4, 158)
    (64, 4, 112) (32, 4, 158) (16, 4, 224) · (32, 8, 112) (16, 8, 158) (8, 8, 224)
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, cycle, islice, pairwise

from videoctx.data.loading.dataset import SampleIndex
from videoctx.data.sampling.video_samplers import TrainSampler


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Epochs with clips of one length, at one learning rate; of one device."""

    num_epochs: int
    clip_len: int
    cycle: tuple[tuple[int, int], ...]  # videos of a batch and side of their crops, in turns; last the long cycle's
    num_videos: int  # in an epoch
    batch_factor: int  # how many times as many videos the long cycle's batch has as one without multigrid
    num_drops: int  # of the learning rate, before

    @property
    def batches(self) -> list[tuple[int, int]]:
        """Videos and side of the crops of every batch of an epoch.

        The last holds what is left; less than a batch without multigrid is left out where there are other batches.
        """
        least, left, batches = self.cycle[-1][0] // self.batch_factor, self.num_videos, []
        turns = cycle(self.cycle)
        while left >= least or not batches:
            num_videos, crop_size_px = next(turns)
            batches.append((min(num_videos, left), crop_size_px))
            left -= num_videos
        return batches

    def __str__(self) -> str:
        batches = ", ".join(f"{num_videos} at {crop_size_px} px" for num_videos, crop_size_px in self.cycle)
        return f"{self.clip_len} frames, videos a batch and device {batches}, {len(self.batches)} steps an epoch"


@dataclass(frozen=True, kw_only=True)
class Multigrid:
    """Which shapes clips take in training.

    Args:
        milestone_epochs: where the learning rate drops in the step schedule without multigrid; before each there is a
            long cycle. Empty: no long cycle.
        num_epochs: of that schedule. `trainer.max_epochs` says how many they become; in the paper 1.5 times as many.
        long_factors: clip length and crop of the long cycle's shapes, relative to the full ones, which come last.
        short_factors: crops of the short cycle before the long cycle's, relative to the full one. Empty: no short
            cycle.

    Raises:
        ValueError: a factor is not above 0 and up to 1, or the epochs do not rise.
    """

    milestone_epochs: tuple[float, ...] = ()
    num_epochs: float = 0
    long_factors: tuple[tuple[float, float], ...] = ((0.25, 0.5**0.5), (0.5, 0.5**0.5), (0.5, 1.0), (1.0, 1.0))
    short_factors: tuple[float, ...] = (0.5, 0.5**0.5)

    def __post_init__(self) -> None:
        factors = [factor for shape in self.long_factors for factor in shape] + list(self.short_factors)
        if not all(0 < factor <= 1 for factor in factors) or [[*shape] for shape in self.long_factors[-1:]] != [[1, 1]]:
            raise ValueError(
                f"long_factors are {list(self.long_factors)}, short_factors {list(self.short_factors)};"
                " expected each above 0 and up to 1, and [1, 1] as the last of long_factors"
            )
        epochs = [0, *self.milestone_epochs, self.num_epochs]
        if self.milestone_epochs and not all(one < other for one, other in pairwise(epochs)):
            raise ValueError(
                f"milestone_epochs are {list(self.milestone_epochs)} with num_epochs {self.num_epochs:g};"
                " expected them to rise from above 0 to below num_epochs"
            )

    def stages(
        self, *, clip_len: int, crop_size_px: int, batch_size: int, num_videos: int, max_epochs: int
    ) -> list[Stage]:
        """The run: what its epochs are.

        As PySlowFast has it: all shapes of a long cycle get as many steps; the epochs after the last milestone lose as
        many steps as the others do; they are the final training on the full shape, and it is in their middle that the
        learning rate drops for the last time.

        Args:
            clip_len: T without multigrid, as the next two.
            crop_size_px: S.
            batch_size: B, of a device.
            num_videos: of a device in an epoch.
            max_epochs: of the run.

        Raises:
            ValueError: a clip would not have a whole number of frames, or there are too few epochs.
        """
        shapes = [
            self._shape(clip_len, crop_size_px, batch_size, *factors)
            for factors in (self.long_factors if self.milestone_epochs else [(1, 1)])
        ]
        means = [sum(videos for videos, _ in its_cycle) / len(its_cycle) for _, its_cycle in shapes]
        spans = [stop - start for start, stop in pairwise([0, *self.milestone_epochs])]
        kinds = [(shape, drops) for drops in range(len(spans)) for shape in shapes] + [(shapes[-1], len(spans))]
        lengths = [span * mean / sum(means) for span in spans for mean in means]
        final = self.num_epochs - sum(spans) if spans else 1
        lengths.append(final * means[-1] * len(means) / sum(means))
        ends = [round(end * max_epochs / sum(lengths)) for end in accumulate(lengths)]
        if len(ends) > 1:
            ends[-2] = (ends[-2] + ends[-1]) // 2
        numbers = [stop - start for start, stop in pairwise([0, *ends])]
        if min(numbers) < 1:
            raise ValueError(
                f"trainer.max_epochs is {max_epochs}, too few for {len(numbers)} shapes of data.train.multigrid;"
                f" expected {math.ceil(sum(lengths) / min(lengths))} or more, or fewer milestone_epochs or long_factors"
            )
        return [
            Stage(
                num_epochs=number,
                clip_len=length,
                cycle=its_cycle,
                num_videos=num_videos,
                batch_factor=its_cycle[-1][0] // batch_size,
                num_drops=drops,
            )
            for number, ((length, its_cycle), drops) in zip(numbers, kinds, strict=True)
        ]

    def _shape(
        self, clip_len: int, crop_size_px: int, batch_size: int, length_factor: float, crop_factor: float
    ) -> tuple[int, tuple[tuple[int, int], ...]]:
        """Frames of a clip, and the short cycle's videos and crops."""
        length = round(clip_len * length_factor)
        if not math.isclose(length, clip_len * length_factor):
            raise ValueError(
                f"clip_len is {clip_len}, of which {length_factor:g} are {clip_len * length_factor:g} frames;"
                " expected a whole number, or other data.train.multigrid.long_factors"
            )
        largest = max(round(crop_size_px * crop_factor), 1)
        crops = [min(max(round(crop_size_px * factor), 1), largest) for factor in self.short_factors] + [largest]
        work = clip_len * crop_size_px**2
        return length, tuple((batch_size * round(work / (length * crop**2)), crop) for crop in crops)


class MultigridBatches:
    """Batches of the draws of a sampler, which say of what shape the clips are to be."""

    def __init__(self, sampler: TrainSampler, stages: list[Stage]) -> None:
        self.sampler = sampler
        self.stages = stages
        self._resumed = (0, 0)  # an epoch, and how many of its batches this rank has had

    def __len__(self) -> int:
        return len(self._stage(self.sampler.epoch).batches)

    def resume(self, *, epoch: int, num_batches: int) -> None:
        """Leave out the first `num_batches` batches of `epoch`."""
        self._resumed = (epoch, num_batches)
        taken = self._stage(epoch).batches[:num_batches]
        self.sampler.resume(epoch=epoch, num_taken=sum(num_videos for num_videos, _ in taken))

    def __iter__(self) -> Iterator[list[SampleIndex]]:
        epoch, draws = self.sampler.epoch, iter(self.sampler)
        stage = self._stage(epoch)
        resumed_epoch, num_batches = self._resumed
        for num_videos, crop_size_px in stage.batches[num_batches if epoch == resumed_epoch else 0 :]:
            batch = islice(draws, num_videos)
            yield [draw._replace(clip_len=stage.clip_len, crop_size_px=crop_size_px) for draw in batch]

    def _stage(self, epoch: int) -> Stage:
        ends = accumulate(stage.num_epochs for stage in self.stages)
        return next((stage for stage, end in zip(self.stages, ends, strict=True) if epoch < end), self.stages[-1])
