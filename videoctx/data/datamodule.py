"""The LightningDataModule: a manifest becomes loaders, and decoded videos become network input on the device."""

import logging
import math
from collections.abc import Iterator
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, get_args

import numpy as np
from lightning.pytorch import LightningDataModule
from torch import nn

from videoctx.batch import ClipBatch, Failure
from videoctx.data.annotations import CLASS_FILE, AnnotationError, VideoRecord, read_classes, read_manifest
from videoctx.data.clips import DecodedBatch, VideoDataset
from videoctx.data.decode import Decoder
from videoctx.data.fingerprint import fingerprint
from videoctx.data.loader import Sampler, VideoLoader
from videoctx.data.locations import split_member
from videoctx.data.multigrid import Multigrid, MultigridBatches, Stage
from videoctx.data.preprocessing import Preprocessing
from videoctx.data.protocols import PROTOCOLS, ProtocolName
from videoctx.data.sampling import ClipShape, RandomClips, ShortVideos, UniformClips
from videoctx.data.sharding import EvaluationSampler, Order, OrderName, Shuffled, ShuffledShards, TrainSampler, Weighted
from videoctx.data.storage import LocalFiles
from videoctx.data.training_labels import FlipLabels, check_flip, flipped_classes, warn_of_untrained_classes
from videoctx.data.transforms import IMAGENET_MEAN, IMAGENET_STD, Normalize, TrainTransform, ViewTransform
from videoctx.user_error import UserError

logger = logging.getLogger(__name__)

BESIDE_TRAINING = 2**32  # epochs of clips that are not trained on begin here: their draws are not training's


class TooManyFailuresError(UserError):
    """More training videos could not be read than the run accepts."""


