"""The LightningDataModule: reads a manifest, loads decoded videos, and makes network input of them on the device."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningDataModule, Trainer

from videoctx.batch import ClipBatch
from videoctx.data.annotations import CLASS_FILE, VideoRecord, VideoRecords, check_manifest, read_classes, read_manifest
from videoctx.data.annotations.video_fraction import fraction_of_videos
from videoctx.data.card import data_card
from videoctx.data.failures import TrainingFailures
from videoctx.data.fingerprint import fingerprint
from videoctx.data.loading.ahead import ReadyBatch
from videoctx.data.loading.clips_beside_training import clips_beside_training
from videoctx.data.loading.dataset import DecodedBatch, VideoDataset
from videoctx.data.loading.evaluation_loader import evaluation_loader
from videoctx.data.loading.loader import VideoLoader
from videoctx.data.loading.ready_clips import ReadyClips
from videoctx.data.preprocessing import Preprocessing
from videoctx.data.resume import TrainingState, check_resumed, multigrid_plan, skip_trained_batches
from videoctx.data.sampling.frame_order import check_frame_order
from videoctx.data.sampling.multigrid import MultigridBatches, Stage
from videoctx.data.sampling.training_order import training_order
from videoctx.data.sampling.video_samplers import TrainSampler
from videoctx.data.settings import ClipSettings, LoadingSettings, StorageSettings, TestSettings, TrainSettings
from videoctx.data.storage.local_files import LocalFiles
from videoctx.data.trainer_state import (
    begin_next_epoch,
    check_multigrid_options,
    clip_dtype,
    training_progress,
    use_device,
)
from videoctx.data.training_class_counts import expected_class_counts
from videoctx.data.training_labels import check_training_classes
from videoctx.data.training_transform import training_transform
from videoctx.data.validation_split import check_validation_split


class VideoDataModule(LightningDataModule):
    """Clips of the videos in a manifest (columns: see `videoctx.data.annotations`).

    A video that cannot be read is never replaced by another. In validation and test it counts as an incorrect
    prediction. In training it is left out of its batch, logged with its path, and counted. The run ends if the
    fraction of this rank's training videos that failed exceeds `train.max_failed_fraction`.

    Without a Trainer, the loaders yield each `ClipBatch` on the CPU, ready for a network:

        data = VideoDataModule("manifest.csv", clips=ClipSettings(clip_len=16))
        batch = next(iter(data.train_dataloader()))

    Args:
        manifest: CSV file with one row per video.
        root: Folder or URL that relative paths in the manifest start from. By default the manifest's folder.
        class_file: File with one class name per line, or the names. By default `classes.txt` beside the manifest.
        multi_label: Whether a video may show several classes, or none.
        train_split: Value of the manifest's `split` column to train on.
        val_split: Value of the `split` column to validate on. None: no validation.
        test_split: Value of the `split` column to test and predict on.
        batch_size: Number of training videos per step and device.
        clips: What a clip is.
        train: Crops, augmentation and order of training clips.
        test: Views of a video in validation and test.
        loading: Decoding processes.
        storage: Cache of remote files.
        seed: Seed of the order, the clips and the augmentation.

    Raises:
        ValueError: A value is out of its range.
        AnnotationError: The manifest or the class file is missing.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "classes.txt").write_text("left\\nright\\n")
    ...     _ = Path(folder, "manifest.csv").write_text("path,label,split\\na.mp4,left,train\\n")
    ...     data = VideoDataModule(f"{folder}/manifest.csv", batch_size=4, clips=ClipSettings(clip_len=16))
    >>> data.class_names, data.train_clip_size
    (['left', 'right'], (16, 224, 224))
    """

    def __init__(
        self,
        manifest: str,
        *,
        root: str | None = None,
        class_file: str | Sequence[str] | None = None,
        multi_label: bool = False,
        train_split: str = "train",
        val_split: str | None = "val",
        test_split: str = "test",
        batch_size: int = 8,
        clips: ClipSettings = ClipSettings(),
        train: TrainSettings = TrainSettings(),
        test: TestSettings = TestSettings(),
        loading: LoadingSettings = LoadingSettings(),
        storage: StorageSettings = StorageSettings(),
        seed: int = 0,
    ) -> None:
        super().__init__()
        for name, value, least in (("batch_size", batch_size, 1), ("seed", seed, 0)):
            if value < least:
                raise ValueError(f"{name} is {value}; expected {least} or more")
        if multi_label and train.order == "class_balanced":
            raise ValueError("train.order is 'class_balanced' with multi_label; expected 'shuffled' or 'weighted'")
        self.manifest = Path(manifest)
        check_manifest(manifest)
        self.root = root
        self.class_names = read_classes(class_file or self.manifest.parent / CLASS_FILE)
        self.multi_label = multi_label
        self.splits = {"train": train_split, "test": test_split} | ({"val": val_split} if val_split else {})
        self.clips, self.train, self.test, self.loading = clips, train, test, loading
        self.batch_size, self.seed = batch_size, seed
        self.files = LocalFiles(storage.cache_dir, max_cache_bytes=int(storage.cache_bytes))
        self.train_transform = training_transform(clips, train, self.class_names)
        self.views = {"val": test.val_views, "test": test.views}
        self.view_transforms = {
            stage: self._views_of(stage).transform() for stage in self.views if stage in self.splits
        }
        self.stages: list[Stage] = []  # of multigrid training, from its start
        self.failures = TrainingFailures(train.max_failed_fraction)
        self.loaders: dict[str, VideoLoader] = {}
        self._train_sha256: str | None = None  # known once the training split is read
        self._resumed: TrainingState | None = None  # state in the checkpoint that the run resumes

    # ------------------------------------------------------------------ what a task may ask for

    @property
    def clips_per_device(self) -> int:
        """Number of training clips per step and device."""
        return self.batch_size * self.train.clips_per_video

    @property
    def train_clip_size(self) -> tuple[int, int, int]:
        """(T, H, W) of a training clip."""
        return self.clips.clip_len, self.train.crop_size_px, self.train.crop_size_px

    @property
    def train_class_counts(self) -> list[float]:
        """Number of videos of each class that a training epoch takes, on average."""
        return expected_class_counts(self._train_dataset.records, self.class_names, self.train)

    @property
    def preprocessing(self) -> Preprocessing:
        """How the test makes its clips."""
        return Preprocessing.from_settings(self.clips, self.test, self.train)

    def preprocessing_dict(self) -> dict[str, Any]:
        """Return how the test makes its clips, as plain values for a checkpoint."""
        return self.preprocessing.as_dict()

    def card(self, stage: str) -> dict[str, object]:
        """Return what a result stores about its data. `stage` is `train`, `val` or `test`, and has a loader already."""
        records = self.loaders[stage].dataset.records
        return data_card(
            manifest=str(self.manifest),
            manifest_sha256=self._fingerprint(records),
            split=self.splits[stage],
            num_videos=len(records),
            clips=self.clips,
            loading=self.loading,
            seed=self.seed,
            made=None if stage == "train" else self._views_of(stage),
            train=self.train,
        )

    def clips_beside_training(self, num_batches: int) -> Iterator[ClipBatch]:
        """Iterate over batches of training clips on the device, without using up those of the epoch.

        They serve to measure statistics of the network. With multigrid training they have the full shape, with which
        the network is evaluated.
        """
        trainer = self._attached_trainer
        return clips_beside_training(
            self.loaders["train"],
            self.train_transform,
            num_batches=num_batches,
            epoch=trainer.current_epoch,
            device=trainer.strategy.root_device,
        )

    # ------------------------------------------------------------------ loaders

    def setup(self, stage: str) -> None:
        """Check what would make a run worthless, before anything is decoded."""
        check_validation_split(stage, self.manifest, self.splits)
        check_frame_order(stage, self.test.frame_order)
        if stage != "fit":
            return
        self._resumed = None  # of a run before this one
        if self.train.multigrid:
            max_epochs = check_multigrid_options(self._attached_trainer)
            self.stages = self.train.multigrid.stages(
                clip_len=self.clips.clip_len,
                crop_size_px=self.train.crop_size_px,
                batch_size=self.batch_size,
                num_videos=-(-len(self._train_dataset) // self._num_ranks),
                max_epochs=max_epochs,
            )
        self._check_classes()

    def train_dataloader(self) -> VideoLoader | ReadyClips:
        """Return the loader of training clips, without a last batch that is not full unless it is the only one.

        A batch of one clip would have no variance for BatchNorm to measure.
        """
        if self.trainer is None:
            if self.train.multigrid:
                raise ValueError("train.multigrid needs a Trainer, which sets the number of epochs; expected None")
            self._check_classes()
        elif self.train.multigrid and (loader := self.trainer.train_dataloader) is not None:
            begin_next_epoch(self.trainer, loader)  # Lightning asks before every epoch
            return loader
        dataset = self._train_dataset
        order = training_order(dataset.records, self.train.order, shuffle_buffer=self.train.shuffle_buffer)
        sampler = TrainSampler(order, num_ranks=self._num_ranks, rank=self._rank, seed=self.seed)
        batches = None
        if self.train.multigrid:
            sampler.set_epoch(self._attached_trainer.current_epoch)
            batches = MultigridBatches(sampler, self.stages)
        self.train_transform.dtype = clip_dtype(self.trainer)
        self._train_sha256 = self._fingerprint(dataset.records)
        if self._resumed:
            check_resumed(
                self._resumed,
                train_sha256=self._train_sha256,
                multigrid=self._multigrid_plan,
                split=f"{self.manifest}, split {self.splits['train']!r}",
            )
            skip_trained_batches(self._resumed, self._topology, sampler, batches)
        loader = VideoLoader(
            dataset,
            sampler,
            batch_size=self.batch_size,
            drop_last=len(sampler) > self.batch_size,
            batch_sampler=batches,
            num_workers=self.loading.num_workers,
            deadline_seconds=self.loading.deadline_seconds,
            files=self.files,
        )
        return self._ready("train", loader, self._training_clips)

    def val_dataloader(self) -> VideoLoader | ReadyClips | list[VideoLoader]:
        """Return the loader of validation views, or an empty list without a validation split."""
        if self.trainer and self.train.multigrid and (loader := self.trainer.val_dataloaders) is not None:
            return loader
        return self._evaluation_loader("val") if "val" in self.splits else []

    def test_dataloader(self) -> VideoLoader | ReadyClips:
        """Return the loader of test views."""
        return self._evaluation_loader("test")

    def predict_dataloader(self) -> VideoLoader | ReadyClips:
        """Return the loader of test views, for videos that need no label."""
        return self._evaluation_loader("test", labels_required=False)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Bring a batch to the device, unless it is there already."""
        if isinstance(batch, ReadyBatch):
            return batch.take()
        return super().transfer_batch_to_device(batch, device, dataloader_idx)

    def on_after_batch_transfer(self, batch: DecodedBatch | ClipBatch, dataloader_idx: int) -> ClipBatch:  # noqa: ARG002
        """Make network input of a decoded batch, on its device."""
        trainer = self._attached_trainer
        if trainer.training:
            return self._training_clips(batch)
        return self._views("val" if trainer.validating or trainer.sanity_checking else "test", batch)

    def teardown(self, stage: str) -> None:  # noqa: ARG002
        """End the decoding processes."""
        for loader in self.loaders.values():
            loader.close()

    def on_exception(self, exception: BaseException) -> None:  # noqa: ARG002
        """End the decoding processes."""
        self.teardown("")

    # ------------------------------------------------------------------ resume

    def state_dict(self) -> dict[str, Any]:
        """Return how far training is (`videoctx.data.resume.TrainingState`)."""
        state = TrainingState(
            **training_progress(self._attached_trainer),
            train_sha256=self._train_sha256,
            multigrid=self._multigrid_plan,
            **self._topology,
        )
        return state.as_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Resume a run at the state of its checkpoint. It takes effect when the training loader is made."""
        self._resumed = TrainingState.from_dict(state_dict)

    @property
    def _topology(self) -> dict[str, int]:
        """What a resumed run must have in common with the one that stopped, to know which videos are left."""
        return {"batch_size": self.batch_size, "num_ranks": self._num_ranks, "seed": self.seed}

    @property
    def _multigrid_plan(self) -> str | None:
        """What a resumed run must have in common with the one that stopped, so that its epochs have the same steps."""
        if not self.train.multigrid:
            return None
        max_epochs = self._attached_trainer.max_epochs
        return multigrid_plan(
            self.train.multigrid, batch_size=self.batch_size, num_ranks=self._num_ranks, max_epochs=max_epochs
        )

    # ------------------------------------------------------------------ parts
    @property
    def _attached_trainer(self) -> Trainer:
        assert self.trainer is not None, "this is called by a Trainer"
        return self.trainer

    @property
    def _num_ranks(self) -> int:
        return self.trainer.world_size if self.trainer else 1

    @property
    def _rank(self) -> int:
        return self.trainer.global_rank if self.trainer else 0

    @cached_property
    def _train_dataset(self) -> VideoDataset:
        clips, decoder = self.clips.train_sampler(self.train.clips_per_video), self.loading.decoder
        frames, short = self.loading.training_frames, self.train.decoded_short_side_px
        records = fraction_of_videos(
            self._records("train"),
            self.train.video_fraction,
            class_names=self.class_names,
            multi_label=self.multi_label,
            seed=self.seed,
        )
        return VideoDataset(records, sampler=clips, seed=self.seed, decoder=decoder, frames=frames, short_side_px=short)

    def _check_classes(self) -> None:
        """Check the class names against flips, and warn of classes without training videos."""
        check_training_classes(
            self._train_dataset.records,
            self.class_names,
            split=self.splits["train"],
            flip_probability=self.train.flip_probability,
            flip_labels=self.train.flip_labels,
            warn=self._rank == 0,
        )

    def _training_clips(self, batch: DecodedBatch | ClipBatch) -> ClipBatch:
        clips = batch if isinstance(batch, ClipBatch) else self.train_transform(batch)
        self.failures.count(clips, num_videos=len(self.loaders["train"].sampler))
        return clips

    def _views(self, stage: str, batch: DecodedBatch | ClipBatch) -> ClipBatch:
        if isinstance(batch, ClipBatch):
            return batch
        return self.view_transforms[stage](batch, num_clips=self.views[stage][0])

    def _views_of(self, stage: str) -> Preprocessing:
        """Return how the clips of validation or test are made."""
        return replace(self.preprocessing, views=self.views[stage])

    def _records(self, stage: str, *, labels_required: bool = True) -> VideoRecords:
        return read_manifest(
            self.manifest,
            self.class_names,
            split=self.splits[stage],
            root=self.root,
            labels_required=labels_required,
            multi_label=self.multi_label,
        )

    def _fingerprint(self, records: Sequence[VideoRecord]) -> str:
        return fingerprint(records, self.class_names, root=str(self.root or self.manifest.parent))

    def _evaluation_loader(self, stage: str, *, labels_required: bool = True) -> VideoLoader | ReadyClips:
        loader = evaluation_loader(
            self._records(stage, labels_required=labels_required),
            self._views_of(stage),
            batch_size=self.test.batch_size,
            loading=self.loading,
            files=self.files,
            seed=self.seed,
            num_ranks=self._num_ranks,
            rank=self._rank,
        )
        return self._ready(stage, loader, partial(self._views, stage))

    def _ready(
        self, stage: str, loader: VideoLoader, transform: Callable[[DecodedBatch], ClipBatch]
    ) -> VideoLoader | ReadyClips:
        """Keep the loader. Return it for a Trainer; without one, return a loader of transformed clips."""
        self.loaders[stage] = loader
        prepare = self.train_transform.prepare if stage == "train" else transform
        use_device(self.trainer, loader, self.loading, prepare)
        return loader if self.trainer else ReadyClips(loader, transform)
