"""How the clips of a test are made. A checkpoint stores it, so that a trained network gets the same kind of clips."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from videoctx.data.sampling.clip_samplers import ClipShape, ShortVideos, UniformClips
from videoctx.data.sampling.protocols import PROTOCOLS, ProtocolName
from videoctx.data.settings import ClipSettings, TestSettings
from videoctx.data.transforms.normalize import Normalize
from videoctx.data.transforms.view_transform import ViewTransform


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """How a test makes its clips.

    Args:
        clip_len: Number of frames T of a clip.
        frame_interval: Distance between consecutive frames of a clip, in frames of the video.
        short_videos: What fills a clip that is longer than its video.
        protocol: Project whose clip placement, resizing and crops are used (`videoctx.data.sampling.protocols`).
        short_side_px: Short side that frames are resized to before the crops.
        crop_size_px: Side of the square crops. The network's input is (3, T, crop_size_px, crop_size_px).
        views: Number of clips and number of crops per video.
        mean: Mean of the red, green and blue channels, in [0, 1].
        std: Standard deviation of the red, green and blue channels, in [0, 1].

    >>> clips = {"clip_len": 8, "frame_interval": 8, "short_videos": "wrap", "mean": (0.5,) * 3, "std": (0.5,) * 3}
    >>> preprocessing = Preprocessing(**clips, protocol="videoctx", short_side_px=256, crop_size_px=224, views=(10, 3))
    >>> preprocessing.sampler().num_clips
    10
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
    def from_settings(cls, clips: ClipSettings, test: TestSettings) -> "Preprocessing":
        """Return how a data module with these settings makes the clips of its test."""
        return cls(
            clip_len=clips.clip_len,
            frame_interval=clips.frame_interval,
            short_videos=clips.short_videos,
            protocol=test.protocol,
            short_side_px=test.short_side_px,
            crop_size_px=test.crop_size_px,
            views=test.views,
            mean=clips.mean,
            std=clips.std,
        )

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "Preprocessing":
        """Read what `as_dict` returned.

        Raises:
            ValueError: A field is missing, or a field is unknown.
        """
        names = {field.name for field in fields(cls)}
        if other := sorted(names ^ stored.keys()):
            raise ValueError(f"the preprocessing differs in {', '.join(other)}; expected {', '.join(sorted(names))}")
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in stored.items()
        }
        return cls(**values)

    def as_dict(self) -> dict[str, Any]:
        """Return numbers, strings and lists, which JSON and `torch.load(weights_only=True)` can read."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @property
    def shape(self) -> ClipShape:
        """The shape of a clip in time."""
        return ClipShape(clip_len=self.clip_len, frame_interval=self.frame_interval, short_videos=self.short_videos)

    def sampler(self, *, num_clips: int | None = None) -> UniformClips:
        """Return the sampler of a video's clips. By default it gives as many clips as the test."""
        num_clips = self.views[0] if num_clips is None else num_clips
        return UniformClips(shape=self.shape, num_clips=num_clips, grid=PROTOCOLS[self.protocol].clips)

    def transform(self, *, num_crops: int | None = None) -> ViewTransform:
        """Return the transform of decoded clips to network input. By default it takes as many crops as the test.

        Raises:
            ValueError: The protocol has no rule for this number of crops.
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
