"""What a trained network says of one video: the probabilities that `videoctx test` and `predict` give it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from videoctx.batch import slices
from videoctx.data.annotations import VideoRecord
from videoctx.data.loading.dataset import DecodedBatch, SampleIndex, VideoDataset
from videoctx.data.storage.local_files import LocalFiles
from videoctx.evaluation.ranking import best_classes
from videoctx.evaluation.view_scores import sigmoid, softmax
from videoctx.trained import TrainedNetwork

VIEWS_PER_FORWARD = 8


@dataclass(frozen=True, slots=True)
class Prediction:
    """Of one video.

    Args:
        path: a file or a URL.
        probabilities: (K,) float64, the mean over its views; none where the video could not be read.
        failure: why not.
    """

    path: str
    probabilities: np.ndarray | None
    failure: str | None = None

    def best(self, class_names: Sequence[str], num_best: int) -> list[tuple[str, float]]:
        """Its most probable classes, the first one first; none of a video that could not be read."""
        if self.probabilities is None:
            return []
        return [
            (class_names[index], float(self.probabilities[index]))
            for index in best_classes(self.probabilities, num_best)
        ]


@torch.inference_mode()
def predict(
    trained: TrainedNetwork, path: str, files: LocalFiles, *, num_clips: int | None = None, num_crops: int | None = None
) -> Prediction:
    """
    Args:
        num_clips, num_crops: views of the video; by default those of the network's test.

    Raises:
        ValueError: the protocol of the test has no rule for so many crops.
    """
    preprocessing = trained.preprocessing
    num_clips = num_clips or preprocessing.views[0]
    transform = preprocessing.transform(num_crops=num_crops)
    record = VideoRecord(path, None, "")
    dataset = VideoDataset([record], sampler=preprocessing.sampler(num_clips=num_clips), seed=0)
    device = next(trained.net.parameters()).device
    with files.local_copy(path) as file:
        video = dataset.load(SampleIndex(0), file)
    if video.failure:
        return Prediction(path, None, video.failure.reason)
    clips = transform(DecodedBatch([video]).to(device), num_clips=num_clips).clips
    logits = torch.cat([trained.net(clips[part]).float() for part in slices(len(clips), VIEWS_PER_FORWARD)])  # (S, K)
    # In the half precision in which a test keeps its scores: the same probabilities, to the last digit.
    scores = (logits if trained.multi_label else logits.log_softmax(dim=1)).half().double().cpu().numpy()
    probabilities = (sigmoid(scores) if trained.multi_label else softmax(scores)).mean(axis=0)
    if not np.isfinite(probabilities).all():
        return Prediction(path, None, "the network gives no numbers for it")
    return Prediction(path, probabilities)
