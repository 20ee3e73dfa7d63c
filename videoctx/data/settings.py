"""The settings of `VideoDataModule`, in groups: clips, training, test, loading and storage.

Each group is a frozen dataclass that checks its own values. In YAML and on the command line a group is a key of
`data`: `--data.train.crop_size_px 64`. They have no slots, because jsonargparse reads defaults with `vars`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import get_args

from torch import nn

from videoctx.data.decoding.video_reader import Decoder
from videoctx.data.decoding.yuv_frames import FrameFormat, check_frame_format
from videoctx.data.sampling.clip_samplers import ClipShape, RandomClips, ShortVideos
from videoctx.data.sampling.frame_order import FrameOrder
from videoctx.data.sampling.grids import Grid, GridName, Sampling, find_grid
from videoctx.data.sampling.multigrid import Multigrid
from videoctx.data.sampling.protocols import PROTOCOLS, Arithmetic, HeadPooling, Protocol, ProtocolName
from videoctx.data.sampling.video_samplers import OrderName
from videoctx.data.training_labels import FlipLabels
from videoctx.data.transforms.crop_corners import CropsName, check_num_crops
from videoctx.data.transforms.frame_size import LongSide
from videoctx.data.transforms.normalize import IMAGENET_MEAN, IMAGENET_STD, check_colors
from videoctx.data.transforms.train_transform import check_train_crop
from videoctx.data.transforms.view_transform import check_view_crop

CHOICES = {  # of the options of a test that have names
    "long_side": get_args(LongSide),
    "arithmetic": get_args(Arithmetic),
    "crops": get_args(CropsName),
    "head_pooling": get_args(HeadPooling),
}
SET_ALONE = ("antialias", *CHOICES)  # instead of the protocol


@dataclass(frozen=True, kw_only=True)
class ClipSettings:
    """What a clip is, in training and evaluation.

    Args:
        clip_len: Number of frames T of a clip.
        frame_interval: Distance between consecutive frames of a dense clip, in frames of the video, or in frames at
            `target_fps`. With other sampling, it is that of the clips of a timeline or a live source.
        sampling: What a clip is: T frames, `frame_interval` apart (`dense`), one frame of each of T equal parts of the
            video, random in training (`segments`), or T evenly spaced frames of the whole video (`uniform`).
        grid: Whose formula chooses the frames, in training and test (`videoctx.data.sampling.grids`). None: this
            package's in training, and in test that of `test.protocol`.
        target_fps: Frame rate at which `frame_interval` counts. None: frames of the video in training, and in test as
            the grid does.
        sample_range: With the grids `mmaction2_dense` and `tsm`, clips start where so many frames of the video are
            left: 64 in these projects. None: clip_len · frame_interval.
        short_videos: What fills a clip that is longer than its video: the video again (`wrap`), its last frame
            (`repeat_last`), or an error (`refuse`). Grids of other projects have rules of their own.
        mean: Mean of the red, green and blue channels, in [0, 1].
        std: Standard deviation of the red, green and blue channels, in [0, 1].

    Raises:
        ValueError: A value is out of its range.

    >>> ClipSettings(clip_len=16, frame_interval=4).shape.span()
    61
    """

    clip_len: int = 8
    frame_interval: int = 8
    sampling: Sampling = "dense"
    grid: GridName | None = None
    target_fps: float | None = None
    sample_range: int | None = None
    short_videos: ShortVideos = "wrap"
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def __post_init__(self) -> None:
        _ = self.shape
        _check_choice("clips.sampling", self.sampling, get_args(Sampling))
        _check_choice("clips.grid", self.grid or "videoctx", get_args(GridName))
        _ = self.train_grid
        check_colors(self.mean, self.std)

    @property
    def shape(self) -> ClipShape:
        """The shape of a training clip in time."""
        return ClipShape(
            clip_len=self.clip_len,
            frame_interval=self.frame_interval,
            short_videos=self.short_videos,
            target_fps=self.target_fps,
            sample_range=self.sample_range,
        )

    @property
    def train_grid(self) -> Grid:
        """The formulas of training clips."""
        return find_grid(
            self.sampling, self.grid or "videoctx", target_fps=self.target_fps, sample_range=self.sample_range
        )

    def train_sampler(self, clips_per_video: int) -> RandomClips:
        """Return the sampler of a training video's clips."""
        return RandomClips(shape=self.shape, num_clips=clips_per_video, grid=self.train_grid.train)


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """How training clips are cropped and augmented, and in which order their videos come.

    Args:
        crop_size_px: Side of the square training crop.
        short_side_px: Smallest and largest short side that frames are resized to before the crop.
        fixed_size_px: Used instead of `short_side_px` if given: height and width that frames are resized to before the
            crop, whatever their aspect ratio.
        decoded_short_side_px: Short side that larger frames are scaled to where they are decoded, by the mean of the
            area that a pixel covers: less time and memory for 1080p and 4K, and slightly other pixels. None: frames
            come in their own size, as they do where the GPU decodes.
        crop_area: Used instead of `short_side_px` if given: smallest and largest fraction of a frame's area that the
            crop covers. The aspect ratio of the crop is between 3:4 and 4:3 before it is resized to a square.
        crop_scales: Used instead of `short_side_px` if given: height and width of the crop, relative to the short side
            of the frame, two neighbors of these, at one of 13 places (the multi-scale crops of TSN and TSM, such as
            [1, 0.875, 0.75, 0.66]).
        flip_probability: Probability of the horizontal flip. Set it to 0 if left and right distinguish classes.
        flip_labels: What happens if a flip turns one class into another, such as "turn left" into "turn right":
            `refuse` raises an error, `swap` trains flipped clips with the other class.
        augment: Further transforms of a training clip, (T, 3, H, W) uint8, in order, such as
            `torchvision.transforms.v2.RandAugment`. All frames of a clip get the same random parameters.
        erasing: Transform of the normalized training clip, such as `torchvision.transforms.v2.RandomErasing`.
        video_fraction: Fraction of the training videos that are trained on, the same of every class. With one seed, the
            videos of a smaller fraction are among those of a larger one.
        clips_per_video: Number of training clips per decoded video, each augmented independently.
        order: Order of the videos in an epoch: every video once (`shuffled`), or as many samples with replacement,
            with equal probability per class (`class_balanced`) or in proportion to the manifest's `weight`
            (`weighted`).
        shuffle_buffer: Number of videos among which the next one is sampled if the videos lie in shards, which are
            read one after another.
        multigrid: Train on batches of more, shorter and smaller clips first. The full shape is that of `batch_size`,
            `clip_len` and `crop_size_px` (see `videoctx.data.sampling.multigrid`).
        max_failed_fraction: Fraction of the training videos that may be unreadable before the run ends.

    Raises:
        ValueError: A value is out of its range.

    >>> TrainSettings(crop_size_px=300)
    Traceback (most recent call last):
    ...
    ValueError: train.short_side_px is 256 to 320 with crop_size_px 300; expected crop_size_px <= least <= greatest
    """

    crop_size_px: int = 224
    short_side_px: tuple[int, int] = (256, 320)
    fixed_size_px: tuple[int, int] | None = None
    decoded_short_side_px: int | None = None
    crop_area: tuple[float, float] | None = None
    crop_scales: list[float] | None = None
    flip_probability: float = 0.5
    flip_labels: FlipLabels = "refuse"
    augment: list[nn.Module] | None = None
    erasing: nn.Module | None = None
    video_fraction: float = 1.0
    clips_per_video: int = 1
    order: OrderName = "shuffled"
    shuffle_buffer: int = 1000
    multigrid: Multigrid | None = None
    max_failed_fraction: float = 0.01

    def __post_init__(self) -> None:
        check_train_crop(self.crop_size_px, self.short_side_px, self.crop_area, self.fixed_size_px, self.crop_scales)
        if self.decoded_short_side_px is not None and self.decoded_short_side_px < self._needed_px:
            raise ValueError(
                f"train.decoded_short_side_px is {self.decoded_short_side_px}; expected {self._needed_px} or more,"
                " which the crops need, or null"
            )
        _check_fraction("train.flip_probability", self.flip_probability)
        _check_choice("train.flip_labels", self.flip_labels, get_args(FlipLabels))
        if not 0 < self.video_fraction <= 1:
            raise ValueError(f"train.video_fraction is {self.video_fraction}; expected more than 0, up to 1")
        _check_at_least_one("train.clips_per_video", self.clips_per_video)
        _check_choice("train.order", self.order, get_args(OrderName))
        _check_at_least_one("train.shuffle_buffer", self.shuffle_buffer)
        _check_fraction("train.max_failed_fraction", self.max_failed_fraction)

    @property
    def _needed_px(self) -> int:
        """The short side of frames that are not enlarged for a crop of all that it may cover."""
        if self.crop_area or self.crop_scales:
            return self.crop_size_px
        return min(self.fixed_size_px) if self.fixed_size_px else self.short_side_px[1]


