"""The features of many videos: those of a manifest, of folders, or single ones."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from videoctx.batch import View
from videoctx.data.annotations import LABEL_SEPARATOR, AnnotationError, VideoRecord, read_manifest, read_table
from videoctx.data.loading.evaluation_loader import evaluation_loader
from videoctx.data.settings import LoadingSettings
from videoctx.data.storage.local_files import LocalFiles
from videoctx.evaluation.feature_file import VideoFeatures
from videoctx.evaluation.view_scores import NOT_FINITE
from videoctx.evaluation.view_subset import Views
from videoctx.inference.classifier import Classifier
from videoctx.inference.layer_outputs import clip_vectors
from videoctx.inference.video_paths import video_paths

MANIFEST_SUFFIX = ".csv"


class ListedVideo(NamedTuple):
    """A video, and what the manifest tells about it. Empty: nothing."""

    record: VideoRecord
    label: str = ""
    split: str = ""
    group: str = ""


def listed_videos(sources: Sequence[str], *, splits: Sequence[str] = (), fps: float | None = None) -> list[ListedVideo]:
    """Return the videos of a manifest (`*.csv`), or of files, folders and URLs.

    Args:
        splits: Of the manifest, in this order. Empty: all, as they come in the file.
        fps: Frames per second of images without a manifest.

    Raises:
        ValueError: There is no such file or split, a folder has no video, or splits are given without a manifest.
        AnnotationError: The manifest is not accepted.
    """
    manifests = [source for source in sources if source.lower().endswith(MANIFEST_SUFFIX)]
    if manifests:
        if len(sources) > 1:
            raise ValueError(f"{manifests[0]} is a manifest, which is the only source; got {len(sources)}")
        return _of_manifest(Path(manifests[0]), splits)
    if splits:
        raise ValueError(f"splits ({', '.join(splits)}) are those of a manifest; expected one as the source")
    paths = dict.fromkeys(path for source in sources for path in video_paths(source))
    return [ListedVideo(VideoRecord(path, None, "", fps=fps)) for path in paths]


def _of_manifest(manifest: Path, splits: Sequence[str]) -> list[ListedVideo]:
    table = read_table(manifest)
    cells = {name: table.rows.cells[name].to_pylist() for name in table.columns if name in ("label", "split", "group")}
    known = dict.fromkeys(cells["split"])
    for split in splits:
        if split not in known:
            raise AnnotationError(f"{manifest}: no row has split {split!r}; its splits are {', '.join(sorted(known))}")
    multi_label = any(LABEL_SEPARATOR in label for label in cells["label"])
    # The labels stay as they are, so no class file is needed.
    names = sorted({name for label in cells["label"] for name in label.split(LABEL_SEPARATOR) if name})
    videos = []
    for split in dict.fromkeys(splits or known):
        rows = [row for row, of_row in enumerate(cells["split"]) if of_row == split]
        records = read_manifest(manifest, names, split=split, labels_required=False, multi_label=multi_label)
        groups = cells.get("group", [""] * len(cells["split"]))
        for row, record in zip(rows, records, strict=True):
            videos.append(ListedVideo(record, cells["label"][row], split, groups[row]))
    return videos


def extract_features(
    model: Classifier,
    videos: Sequence[ListedVideo],
    *,
    layer: str | None = None,
    views: str | tuple[int, int] | None = None,
    per_view: bool = False,
    num_workers: int = 0,
    files: LocalFiles | None = None,
) -> Iterator[VideoFeatures]:
    """Yield the features of each video, in order. The vectors are those of `Classifier.features`.

    Args:
        layer: Of the network, as in `Classifier.features`.
        views: Clips × crops. None: those of the network's test.
        per_view: A vector per view. Otherwise there is one per video, the mean over its views.
        num_workers: Decoding processes.

    Raises:
        ValueError: The network has no such layer, or the test has no rule for so many clips or crops.
    """
    chosen = model.chosen_views(views)
    with clip_vectors(model.net, layer):
        pass  # checks the layer before videos are read
    loader = evaluation_loader(
        [video.record for video in videos],
        replace(model.preprocessing, views=(chosen.num_clips, chosen.num_crops)),
        batch_size=1,
        loading=LoadingSettings(num_workers=min(num_workers, len(videos))),
        files=files or LocalFiles(),
        seed=0,
        num_ranks=1,
        rank=0,
    )
    try:
        for listed, batch in zip(videos, loader, strict=True):
            (decoded,) = batch.videos
            found = VideoFeatures(listed.record.path, listed.label or None, listed.split or None, listed.group or None)
            if decoded.failure:
                yield replace(found, failure=decoded.failure.reason)
                continue
            vectors = model.batch_features(batch, chosen, layer=layer).numpy()
            if not np.isfinite(vectors).all():
                yield replace(found, failure=NOT_FINITE)
            elif per_view:
                yield replace(found, views=_views(decoded.starts, chosen), vectors=vectors)
            else:
                yield replace(found, vectors=vectors.mean(axis=0, keepdims=True))
    finally:
        loader.close()


def _views(starts: Sequence[int], views: Views) -> list[View]:
    return [View(start, crop) for start in starts for crop in range(views.num_crops)]
