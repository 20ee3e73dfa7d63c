"""The clips that a published network was trained on, from the config that is stored with it or from its file's name."""

import re

from videoctx.models.checkpoint_formats import Format

STORED = (  # clip_len and frame_interval in the configs of PySlowFast and mmaction2
    (r"\bNUM_FRAMES: (\d+)", r"\bSAMPLING_RATE: (\d+)"),
    (r"\bclip_len=(\d+)", r"\bframe_interval=(\d+)"),
)
# `8x8` in SLOW_8x8_R50.pkl, `32x2` in i3d_r50_8xb8-32x2x1-100e_kinetics400-rgb.pth; not resnext50_32x4d or 224x224
IN_NAME = re.compile(r"(?<![a-z0-9])(4|8|16|32|64)x([1-9]|1[0-6])(?:x\d+)?(?![a-z0-9])", re.IGNORECASE)


def published_clip(known: Format, config_text: str, file_name: str) -> tuple[int, int]:
    """Return clip_len and frame_interval: as stored, or as in the file's name, or as usual in the project.

    >>> from videoctx.models.checkpoint_formats import OURS
    >>> published_clip(OURS, "DATA:\\n  NUM_FRAMES: 32\\n  SAMPLING_RATE: 2\\n", "some.pth")
    (32, 2)
    >>> published_clip(OURS, "", "SLOW_4x16_R50.pkl")
    (4, 16)
    """
    for clip_len, frame_interval in STORED:
        lengths, intervals = re.search(clip_len, config_text), re.search(frame_interval, config_text)
        if lengths and intervals:
            return int(lengths[1]), int(intervals[1])
    if named := IN_NAME.search(file_name):
        return int(named[1]), int(named[2])
    return known.clip
