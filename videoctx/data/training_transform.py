"""The training transform that the settings of a data module describe."""

from collections.abc import Sequence

from videoctx.data.settings import ClipSettings, TrainSettings
from videoctx.data.training_labels import flipped_classes
from videoctx.data.transforms.normalize import Normalize
from videoctx.data.transforms.train_transform import TrainTransform


def training_transform(clips: ClipSettings, train: TrainSettings, class_names: Sequence[str]) -> TrainTransform:
    """Return the transform of decoded training videos to clips."""
    return TrainTransform(
        crop_size_px=train.crop_size_px,
        short_side_px=train.short_side_px,
        flip_probability=train.flip_probability,
        normalize=Normalize(clips.mean, clips.std),
        crop_area=train.crop_area,
        fixed_size_px=train.fixed_size_px,
        crop_scales=train.crop_scales,
        augment=train.augment or (),
        erasing=train.erasing,
        flipped_classes=flipped_classes(class_names) if train.flip_labels == "swap" else None,
    )
