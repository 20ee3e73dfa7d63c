"""Measures the effective receptive field of a trained network over a set of videos."""

from collections.abc import Callable, Sequence

import torch

from videoctx.batch import Failure
from videoctx.data.annotations import VideoRecord
from videoctx.data.loading.dataset import VideoDataset
from videoctx.data.loading.loader import VideoLoader
from videoctx.data.sampling.video_samplers import EvaluationSampler
from videoctx.inference.classifier import Classifier
from videoctx.visualize.receptive_field import ReceptiveField, central_gradients


def measure_receptive_field(
    trained: Classifier,
    records: Sequence[VideoRecord],
    *,
    layer: str,
    on_video: Callable[[], object] = lambda: None,
) -> tuple[ReceptiveField, list[Failure]]:
    """Average the gradients over the middle clip, center crop, of each video.

    Args:
        layer: the name of the layer whose central unit is taken.
        on_video: called after each video.

    Returns:
        The field, and the videos that could not be read.

    Raises:
        ValueError: no video can be read, or the layer has no map.
    """
    dataset = VideoDataset(records, sampler=trained.preprocessing.sampler(num_clips=1), seed=0)
    loader = VideoLoader(dataset, EvaluationSampler(len(records), num_ranks=1, rank=0), batch_size=1)
    transform = trained.preprocessing.transform(num_crops=1)
    device = next(trained.net.parameters()).device
    found: list[torch.Tensor] = []
    failures: list[Failure] = []
    for batch in loader:
        views = transform(batch, num_clips=1)
        failures += views.failures.values()
        if not views.failures:
            gradients = central_gradients(trained.net, views.clips[:].to(device), layer)[0].double().cpu()
            found = [gradients if not found else found[0] + gradients]
        on_video()
    if not found:
        raise ValueError(f"none of {len(records)} videos can be read: {failures[0].path}: {failures[0].reason}")
    return ReceptiveField(found[0] / (len(records) - len(failures))), failures
