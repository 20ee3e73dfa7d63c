"""How the clips of a published network's test are made: as stored beside the weights, or as in the project."""

import sys
from dataclasses import replace
from typing import cast, get_args

from videoctx.data.preprocessing import Preprocessing
from videoctx.data.sampling.grids import GRIDS, GridName, Sampling
from videoctx.data.sampling.protocols import PROTOCOLS, HeadPooling, ProtocolName
from videoctx.data.settings import ClipSettings, TestSettings
from videoctx.models.checkpoint_formats import IMAGENET
from videoctx.models.checkpoints import Checkpoint
from videoctx.models.family_formats import FamilyFormat
from videoctx.models.published_clip import PublishedClip, published_clip, published_train_crop
from videoctx.models.published_test import published_test

# Protocol → the grid of its dense clips that are placed by a range of frames.
RANGE_GRIDS: dict[ProtocolName, GridName] = {"mmaction2": "mmaction2_dense", "tsm": "tsm"}

# Short side, crop size and views of the projects' own tests (`videoctx.data.sampling.protocols`).
USUAL_TEST: dict[ProtocolName, tuple[int, int, tuple[int, int]]] = {"torchvision": (128, 112, (5, 1))}
OTHERWISE = (256, 256, (10, 3))


def published_preprocessing(
    checkpoint: Checkpoint,
    file_name: str,
    protocol: str | None = None,
    clip_len: int | None = None,
    frame_interval: int | None = None,
    sampling: str | None = None,
) -> Preprocessing:
    """Return how the clips of a test are made: as stored or as in the project, and then as given.

    Args:
        checkpoint: The weights and what is stored beside them.
        file_name: Name of the file, which may tell the clips.
        protocol: As for `convert_checkpoint`, and so for the others.

    Raises:
        ValueError: An option has no such value, or the protocol has no formula for the sampling.
    """
    for name, given, accepted in (("protocol", protocol, get_args(ProtocolName)), ("sampling", sampling, GRIDS)):
        if given not in (None, *accepted):
            raise ValueError(f"{name} is {given!r}; expected one of {', '.join(accepted)}")
    for name, value in (("clip_len", clip_len), ("frame_interval", frame_interval)):
        if value is not None and value < 1:
            raise ValueError(f"{name} is {value}; expected 1 or more")
    stored = Preprocessing.from_dict(checkpoint.preprocessing) if checkpoint.preprocessing else None
    if stored and protocol in (None, stored.protocol) and sampling in (None, stored.sampling):
        made = stored
    else:
        made = _of_protocol(checkpoint, file_name, stored, cast(ProtocolName, protocol), cast(Sampling, sampling))
    return replace(
        made, clip_len=int(clip_len or made.clip_len), frame_interval=int(frame_interval or made.frame_interval)
    )


def _of_protocol(
    checkpoint: Checkpoint,
    file_name: str,
    stored: Preprocessing | None,
    protocol: ProtocolName | None,
    sampling: Sampling | None,
) -> Preprocessing:
    """Return the clips of a project's test. What is stored decides of them what the test does not."""
    known = checkpoint.format
    published = known, checkpoint.config_text, file_name, checkpoint.net
    clip, own = published_clip(*published), published_test(*published)
    protocol = protocol or (stored.protocol if stored else cast(ProtocolName, known.protocol))
    sampling = sampling or (stored.sampling if stored else cast(Sampling, clip.sampling))
    most_clips = _most_clips(protocol, sampling)
    short_side_px, crop_size_px, views = USUAL_TEST.get(protocol, OTHERWISE)
    if sampling != "dense":  # the clips of a test cover the whole video, all of them
        views = most_clips or 1, views[1]
    if protocol == known.protocol and sampling == clip.sampling:
        views = min(own.num_clips or views[0], most_clips or sys.maxsize), own.num_crops or views[1]
    own_head = known.head_pooling if isinstance(known, FamilyFormat) and protocol == known.protocol else None
    test = TestSettings(
        protocol=protocol,
        short_side_px=own.short_side_px or short_side_px,
        crop_size_px=own.crop_size_px or crop_size_px,
        views=views,
        head_pooling=cast(HeadPooling | None, own_head),  # the table's own values
    )
    target_fps = own.target_fps if sampling == "dense" else None
    if stored:
        clips = ClipSettings(
            clip_len=stored.clip_len,
            frame_interval=stored.frame_interval,
            sampling=sampling,
            target_fps=target_fps,
            short_videos=stored.short_videos,
            mean=stored.mean,
            std=stored.std,
        )
    else:
        clips = replace(_published_clips(checkpoint, clip, protocol, sampling), target_fps=target_fps)
    crop = stored.train_crop_size_px if stored else published_train_crop(*published)
    return replace(Preprocessing.from_settings(clips, test), train_crop_size_px=crop)


def _most_clips(protocol: ProtocolName, sampling: Sampling) -> int | None:
    """Return the number of different clips in a test. None: any number.

    Raises:
        ValueError: The protocol has no such clips.
    """
    if (grid := GRIDS[sampling].get(PROTOCOLS[protocol].grid)) is not None:
        return grid.max_clips
    others = [name for name, rules in PROTOCOLS.items() if rules.grid in GRIDS[sampling]]
    raise ValueError(f"protocol {protocol} has no sampling {sampling}; expected protocol {' or '.join(others)}")


def _published_clips(
    checkpoint: Checkpoint, clip: PublishedClip, protocol: ProtocolName, sampling: Sampling
) -> ClipSettings:
    range_grid = RANGE_GRIDS.get(protocol) if sampling == "dense" and clip.is_dense_range else None
    mean, std = checkpoint.input or IMAGENET
    return ClipSettings(
        clip_len=clip.clip_len,
        frame_interval=clip.frame_interval,
        sampling=sampling,
        grid=range_grid,
        sample_range=clip.sample_range if range_grid else None,
        mean=mean,
        std=std,
    )
