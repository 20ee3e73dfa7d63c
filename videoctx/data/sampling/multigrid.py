"""Multigrid training: batches of more, shorter and smaller clips first, and of full ones at the end.

Wu et al.: "A Multigrid Method for Efficiently Training Video Models" (arXiv 1912.00998), as implemented in their code,
PySlowFast. B clips of T frames and S × S pixels take the same work and memory if B·T·S² is the same. The long cycle
changes T and S over epochs, within each period of constant learning rate of a step schedule, and ends with the full
shape. The short cycle changes S from batch to batch. The content of a clip stays about the same: a shorter clip has a
larger frame interval, sampled up to the one that covers as much of the video, and a smaller crop is of a smaller frame.

    8×8 clips of 224 px, 8 videos per batch: (videos, T, S) of the four shapes of a long cycle, and their short cycles
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
    """Consecutive epochs with one clip length and one learning rate. Sizes and counts are per device."""

    num_epochs: int
    clip_len: int
    cycle: tuple[tuple[int, int], ...]  # videos of a batch and side of their crops, in turns; the long cycle's is last
    num_videos: int  # per epoch
    batch_factor: int  # videos in the long cycle's batch, relative to a batch without multigrid
    num_drops: int  # drops of the learning rate before the stage

    @property
    def batches(self) -> list[tuple[int, int]]:
        """Number of videos and side of the crops of every batch of an epoch.

        The last batch holds the rest. It is left out if it is smaller than a batch without multigrid and there are
        other batches.
        """
        batches: list[tuple[int, int]] = []
        least, left = self.cycle[-1][0] // self.batch_factor, self.num_videos
        turns = cycle(self.cycle)
        while left >= least or not batches:
            num_videos, crop_size_px = next(turns)
            batches.append((min(num_videos, left), crop_size_px))
            left -= num_videos
        return batches

    def __str__(self) -> str:
        batches = ", ".join(f"{num_videos} at {crop_size_px} px" for num_videos, crop_size_px in self.cycle)
        return f"{self.clip_len} frames, videos per batch and device {batches}, {len(self.batches)} steps per epoch"


@dataclass(frozen=True, kw_only=True)
class Multigrid:
    """The shapes of clips in multigrid training.

    Args:
        milestone_epochs: Epochs at which the learning rate drops in the step schedule without multigrid. There is a
            long cycle before each. Empty: no long cycle.
        num_epochs: Number of epochs of that schedule. `trainer.max_epochs` is their number with multigrid, in the paper
            1.5 times as many.
        long_factors: Clip length and crop of the long cycle's shapes, relative to the full shape, which comes last.
        short_factors: Crops of the short cycle before the long cycle's, relative to the full crop. Empty: no short
            cycle.

    Raises:
        ValueError: A factor is not in (0, 1], or the epochs do not increase.

    >>> plan = Multigrid(milestone_epochs=(2,), num_epochs=3, long_factors=((0.5, 1.0), (1.0, 1.0)))
    >>> stages = plan.stages(clip_len=8, crop_size_px=224, batch_size=8, num_videos=100, max_epochs=6)
    >>> [(stage.num_epochs, stage.clip_len) for stage in stages]
    [(3, 4), (2, 8), (1, 8)]
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
        """Return the stages of a run.

        As in PySlowFast, all shapes of a long cycle get the same number of steps. The epochs after the last milestone
        are the final training on the full shape. They lose as many steps as the others do, and the learning rate drops
        for the last time in their middle.

        Args:
            clip_len: Number of frames T without multigrid.
            crop_size_px: Side S of the crop without multigrid.
            batch_size: Number of videos B per device without multigrid.
            num_videos: Number of videos per device and epoch.
            max_epochs: Number of epochs of the run.

        Raises:
            ValueError: A clip would not have a whole number of frames, or there are too few epochs.
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
        """Return the number of frames of a clip, and videos and crops of the short cycle."""
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
    """Batches of a sampler's indices, with the shape of their clips."""

    def __init__(self, sampler: TrainSampler, stages: list[Stage]) -> None:
        self.sampler = sampler
        self.stages = stages
        self._resumed = (0, 0)  # an epoch, and the number of its batches that this rank has had

    def __len__(self) -> int:
        return len(self._stage(self.sampler.epoch).batches)

    def resume(self, *, epoch: int, num_batches: int) -> None:
        """Leave out the first `num_batches` batches of `epoch`."""
        self._resumed = (epoch, num_batches)
        taken = self._stage(epoch).batches[:num_batches]
        self.sampler.resume(epoch=epoch, num_taken=sum(num_videos for num_videos, _ in taken))

    def __iter__(self) -> Iterator[list[SampleIndex]]:
        epoch, samples = self.sampler.epoch, iter(self.sampler)
        stage = self._stage(epoch)
        resumed_epoch, num_batches = self._resumed
        for num_videos, crop_size_px in stage.batches[num_batches if epoch == resumed_epoch else 0 :]:
            batch = islice(samples, num_videos)
            yield [sample._replace(clip_len=stage.clip_len, crop_size_px=crop_size_px) for sample in batch]

    def _stage(self, epoch: int) -> Stage:
        ends = accumulate(stage.num_epochs for stage in self.stages)
        return next((stage for stage, end in zip(self.stages, ends, strict=True) if epoch < end), self.stages[-1])
