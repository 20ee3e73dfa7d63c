"""The data part of a result's card (`videoctx.evaluation.card`)."""

from videoctx.data.preprocessing import Preprocessing
from videoctx.data.settings import ClipSettings, LoadingSettings


def data_card(
    *,
    manifest: str,
    manifest_sha256: str,
    split: str,
    num_videos: int,
    clips: ClipSettings,
    loading: LoadingSettings,
    seed: int,
    made: Preprocessing | None = None,
) -> dict[str, object]:
    """Return what a result stores about its data, as plain values.

    Args:
        manifest_sha256: Fingerprint of the split (`videoctx.data.fingerprint`).
        num_videos: Number of videos that the manifest lists in the split.
        clips: What a training clip is.
        loading: How the videos are decoded.
        made: How the views were made. None for training.
    """
    card: dict[str, object] = {
        "manifest": manifest,
        "manifest_sha256": manifest_sha256,
        "split": split,
        "num_videos": num_videos,
        "clip_len": clips.clip_len,
        "frame_interval": clips.frame_interval,
        "sampling": clips.sampling,
        "grid": clips.grid or "videoctx",
        "target_fps": clips.target_fps,
        "short_videos": clips.short_videos,
        "decoder": loading.decoder,
        "frames": loading.training_frames if made is None else loading.evaluation_frames,
        "seed": seed,
    }
    if made is None:
        return card
    return card | made.as_dict() | {"clip_placement": made.clip_grid.placement}
