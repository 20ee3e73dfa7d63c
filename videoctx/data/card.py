"""The data part of a result's card (`videoctx.evaluation.card`)."""

from videoctx.data.sampling.protocols import PROTOCOLS
from videoctx.data.settings import ClipSettings, TestSettings


def data_card(
    *,
    manifest: str,
    manifest_sha256: str,
    split: str,
    num_videos: int,
    clips: ClipSettings,
    decoder: str,
    seed: int,
    test: TestSettings | None = None,
    views: tuple[int, int] | None = None,
) -> dict[str, object]:
    """Return what a result stores about its data, as plain values.

    Args:
        manifest_sha256: Fingerprint of the split (`videoctx.data.fingerprint`).
        num_videos: Number of videos that the manifest lists in the split.
        test: How the views were made. None for training.
        views: Number of clips and number of crops per video. None for training.
    """
    card: dict[str, object] = {
        "manifest": manifest,
        "manifest_sha256": manifest_sha256,
        "split": split,
        "num_videos": num_videos,
        "clip_len": clips.clip_len,
        "frame_interval": clips.frame_interval,
        "short_videos": clips.short_videos,
        "decoder": decoder,
        "seed": seed,
    }
    if test is None or views is None:
        return card
    return card | {
        "protocol": test.protocol,
        "clip_placement": PROTOCOLS[test.protocol].clip_placement,
        "views": list(views),
        "short_side_px": test.short_side_px,
        "crop_size_px": test.crop_size_px,
        "mean": list(clips.mean),
        "std": list(clips.std),
    }