@dataclass(frozen=True, kw_only=True)
class TestSettings:
    """Which views of a video are evaluated in validation and test.

    Args:
        views: Number of clips and number of crops per test video. 10 × 3 is the usual protocol.
        val_views: Number of clips and number of crops per validation video.
        protocol: Project whose options validation and test follow: this package's own, or that of the project which
            imported weights come from, to reproduce its results (see `videoctx.data.sampling.protocols`). It stands
            for the five options after `fixed_size_px` and for `clips.grid`, each of which can be set on its own.
        crop_size_px: Side of the square crops.
        short_side_px: Short side that frames are resized to before the crops.
        fixed_size_px: Used instead of `short_side_px` if given: height and width that frames are resized to before the
            crops, whatever their aspect ratio, such as [128, 171].
        long_side: How the long side of a resized frame follows from the short one
            (`videoctx.data.transforms.frame_size`). None: as in the protocol, and so for the next ones.
        antialias: Whether frames are filtered before they are shrunk.
        arithmetic: Whether frames are resized as bytes, or in floats (`float`), or in floats that are then rounded to
            bytes (`rounded`).
        crops: Where the crops lie (`videoctx.data.transforms.crop_corners`).
        head_pooling: What of the last feature map is classified: the whole map, or windows of 7 × 7 positions, of
            which probabilities or logits are averaged, or windows as large as the map of a training crop
            (`videoctx.models.test_head`).
        frame_order: Order in which the network sees the frames of a clip, a control of what time is worth: as
            `recorded`, `reversed`, `shuffled` (by a permutation per video and clip that follows from the seed), or
            `still`, the middle frame of the clip at every place.
        batch_size: Number of videos per step and device. All of their views go through the network.

    Raises:
        ValueError: A value is out of its range.

    >>> TestSettings(views=(5, 3), crop_size_px=112, short_side_px=128).views
    (5, 3)
    """

    __test__ = False  # pytest takes a class of this name for tests

    views: tuple[int, int] = (10, 3)
    val_views: tuple[int, int] = (1, 1)
    protocol: ProtocolName = "videoctx"
    crop_size_px: int = 256
    short_side_px: int = 256
    fixed_size_px: tuple[int, int] | None = None
    long_side: LongSide | None = None
    antialias: bool | None = None
    arithmetic: Arithmetic | None = None
    crops: CropsName | None = None
    head_pooling: HeadPooling | None = None
    frame_order: FrameOrder = "recorded"
    batch_size: int = 1

    def __post_init__(self) -> None:
        for name, views in (("test.views", self.views), ("test.val_views", self.val_views)):
            if min(views) < 1:
                raise ValueError(f"{name} is {list(views)}; expected clips and crops, each 1 or more")
        _check_choice("test.protocol", self.protocol, get_args(ProtocolName))
        for name, choices in CHOICES.items():
            if (value := getattr(self, name)) is not None:
                _check_choice(f"test.{name}", value, choices)
        _check_choice("test.frame_order", self.frame_order, get_args(FrameOrder))
        check_num_crops(self.rules.crops, self.views[1])
        check_view_crop(self.crop_size_px, self.short_side_px, self.fixed_size_px)
        _check_at_least_one("test.batch_size", self.batch_size)

    @property
    def rules(self) -> Protocol:
        """The protocol, with the options that are set on their own."""
        given = {name: value for name in SET_ALONE if (value := getattr(self, name)) is not None}
        return replace(PROTOCOLS[self.protocol], **given)


