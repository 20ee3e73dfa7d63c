"""How the clips of a test are made. A checkpoint stores it, so that a trained network gets the same kind of clips."""

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any, get_args

from videoctx.data.sampling.clip_samplers import ClipShape, ShortVideos, UniformClips
from videoctx.data.sampling.frame_order import FrameOrder
from videoctx.data.sampling.grids import Grid, GridName, Sampling, find_grid
from videoctx.data.sampling.protocols import Arithmetic, HeadPooling, ProtocolName
from videoctx.data.settings import ClipSettings, TestSettings, TrainSettings
from videoctx.data.transforms.crop_corners import CropsName, check_num_crops
from videoctx.data.transforms.frame_size import LongSide
from videoctx.data.transforms.normalize import Normalize
from videoctx.data.transforms.resize import Resizing
from videoctx.data.transforms.view_transform import ViewTransform

CHOICES: dict[str, tuple[str, ...]] = {
    "sampling": get_args(Sampling),
    "grid": get_args(GridName),
    "protocol": get_args(ProtocolName),
    "long_side": get_args(LongSide),
    "arithmetic": get_args(Arithmetic),
    "crops": get_args(CropsName),
    "head_pooling": get_args(HeadPooling),
    "frame_order": get_args(FrameOrder),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """How a test makes its clips: every option with the value in effect, whether a protocol or a person has set it.

    Args:
        clip_len: Number of frames T of a clip.
        frame_interval: Distance between consecutive frames of a dense clip, in frames of the video or at `target_fps`.
        sampling: What a clip is: dense, or one frame of each of T parts, or evenly spaced frames of the whole video.
        grid: Whose formula chooses the frames (`videoctx.data.sampling.grids`).
        target_fps: Frames per second at which `frame_interval` counts. None: frames of the video.
        sample_range: Frames that are left where the last clip starts, if not clip_len · frame_interval.
        short_videos: What fills a clip that is longer than its video.
        protocol: Protocol that the options come from, as far as they are not set on their own.
        short_side_px: Short side that frames are resized to before the crops.
        fixed_size_px: Height and width that frames are resized to instead. None: by the short side.
        long_side: How the long side follows from the short one.
        antialias: Whether frames are filtered before they are shrunk.
        arithmetic: Whether frames are resized as bytes, in floats, or in floats that are then rounded.
        crop_size_px: Side of the square crops. The network's input is (3, T, crop_size_px, crop_size_px).
        crops: Where the crops lie.
        head_pooling: What of the last feature map is classified (`videoctx.models.test_head`).
        views: Number of clips and number of crops per video.
        mean: Mean of the red, green and blue channels, in [0, 1].
        std: Standard deviation of the red, green and blue channels, in [0, 1].
        train_crop_size_px: Side of the training crops, which the head pooling may depend on. None: they differ, as in
            the short cycle of multigrid training.
        frame_order: Order in which the network sees the frames of a clip (`videoctx.data.sampling.frame_order`). In a
            checkpoint it is `recorded`.

    Raises:
        ValueError: A value is out of its range, or options exclude each other.

    >>> test = TestSettings(protocol="pyslowfast", crop_size_px=224, crops="even")
    >>> preprocessing = Preprocessing.from_settings(ClipSettings(clip_len=8, frame_interval=8), test)
    >>> preprocessing.sampler().num_clips, preprocessing.target_fps, preprocessing.crops, preprocessing.head_pooling
    (10, 30, 'even', 'train_crop_windows')
    """

    clip_len: int
    frame_interval: int
    sampling: Sampling
    grid: GridName
    target_fps: float | None
    short_videos: ShortVideos
    protocol: ProtocolName
    short_side_px: int
    fixed_size_px: tuple[int, int] | None
    long_side: LongSide
    antialias: bool
    arithmetic: Arithmetic
    crop_size_px: int
    crops: CropsName
    head_pooling: HeadPooling
    views: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    train_crop_size_px: int | None = 224
    frame_order: FrameOrder = "recorded"
    sample_range: int | None = None

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} is {getattr(self, name)!r}; expected one of {', '.join(choices)}")
        if self.frame_order != "recorded" and self.clip_len == 1:
            raise ValueError(
                f"test.frame_order is {self.frame_order!r} with clips.clip_len 1; expected 'recorded': one frame has no"
                " order"
            )
        self._check_num_clips(self.views[0])

    @classmethod
    def from_settings(
        cls, clips: ClipSettings, test: TestSettings, train: TrainSettings | None = None
    ) -> "Preprocessing":
        """Return how a data module with these settings makes the clips of its test.

        Args:
            clips: Of training and test.
            test: Of the test.
            train: Of the training. None: the usual ones.

        Raises:
            ValueError: The protocol's grid has no formula for the sampling, or not for as many clips.
        """
        rules = test.rules
        grid = clips.grid or rules.grid
        return cls(
            clip_len=clips.clip_len,
            frame_interval=clips.frame_interval,
            sampling=clips.sampling,
            grid=grid,
            target_fps=clips.target_fps or find_grid(clips.sampling, grid).target_fps,
            short_videos=clips.short_videos,
            protocol=test.protocol,
            short_side_px=test.short_side_px,
            fixed_size_px=test.fixed_size_px,
            long_side=rules.long_side,
            antialias=rules.antialias,
            arithmetic=rules.arithmetic,
            crop_size_px=test.crop_size_px,
            crops=rules.crops,
            head_pooling=rules.head_pooling,
            views=test.views,
            mean=clips.mean,
            std=clips.std,
            train_crop_size_px=_train_crop(train or TrainSettings()),
            frame_order=test.frame_order,
            sample_range=clips.sample_range,
        )

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "Preprocessing":
        """Read what `as_dict` returned.

        Raises:
            ValueError: A field without a default is missing, a field is unknown, or a value is out of its range.
        """
        names = {field.name for field in fields(cls)}
        required = {field.name for field in fields(cls) if field.default is MISSING}
        if other := sorted((stored.keys() - names) | (required - stored.keys())):
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
        return ClipShape(
            clip_len=self.clip_len,
            frame_interval=self.frame_interval,
            short_videos=self.short_videos,
            target_fps=self.target_fps,
            sample_range=self.sample_range,
        )

    @property
    def described_clips(self) -> str:
        """The clips in words, such as 8x8 or 8-segment."""
        if self.sampling == "dense":
            return f"{self.clip_len}x{self.frame_interval}"
        return f"{self.clip_len}-segment" if self.sampling == "segments" else f"{self.clip_len}-frame uniform"

    @property
    def clip_grid(self) -> Grid:
        """The formulas that choose the frames of clips."""
        return find_grid(self.sampling, self.grid, target_fps=self.target_fps, sample_range=self.sample_range)

    @property
    def resizing(self) -> Resizing:
        """How frames are resized before the crops."""
        return Resizing(
            short_side_px=self.short_side_px,
            fixed_size_px=self.fixed_size_px,
            long_side=self.long_side,
            antialias=self.antialias,
            arithmetic=self.arithmetic,
        )

    def sampler(self, *, num_clips: int | None = None) -> UniformClips:
        """Return the sampler of a video's clips. By default it gives as many clips as the test.

        Raises:
            ValueError: The grid does not have as many different clips.
        """
        num_clips = self.views[0] if num_clips is None else num_clips
        self._check_num_clips(num_clips)
        grid = self.clip_grid.test
        return UniformClips(shape=self.shape, num_clips=num_clips, grid=grid, frame_order=self.frame_order)

    def transform(self, *, num_crops: int | None = None) -> ViewTransform:
        """Return the transform of decoded clips to network input. By default it takes as many crops as the test.

        Raises:
            ValueError: There is no rule for this number of crops.
        """
        num_crops = self.views[1] if num_crops is None else num_crops
        check_num_crops(self.crops, num_crops)
        return ViewTransform(
            crop_size_px=self.crop_size_px,
            resizing=self.resizing,
            num_crops=num_crops,
            normalize=Normalize(self.mean, self.std),
            crops=self.crops,
        )

    def _check_num_clips(self, num_clips: int) -> None:
        most = self.clip_grid.max_clips
        if most and num_clips > most:
            raise ValueError(
                f"{num_clips} clips per video; expected {'1' if most == 1 else f'1 to {most}'} with clips.sampling"
                f" {self.sampling}, clips.grid {self.grid}, whose formula has no others"
            )


def _train_crop(train: TrainSettings) -> int | None:
    return None if train.multigrid and train.multigrid.short_factors else train.crop_size_px
