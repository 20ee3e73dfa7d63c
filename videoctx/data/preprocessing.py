"""Preprocessing: how the clips of a test are made, which a trained network must see again whoever feeds it.

It travels inside the checkpoint, as plain numbers and text.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from videoctx.data.sampling.clip_samplers import ClipShape, ShortVideos, UniformClips
from videoctx.data.sampling.protocols import PROTOCOLS, ProtocolName
from videoctx.data.transforms.normalize import Normalize
from videoctx.data.transforms.view_transform import ViewTransform


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """How a test makes its clips: the settings that a checkpoint stores.

    Args:
        clip_len: T, frames of a clip.
        frame_interval: distance between a clip's frames, in frames of the video.
        short_videos: what fills a clip longer than its video.
        protocol: whose clip grid, resizing and crops.
        short_side_px: short side before the crops.
        crop_size_px: side of the crops: the network's input is (3, T, side, side).
        views: clips × crops of a video.
        mean, std: of the red, green and blue channels, in [0, 1].
    """

    clip_len: int
    frame_interval: int
    short_videos: ShortVideos
    protocol: ProtocolName
    short_side_px: int
    crop_size_px: int
    views: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "Preprocessing":
        """What `as_dict` gave.

        Raises:
            ValueError: a field is missing, or one is not known.
        """
        names = {field.name for field in fields(cls)}
        if other := sorted(names ^ stored.keys()):
            raise ValueError(f"the preprocessing differs in {', '.join(other)}; expected {', '.join(sorted(names))}")
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in stored.items()})

    def as_dict(self) -> dict[str, Any]:
        """Numbers, text and lists alone, which `torch.load(weights_only=True)` and JSON read."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @property
    def shape(self) -> ClipShape:
        return ClipShape(clip_len=self.clip_len, frame_interval=self.frame_interval, short_videos=self.short_videos)

    def sampler(self, *, num_clips: int | None = None) -> UniformClips:
        """Which frames are a video's clips; by default as many clips as in the test."""
        num_clips = self.views[0] if num_clips is None else num_clips
        return UniformClips(shape=self.shape, num_clips=num_clips, grid=PROTOCOLS[self.protocol].clips)

    def transform(self, *, num_crops: int | None = None) -> ViewTransform:
        """Resizes, crops and normalizes them; by default as many crops as in the test.

        Raises:
            ValueError: the protocol has no rule for so many crops.
        """
        num_crops = self.views[1] if num_crops is None else num_crops
        PROTOCOLS[self.protocol].check(self.protocol, num_crops)
        return ViewTransform(
            crop_size_px=self.crop_size_px,
            short_side_px=self.short_side_px,
            num_crops=num_crops,
            normalize=Normalize(self.mean, self.std),
            protocol=PROTOCOLS[self.protocol],
        )
