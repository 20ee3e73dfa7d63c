"""The data part of a result's card (`videoctx.evaluation.card`)."""

from videoctx.data.preprocessing import Preprocessing
from videoctx.data.settings import ClipSettings, LoadingSettings, TrainSettings


def data_card(
    *,
    manifest: str,
    manifest_sha256: str,
    split: str,
    num_videos: int,
    clips: ClipSettings,
    train: TrainSettings,
    loading: LoadingSettings,
    seed: int,
    made: Preprocessing | None = None,
) -> dict[str, object]:
    """Return what a result stores about its data, as plain values.

    Args:
        manifest_sha256: Fingerprint of the split (`videoctx.data.fingerprint`).
        num_videos: Number of videos that the manifest lists in the split.
        clips: What a training clip is.
        train: Which training videos, and how they are decoded.
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
        "sample_range": clips.sample_range,
        "short_videos": clips.short_videos,
        "decoder": loading.decoder,
        "frames": loading.training_frames if made is None else loading.evaluation_frames,
        "seed": seed,
    }
    if made is None:
        on_gpu = 0.0 if loading.gpu_decoding is None else loading.gpu_decoding.share
        return card | {
            "video_fraction": train.video_fraction,
            "decoded_short_side_px": train.decoded_short_side_px,
            "share_decoded_on_gpu": on_gpu,
        }
    return card | made.as_dict() | {"clip_placement": made.clip_grid.placement}