@dataclass(frozen=True, kw_only=True)
class GpuDecodingSettings:
    """How a part of the videos is decoded on the GPU, by its video engine (NVDEC). This has not run on a GPU yet.

    It needs torchcodec 0.17 or newer. What the GPU does not decode, such as rotated videos and codecs that it does not
    know, the decoding processes do.

    Args:
        share: Share of the videos that are decoded on the GPU.
        num_threads: Number of threads that read files for it. More can be slower, as FFmpeg opens codecs one by one.
        num_decoders: Number of decoders that are kept for the next video or epoch, of files and of the hardware each.

    Raises:
        ValueError: A value is out of its range.

    >>> GpuDecodingSettings(share=0.25).num_threads
    3
    """

    share: float = 0.5
    num_threads: int = 3
    num_decoders: int = 32

    def __post_init__(self) -> None:
        _check_fraction("loading.gpu_decoding.share", self.share)
        _check_at_least_one("loading.gpu_decoding.num_threads", self.num_threads)
        _check_at_least_one("loading.gpu_decoding.num_decoders", self.num_decoders)


@dataclass(frozen=True, kw_only=True)
class LoadingSettings:
    """Which processes decode videos, and how.

    Args:
        num_workers: Number of decoding processes per device. With 0, videos are decoded between the steps and without
            a deadline.
        decoder: Decoding library. `auto` takes the fastest one that decodes the file exactly.
        frames: Format of the frames on their way to the device. `yuv` takes half the memory of `rgb` and is converted
            there, to the same pixels. Videos of which this is not true come as RGB. None: `yuv` in training, `rgb` in
            validation and test.
        deadline_seconds: Time limit for decoding one video. A video that exceeds it counts as failed, its process is
            replaced, and the video is not tried again.
        ahead: Transfer the next batch and make its clips while a step runs: in a thread, on a GPU on a stream of its
            own. With `train.augment` or `train.erasing`, the training clips are made between the steps. None: on a GPU.
        gpu_decoding: Decode a part of the videos on the GPU. None: all are decoded on the CPU.

    Raises:
        ValueError: A value is out of its range.

    >>> LoadingSettings(num_workers=-1)
    Traceback (most recent call last):
    ...
    ValueError: loading.num_workers is -1; expected 0 or more
    """

    num_workers: int = 4
    decoder: Decoder = "auto"
    frames: FrameFormat | None = None
    deadline_seconds: float = 30.0
    ahead: bool | None = None
    gpu_decoding: GpuDecodingSettings | None = None

    def __post_init__(self) -> None:
        if self.num_workers < 0:
            raise ValueError(f"loading.num_workers is {self.num_workers}; expected 0 or more")
        _check_choice("loading.decoder", self.decoder, get_args(Decoder))
        if self.frames is not None:
            check_frame_format("loading.frames", self.frames)
        _check_above_zero("loading.deadline_seconds", self.deadline_seconds)

    @property
    def training_frames(self) -> FrameFormat:
        """Format of training frames."""
        return self.frames or "yuv"

    @property
    def evaluation_frames(self) -> FrameFormat:
        """Format of frames in validation and test."""
        return self.frames or "rgb"


@dataclass(frozen=True, kw_only=True)
class StorageSettings:
    """Where remote files are cached.

    Args:
        cache_dir: Folder on a local disk for files fetched from a URL, which only this user may write to. By default it
            is `videoctx-UID` in the system's folder for temporary files.
        cache_bytes: Maximum size of the cache. The least recently used files are removed first.

    Raises:
        ValueError: A value is out of its range.

    >>> StorageSettings(cache_bytes=10e9).cache_bytes
    10000000000.0
    """

    cache_dir: str | None = None
    cache_bytes: float = 50e9

    def __post_init__(self) -> None:
        _check_above_zero("storage.cache_bytes", self.cache_bytes)


def _check_at_least_one(name: str, value: int) -> None:
    if value < 1:
        raise ValueError(f"{name} is {value}; expected 1 or more")


def _check_above_zero(name: str, value: float) -> None:
    if not value > 0:
        raise ValueError(f"{name} is {value}; expected more than 0")


def _check_fraction(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{name} is {value}; expected 0 to 1")


def _check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ValueError(f"{name} is {value!r}; expected one of {', '.join(choices)}")