class VideoDataModule(LightningDataModule):
    """Clips of the videos in a manifest (columns: `videoctx.data.annotations`).

    A video that cannot be read is never replaced by another. In validation and test it counts as wrong. In
    training it is left out of its batch, logged with its path, and counted; the run ends when the share of
    this rank's training videos that have failed passes `max_failed_fraction`.

    Args:
        manifest: CSV file, one video a row.
        root: what relative paths in the manifest start from; by default its own folder.
        class_file: one class name a line; by default `classes.txt` beside the manifest.
        multi_label: a video may show several classes, or none.
        train_split: value of the manifest's `split` column to train on.
        val_split: to validate on; none: no validation.
        test_split: to test and predict on.
        clip_len: T, frames of a clip.
        frame_interval: distance between a clip's frames, in frames of the video.
        short_videos: what fills a clip longer than its video: the video again (`wrap`), its last frame
            (`repeat_last`), or an error (`refuse`).
        crop_size_px: side of the training crop.
        short_side_px: least and greatest short side before the training crop.
        crop_area: instead of that, least and greatest share of the picture that the training crop shows, its sides
            from 3:4 to 4:3 before it is resized.
        flip_probability: of the horizontal flip in training; 0 where left and right tell classes apart.
        flip_labels: where a flipped clip shows another class, as "turn left" and "turn right": `refuse` the run, or
            `swap` the label of the clips that are flipped.
        augment: further transforms of a training clip, (T, 3, H, W) uint8, in order, such as
            `torchvision.transforms.v2.RandAugment`; all frames of a clip share a draw.
        erasing: of the normalized training clip, such as `torchvision.transforms.v2.RandomErasing`.
        val_views: clips × crops of a validation video.
        test_views: clips × crops of a test video; 10 × 3 is the field's protocol.
        protocol: whose clip grid, resizing and crops validation and test take: our own, or those of the project that
            imported weights come from, to reproduce its table (`videoctx.data.protocols`).
        test_crop_size_px: side of the crops in validation and test.
        test_short_side_px: short side before them.
        mean: of the red, green and blue channels, in [0, 1].
        std: likewise.
        batch_size: training videos per step and device.
        multigrid: train on batches of more, shorter and smaller clips first; `batch_size`, `clip_len` and
            `crop_size_px` are those of the end (`videoctx.data.multigrid`).
        clips_per_video: training clips that one decode of a video gives, each with an augmentation of its own.
        train_order: every video once an epoch (`shuffled`); as many draws with replacement, every class equally often
            (`class_balanced`) or each video as often as the manifest's `weight` says (`weighted`).
        shuffle_buffer: where videos lie in shards, which are read one after another: the next is drawn among so many.
        eval_batch_size: validation and test videos per step and device; all of their views go through the network.
        num_workers: decoding processes per device; 0: decode between the steps, without a deadline.
        decoder: library that decodes; `auto` takes the fastest that is exact on the file.
        deadline_seconds: for decoding a video: then it has failed, its process is replaced, and it is not tried again.
        cache_dir: where files from a URL are kept, on a local disk; by default in the folder of temporary files.
        cache_bytes: how much of them is kept, the least recently used going first.
        max_failed_fraction: of the training videos, beyond which unreadable ones end the run.
        seed: of the order, the clips and the augmentation.
    """

    def __init__(
        self,
        manifest: str,
        *,
        root: str | None = None,
        class_file: str | None = None,
        multi_label: bool = False,
        train_split: str = "train",
        val_split: str | None = "val",
        test_split: str = "test",
        clip_len: int = 8,
        frame_interval: int = 8,
        short_videos: ShortVideos = "wrap",
        crop_size_px: int = 224,
        short_side_px: tuple[int, int] = (256, 320),
        crop_area: tuple[float, float] | None = None,
        flip_probability: float = 0.5,
        flip_labels: FlipLabels = "refuse",
        augment: list[nn.Module] | None = None,
        erasing: nn.Module | None = None,
        val_views: tuple[int, int] = (1, 1),
        test_views: tuple[int, int] = (10, 3),
        protocol: ProtocolName = "videoctx",
        test_crop_size_px: int = 256,
        test_short_side_px: int = 256,
        mean: tuple[float, float, float] = IMAGENET_MEAN,
        std: tuple[float, float, float] = IMAGENET_STD,
        batch_size: int = 8,
        multigrid: Multigrid | None = None,
        clips_per_video: int = 1,
        train_order: OrderName = "shuffled",
        shuffle_buffer: int = 1000,
        eval_batch_size: int = 1,
        num_workers: int = 4,
        decoder: Decoder = "auto",
        deadline_seconds: float = 30.0,
        cache_dir: str | None = None,
        cache_bytes: float = 50e9,
        max_failed_fraction: float = 0.01,
        seed: int = 0,
    ) -> None:
        super().__init__()
        for name, value in (
            ("batch_size", batch_size),
            ("clips_per_video", clips_per_video),
            ("shuffle_buffer", shuffle_buffer),
            ("eval_batch_size", eval_batch_size),
        ):
            if value < 1:
                raise ValueError(f"{name} is {value}; expected 1 or more")
        for name, value in (("deadline_seconds", deadline_seconds), ("cache_bytes", cache_bytes)):
            if not value > 0:
                raise ValueError(f"{name} is {value}; expected more than 0")
        if num_workers < 0:
            raise ValueError(f"num_workers is {num_workers}; expected 0 or more")
        for name, views in (("val_views", val_views), ("test_views", test_views)):
            if min(views) < 1:
                raise ValueError(f"{name} is {list(views)}; expected clips and crops, each 1 or more")
        if not 0 <= max_failed_fraction <= 1:
            raise ValueError(f"max_failed_fraction is {max_failed_fraction}; expected 0 to 1")
        if seed < 0:
            raise ValueError(f"seed is {seed}; expected 0 or more")
        if multi_label and train_order == "class_balanced":
            raise ValueError("train_order is 'class_balanced' with multi_label; expected 'shuffled' or 'weighted'")
        if flip_labels not in get_args(FlipLabels):
            raise ValueError(f"flip_labels is {flip_labels!r}; expected one of {', '.join(get_args(FlipLabels))}")
        self.manifest = Path(manifest)
        if not self.manifest.is_file():
            raise AnnotationError(f"{manifest}: cannot read the manifest (No such file or directory)")
        self.root = root
        self.class_names = read_classes(class_file or self.manifest.parent / CLASS_FILE)
        self.multi_label = multi_label
        self.splits = {"train": train_split, "val": val_split, "test": test_split}
        self.shape = ClipShape(clip_len=clip_len, frame_interval=frame_interval, short_videos=short_videos)
        self.views = {"val": val_views, "test": test_views}
        for stage, (_, num_crops) in self.views.items():
            if stage == "test" or val_split:
                PROTOCOLS[protocol].check(protocol, num_crops)
        self.protocol = protocol
        self.preprocessing = Preprocessing(
            clip_len=clip_len,
            frame_interval=frame_interval,
            short_videos=short_videos,
            protocol=protocol,
            test_short_side_px=test_short_side_px,
            test_crop_size_px=test_crop_size_px,
            test_views=tuple(test_views),
            mean=tuple(mean),
            std=tuple(std),
        )
        normalize = Normalize(mean, std)
        self.train_transform = TrainTransform(
            crop_size_px=crop_size_px,
            short_side_px=short_side_px,
            flip_probability=flip_probability,
            normalize=normalize,
            crop_area=crop_area,
            augment=augment or (),
            erasing=erasing,
            flipped_classes=flipped_classes(self.class_names) if flip_labels == "swap" else None,
        )
        self.view_transforms = {
            stage: ViewTransform(
                crop_size_px=test_crop_size_px,
                short_side_px=test_short_side_px,
                num_crops=num_crops,
                normalize=normalize,
                protocol=PROTOCOLS[protocol],
            )
            for stage, (_, num_crops) in self.views.items()
        }
        self.batch_size = batch_size
        self.multigrid = multigrid
        self.stages: list[Stage] = []  # of multigrid training, once it begins
        self.clips_per_video = clips_per_video
        self.train_order = train_order
        self.shuffle_buffer = shuffle_buffer
        self.eval_batch_size = eval_batch_size
        self.num_workers = num_workers
        self.decoder = decoder
        self.deadline_seconds = deadline_seconds
        self.files = LocalFiles(cache_dir, max_cache_bytes=int(cache_bytes))
        self.flip_labels = flip_labels
        self.max_failed_fraction = max_failed_fraction
        self.seed = seed
        self.train_sha256: str | None = None  # of the training split, once it is read
        self.resumed: dict[str, int | str] | None = None  # where the run stopped that is resumed
        self.loaders: dict[str, VideoLoader] = {}
        self.failed: dict[int, Failure] = {}  # training videos of this rank that could not be read, by row

    def setup(self, stage: str) -> None:
        """What would make a training run worthless is said before anything is decoded."""
        if stage != "fit":
            return
        self.resumed = None  # of a run before this one
        if self.multigrid:
            self._begin_multigrid()
        flips = self.train_transform.flip_probability
        if self.flip_labels == "refuse":
            check_flip(self.class_names, flip_probability=flips)
        if self.trainer.global_rank == 0:
            flipped_to = flipped_classes(self.class_names) if flips and self.flip_labels == "swap" else ()
            warn_of_untrained_classes(
                self._train_dataset.records, self.class_names, split=self.splits["train"], flipped_to=flipped_to
            )

    def train_dataloader(self) -> VideoLoader:
        if self.multigrid and (loader := self.trainer.train_dataloader) is not None:
            return self._for_next_epoch(loader)
        dataset = self._train_dataset
        sampler = TrainSampler(
            self._order(dataset.records),
            num_ranks=self.trainer.world_size,
            rank=self.trainer.global_rank,
            seed=self.seed,
        )
        batches = None
        if self.multigrid:
            sampler.set_epoch(self.trainer.current_epoch)
            batches = MultigridBatches(sampler, self.stages)
        self._check_resumed(dataset.records)
        if self.resumed:
            self._resume(sampler, batches)
        # A last batch of one clip would have no variance for BatchNorm to measure: it is dropped where others remain.
        drop_last = len(sampler) > self.batch_size
        return self._loader(
            "train", dataset, sampler, batch_size=self.batch_size, drop_last=drop_last, batch_sampler=batches
        )

    def val_dataloader(self) -> VideoLoader | list:
        if self.multigrid and (loader := self.trainer.val_dataloaders) is not None:
            return loader
        return self._evaluation_loader("val") if self.splits["val"] else []

    def test_dataloader(self) -> VideoLoader:
        return self._evaluation_loader("test")

    def predict_dataloader(self) -> VideoLoader:
        return self._evaluation_loader("test", labels_required=False)

    def clips_beside_training(self, num_batches: int) -> Iterator[ClipBatch]:
        """Training clips, on the device, for statistics of the network: those of the epoch are not used up by it.

        They are of the shape without multigrid, with which the network is evaluated.
        """
        loader = self.loaders["train"]
        batch_sampler, loader.batch_sampler = loader.batch_sampler, None
        loader.sampler.set_epoch(self.trainer.current_epoch + BESIDE_TRAINING)
        device = self.trainer.strategy.root_device
        try:
            for batch in islice(loader, num_batches):
                yield self.train_transform(batch.to(device, non_blocking=True))
        finally:
            loader.batch_sampler = batch_sampler
            loader.sampler.set_epoch(self.trainer.current_epoch)

    @property
    def clips_per_device(self) -> int:
        """Clips in a training batch of one device, without multigrid."""
        return self.batch_size * self.clips_per_video

    def preprocessing_dict(self) -> dict[str, Any]:
        """Return how test clips are made, as plain values for a checkpoint."""
        return self.preprocessing.as_dict()

    @property
    def train_clip_size(self) -> tuple[int, int, int]:
        """(T, H, W) of a training clip."""
        size = self.train_transform.crop_size_px
        return self.shape.clip_len, size, size

    def card(self, stage: str) -> dict[str, object]:
        """What a result should say of its data, once there is a loader; `videoctx.evaluation.card` says what for."""
        records = self.loaders[stage].dataset.records
        card = {
            "manifest": str(self.manifest),
            "manifest_sha256": self._fingerprint(records),
            "split": self.splits[stage],
            "num_videos": len(records),
            "clip_len": self.shape.clip_len,
            "frame_interval": self.shape.frame_interval,
            "short_videos": self.shape.short_videos,
            "decoder": self.decoder,
            "seed": self.seed,
        }
        if stage == "train":
            return card
        return card | {
            "protocol": self.protocol,
            "clip_placement": PROTOCOLS[self.protocol].clip_placement,
            "views": list(self.views[stage]),
            "short_side_px": self.view_transforms[stage].short_side_px,
            "crop_size_px": self.view_transforms[stage].crop_size_px,
            "mean": list(self.view_transforms[stage].normalize.mean),
            "std": list(self.view_transforms[stage].normalize.std),
        }

    def state_dict(self) -> dict[str, int | str]:
        """Where training is: the epoch, the steps of it that are done, and the videos that it draws from."""
        progress = self.trainer.fit_loop
        return {
            "epoch": progress.epoch_progress.current.ready - 1,
            "num_batches": progress.epoch_loop.batch_progress.current.processed,
            "batches_per_epoch": int(progress.max_batches) if math.isfinite(progress.max_batches) else 0,
            "accumulate_grad_batches": self.trainer.accumulate_grad_batches,
            "train_sha256": self.train_sha256,
            "multigrid": self._multigrid_plan,
            **self._topology(),
        }

    def load_state_dict(self, state_dict: dict[str, int | str]) -> None:
        self.resumed = state_dict

    def teardown(self, stage: str) -> None:  # noqa: ARG002
        for loader in self.loaders.values():
            loader.close()

    def on_exception(self, exception: BaseException) -> None:  # noqa: ARG002
        self.teardown("")

    def on_after_batch_transfer(self, batch: DecodedBatch, dataloader_idx: int) -> ClipBatch:  # noqa: ARG002
        """Network input, on the device; a failed training video ends here."""
        if self.trainer.training:
            clips = self.train_transform(batch)
            self._count(clips)
            return clips
        stage = "val" if self.trainer.validating or self.trainer.sanity_checking else "test"
        return self.view_transforms[stage](batch, num_clips=self.views[stage][0])

    @cached_property
    def _train_dataset(self) -> VideoDataset:
        return self._dataset("train", RandomClips(shape=self.shape, num_clips=self.clips_per_video))

    def _dataset(
        self, stage: str, sampler: RandomClips | UniformClips, *, labels_required: bool = True
    ) -> VideoDataset:
        records = read_manifest(
            self.manifest,
            self.class_names,
            split=self.splits[stage],
            root=self.root,
            labels_required=labels_required,
            multi_label=self.multi_label,
        )
        return VideoDataset(records, sampler=sampler, seed=self.seed, decoder=self.decoder)

    def _fingerprint(self, records: list[VideoRecord]) -> str:
        return fingerprint(records, self.class_names, root=str(self.root or self.manifest.parent))

    def _check_resumed(self, records: list[VideoRecord]) -> None:
        """That the run goes on with the videos that it was trained on."""
        self.train_sha256 = self._fingerprint(records)
        if self.resumed and self.resumed.get("train_sha256") != self.train_sha256:
            raise ValueError(
                f"{self.manifest}, split {self.splits['train']!r}: not the videos that the checkpoint was trained on;"
                " expected the same rows in the same order to resume, or --model.weights in place of --ckpt_path to"
                " start from its weights"
            )
        if self.resumed and self.resumed.get("multigrid") != self._multigrid_plan:
            raise ValueError(
                f"data.multigrid is {self._multigrid_plan}, and was {self.resumed.get('multigrid')}; expected the same"
                " to resume"
            )

    def _begin_multigrid(self) -> None:
        expected = {"accumulate_grad_batches": 1, "limit_train_batches": 1.0, "reload_dataloaders_every_n_epochs": 1}
        for name, value in expected.items():
            given = getattr(self.trainer, name)
            if (type(given), given) != (type(value), value):  # one batch is no 1.0
                raise ValueError(f"trainer.{name} is {given} with data.multigrid; expected {value}")
        if (self.trainer.max_epochs or 0) < 1:
            raise ValueError(f"trainer.max_epochs is {self.trainer.max_epochs} with data.multigrid; expected 1 or more")
        self.stages = self.multigrid.stages(
            clip_len=self.shape.clip_len,
            crop_size_px=self.train_transform.crop_size_px,
            batch_size=self.batch_size,
            num_videos=-(-len(self._train_dataset) // self.trainer.world_size),
            max_epochs=self.trainer.max_epochs,
        )

    def _for_next_epoch(self, loader: VideoLoader) -> VideoLoader:
        """The loader that is there already: Lightning asks before every epoch, as they differ in length."""
        loader.sampler.set_epoch(self.trainer.current_epoch)
        epoch_loop = self.trainer.fit_loop.epoch_loop
        progress = epoch_loop.batch_progress
        if epoch_loop.restarted_on_train_batch_end and progress.is_last_batch:
            # A checkpoint of an epoch's last step: Lightning, which compares its number of batches with the length of
            # the next epoch, would take it for one of the middle where that is longer.
            progress.current.completed = max(progress.current.completed, len(loader))
        return loader

    @property
    def _multigrid_plan(self) -> str | None:
        """What a resumed run must have in common with the one that stopped, for its steps to be of the same epochs."""
        if not self.multigrid:
            return None
        if not self.multigrid.milestone_epochs:
            return f"{self.multigrid}"
        ranks = f"{self.batch_size} videos on each of {self.trainer.world_size} ranks"
        return f"{self.multigrid} with {ranks} over {self.trainer.max_epochs} epochs"

    def _order(self, records: list[VideoRecord]) -> Order:
        if self.train_order == "class_balanced":
            return Weighted.by_class([record.class_index for record in records])
        if self.train_order == "weighted":
            return Weighted(np.array([record.weight for record in records]))
        members = [split_member(record.path) for record in records]
        if all(members):
            _, shards = np.unique([tar for _, tar in members], return_inverse=True)
            return ShuffledShards(shards, self.shuffle_buffer)
        return Shuffled(len(records))

    def _topology(self) -> dict[str, int]:
        """What a resumed run must have in common with the one that stopped, to know which videos are left."""
        return {"batch_size": self.batch_size, "num_ranks": self.trainer.world_size, "seed": self.seed}

    def _resume(self, sampler: TrainSampler, batches: MultigridBatches | None) -> None:
        """Leave out what the run that stopped in the middle of an epoch has trained on."""
        num_batches = self.resumed["num_batches"]
        if not 0 < num_batches < self.resumed["batches_per_epoch"]:
            return
        saved = {name: self.resumed[name] for name in self._topology()}
        if saved != self._topology():
            raise ValueError(
                f"the checkpoint was written in the middle of an epoch, with {_listed(saved)}; this run has"
                f" {_listed(self._topology())}; expected the same, or a checkpoint of an epoch's end"
            )
        if left_over := num_batches % self.resumed["accumulate_grad_batches"]:
            logger.warning(
                "the checkpoint was written between two optimizer steps: the gradients of %d batches are lost",
                left_over,
            )
        if batches is not None:
            batches.resume(epoch=self.resumed["epoch"], num_batches=num_batches)
        else:
            sampler.resume(epoch=self.resumed["epoch"], num_taken=num_batches * self.batch_size)

    def _evaluation_loader(self, stage: str, *, labels_required: bool = True) -> VideoLoader:
        grid = PROTOCOLS[self.protocol].clips
        clips = UniformClips(shape=self.shape, num_clips=self.views[stage][0], grid=grid)
        dataset = self._dataset(stage, clips, labels_required=labels_required)
        sampler = EvaluationSampler(len(dataset), num_ranks=self.trainer.world_size, rank=self.trainer.global_rank)
        return self._loader(stage, dataset, sampler, batch_size=self.eval_batch_size, drop_last=False)

    def _loader(
        self,
        stage: str,
        dataset: VideoDataset,
        sampler: Sampler,
        *,
        batch_size: int,
        drop_last: bool,
        batch_sampler: MultigridBatches | None = None,
    ) -> VideoLoader:
        self.loaders[stage] = VideoLoader(
            dataset,
            sampler,
            batch_size=batch_size,
            drop_last=drop_last,
            batch_sampler=batch_sampler,
            num_workers=self.num_workers,
            deadline_seconds=self.deadline_seconds,
            files=self.files,
        )
        return self.loaders[stage]

    def _count(self, batch: ClipBatch) -> None:
        for position, failure in batch.failures.items():
            row = batch.rows[position]
            if row not in self.failed:
                self.failed[row] = failure
                logger.warning("left out of training: %s: %s", failure.path, failure.reason)
        share = len(self.trainer.train_dataloader.sampler)
        if len(self.failed) > self.max_failed_fraction * share:
            listed = "; ".join(f"{failure.path}: {failure.reason}" for failure in list(self.failed.values())[:5])
            raise TooManyFailuresError(
                f"{len(self.failed)} of {share} training videos cannot be read, more than max_failed_fraction"
                f" {self.max_failed_fraction:g} accepts: {listed}"
            )


def _listed(values: dict[str, int]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())
