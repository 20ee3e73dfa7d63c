"""A trained network at work: from a video to class names and probabilities.

model = load("best.ckpt").to("cuda")
model.predict("clip.mp4")
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from os import PathLike
from typing import Any, overload

import numpy as np
import torch
from torch import Tensor, nn

from videoctx.batch import slices
from videoctx.data.decoding.containers import VideoDecodeError
from videoctx.data.loading.dataset import DecodedBatch
from videoctx.data.loading.one_video import read_one_video
from videoctx.data.loading.segment import WHOLE, Segment
from videoctx.data.preprocessing import Preprocessing
from videoctx.data.storage.local_files import LocalFiles
from videoctx.data.storage.locations import is_url
from videoctx.evaluation.view_scores import NOT_FINITE, sigmoid, softmax, stored_scores
from videoctx.evaluation.view_subset import Views
from videoctx.inference.layer_outputs import clip_vectors
from videoctx.inference.prediction import Prediction, Predictions
from videoctx.inference.video_paths import video_paths
from videoctx.models.classifier_checkpoint import load_classifier
from videoctx.models.inference import InferenceNetwork, for_inference, has_known_layers
from videoctx.models.network_config import network_config
from videoctx.models.test_head import set_test_head

VIEWS_PER_FORWARD = 8

Video = str | PathLike[str]


class NotFiniteError(ValueError):
    """The network gives NaN or infinity for a video."""


@dataclass(repr=False)
class Classifier:
    """A trained network with its classes and its preprocessing. `load` makes one from a checkpoint.

    Attributes:
        net: (B, 3, T, H, W) → logits (B, K), in evaluation mode.
        class_names: K names, in the order of the logits.
        net_config: `class_path` and `init_args` of the network. None: a network of the user's own.
        preprocessing: how the clips of its test are made: `sampler()` chooses frames, `transform()` resizes, crops and
            normalizes them.
        multi_label: a video can have several classes.

    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 2 * 8 * 8, 2))
    >>> from videoctx.data import ClipSettings, TestSettings
    >>> test = TestSettings(short_side_px=8, crop_size_px=8, views=(1, 1))
    >>> preprocessing = Preprocessing.from_settings(ClipSettings(clip_len=2, frame_interval=1), test)
    >>> model = Classifier(net, ["left", "right"], None, preprocessing, multi_label=False)
    >>> model
    Classifier(Sequential, 2 classes, 2x1 clips, 1x1 views, cpu)
    >>> model.probabilities(torch.zeros(1, 2))
    tensor([[0.5000, 0.5000]])
    """

    net: nn.Module
    class_names: list[str]
    net_config: dict[str, Any] | None
    preprocessing: Preprocessing
    multi_label: bool
    _evaluated: tuple[Any, "Classifier"] | None = field(default=None, init=False, compare=False)

    def __post_init__(self) -> None:
        """Let the network classify as in its test."""
        if isinstance(self.net, nn.Module) and self.preprocessing is not None:
            made = self.preprocessing
            crop = made.train_crop_size_px
            set_test_head(self.net, made.head_pooling, multi_label=self.multi_label, train_crop_size_px=crop)

    @property
    def device(self) -> torch.device:
        """The device of the network."""
        return next(self.net.parameters()).device

    def to(self, device: str | torch.device) -> "Classifier":
        """Move the network to a device, and return the classifier itself."""
        self.net.to(device)
        return self

    @overload
    def predict(
        self,
        video: Sequence[PathLike[str]] | list[str],
        *,
        top: int = 5,
        views: str | tuple[int, int] | None = None,
        fps: float | None = None,
        segment: tuple[float | None, float | None] = WHOLE,
        files: LocalFiles | None = None,
    ) -> Predictions: ...

    @overload
    def predict(
        self,
        video: Video | Sequence[Video],
        *,
        top: int = 5,
        views: str | tuple[int, int] | None = None,
        fps: float | None = None,
        segment: tuple[float | None, float | None] = WHOLE,
        files: LocalFiles | None = None,
    ) -> Prediction | Predictions: ...

    def predict(
        self,
        video: Video | Sequence[Video],
        *,
        top: int = 5,
        views: str | tuple[int, int] | None = None,
        fps: float | None = None,
        segment: tuple[float | None, float | None] = WHOLE,
        files: LocalFiles | None = None,
    ) -> Prediction | Predictions:
        """Predict the classes of videos. The probabilities are those of `videoctx test` and `videoctx classify`.

        Args:
            video: A file or a URL; or a folder, for all videos in it at any depth; or a list of these. A folder, a
                `.zip` or a `.tar` file of images is a video too.
            top: Number of classes that the prediction shows and iterates over.
            views: Clips × crops per video, such as `"10x3"` or `(10, 3)`. None: those of the network's test.
            fps: Frames per second of images, which state none.
            segment: Start and end, in seconds, of the part of the video that is classified, as in a manifest;
                None: that of the video.
            files: Where the copies of remote videos are kept. None: in the package's cache.

        Returns:
            One `Prediction` for a file, a URL or the images of one video; a list of them for a folder or a list. A
            video of the list that cannot be read has a `failure`.

        Raises:
            VideoDecodeError: A single video cannot be read.
            NotFiniteError: The network gives NaN or infinity for a single video.
            ValueError: There is no such file, no video in a folder, or the test has no rule for so many
                clips or crops.
        """
        chosen = self.chosen_views(views)
        self.preprocessing.transform(num_crops=chosen.num_crops)  # a number of crops without a rule is an error
        self.preprocessing.sampler(num_clips=chosen.num_clips)  # and so is a number of clips
        read = partial(self._read, views=chosen, files=files or LocalFiles(), fps=fps, segment=Segment(*segment))
        if isinstance(video, str | PathLike):
            path = os.fspath(video)
            paths = video_paths(path)
            if paths == [path]:
                return Prediction(path, self.class_names, self._probabilities(path, chosen, read), top=top)
        else:
            folders = [os.fspath(one) for one in video]
            paths = [path for one in folders for path in (video_paths(one) if os.path.isdir(one) else [one])]
        predictions = Predictions()
        for path in paths:
            try:
                probabilities, failure = self._probabilities(path, chosen, read), None
            except VideoDecodeError as error:
                probabilities, failure = None, error.reason
            except NotFiniteError:
                probabilities, failure = None, NOT_FINITE
            predictions.append(Prediction(path, self.class_names, probabilities, failure, top))
        return predictions

    def features(
        self,
        video: Video,
        *,
        layer: str | None = None,
        views: str | tuple[int, int] | None = None,
        fps: float | None = None,
        files: LocalFiles | None = None,
    ) -> Tensor:
        """Return the features of a video: by default the input of the classifier, after pooling.

        Where the test classifies windows of the feature map (`videoctx.models.test_head`), these are
        the mean of the windows' features.

        Args:
            video: A file or a URL.
            layer: Name of the layer whose output, averaged over T, H and W, is returned instead, such as `res4`.
            views: Clips × crops, such as `"10x3"` or `(10, 3)`. None: those of the network's test.
            fps: Frames per second of images, which state none.
            files: Where the copies of remote videos are kept. None: in the package's cache.

        Returns:
            (num_views, channels) float32 on the CPU, clip by clip, and the crops of a clip from the first to the last.

        Raises:
            VideoDecodeError: The video cannot be read.
            ValueError: The network has no such layer, or the test has no rule for so many crops.
        """
        chosen = self.chosen_views(views)
        batch = self._read(os.fspath(video), chosen, files or LocalFiles(), fps, WHOLE)
        return self.batch_features(batch, chosen, layer=layer)

    def batch_features(self, batch: DecodedBatch, views: Views, *, layer: str | None = None) -> Tensor:
        """Return the features of the views of a decoded video, (num_views, channels), as `features` does."""
        # Folding changes what single convolutions and norms return, but not what the classifier sees.
        net = self.for_evaluation().net if layer is None else self.net
        with clip_vectors(net.net if isinstance(net, InferenceNetwork) else net, layer) as vectors:
            self._through(net, batch, views)
        return torch.cat([vector.clone() for vector in vectors])  # clones can be trained on

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return the probabilities of logits (..., K): they sum to one unless `multi_label`."""
        return logits.float().sigmoid() if self.multi_label else logits.float().softmax(dim=-1)

    def clip_probabilities(self, logits: Tensor, name: str) -> np.ndarray:
        """Return the probabilities (K,) float32 of one clip's logits (1, K).

        Args:
            name: of the clip, for the error.

        Raises:
            NotFiniteError: The network gives NaN or infinity for it.
        """
        probabilities = self.probabilities(logits)[0].cpu().numpy()
        if not np.isfinite(probabilities).all():
            raise NotFiniteError(f"{name}: {NOT_FINITE}")
        return probabilities

    def for_evaluation(self) -> "Classifier":
        """Return a copy with the network as `videoctx test` runs it in float32: faster, and equal but for rounding.

        It is made again only when the weights have changed. A network with other layers than this package's and torch's
        is left as it is.
        """
        if isinstance(self.net, InferenceNetwork) or not has_known_layers(self.net):
            return self
        tensors = (*self.net.parameters(), *self.net.buffers())
        state = [(id(tensor), tensor.device, tensor._version) for tensor in tensors]
        if self._evaluated is None or self._evaluated[0] != state:
            evaluated = replace(self, net=for_inference(self.net, self.device, dtype=torch.float32))
            self._evaluated = state, evaluated
        return self._evaluated[1]

    def chosen_views(self, views: str | tuple[int, int] | None) -> Views:
        """Return clips × crops as numbers, by default those of the network's test."""
        if views is None:
            return Views(*self.preprocessing.views)
        return Views.parse(views) if isinstance(views, str) else Views(*views)

    def __repr__(self) -> str:
        made = self.preprocessing
        clips = f"{made.described_clips} clips, {Views(*made.views)} views"
        return f"Classifier({type(self.net).__name__}, {len(self.class_names)} classes, {clips}, {self.device})"

    def _probabilities(self, path: str, views: Views, read: Callable[[str], DecodedBatch]) -> np.ndarray:
        """Return the mean over the views, (K,) float64."""
        logits = self._through(self.for_evaluation().net, read(path), views)  # (S, K)
        # As a test keeps its scores: the same probabilities, to the last digit.
        scores = stored_scores(logits, multi_label=self.multi_label).double().cpu().numpy()
        probabilities: np.ndarray = (sigmoid(scores) if self.multi_label else softmax(scores)).mean(axis=0)
        if not np.isfinite(probabilities).all():
            raise NotFiniteError(f"{path}: {NOT_FINITE}")
        return probabilities

    def _read(self, path: str, views: Views, files: LocalFiles, fps: float | None, segment: Segment) -> DecodedBatch:
        sampler = self.preprocessing.sampler(num_clips=views.num_clips)
        rng = np.random.default_rng(0)  # the clips of a test are not random
        with files.local_copy(path) as file:
            try:
                return read_one_video(
                    file, lambda times: sampler.clips(times.num_frames, times.fps, rng), fps=fps, segment=segment
                ).batch
            except VideoDecodeError as error:  # names the copy
                raise VideoDecodeError(path, error.reason) from error

    @torch.inference_mode()
    def _through(self, net: nn.Module, batch: DecodedBatch, views: Views) -> Tensor:
        """Return the logits of the views, (S, K)."""
        transform = self.preprocessing.transform(num_crops=views.num_crops)
        clips = transform(batch.to(self.device), num_clips=views.num_clips).clips
        return torch.cat([net(clips[part]).float() for part in slices(len(clips), VIEWS_PER_FORWARD)])


def load(path: Video, *, net: Callable[[int], nn.Module] | nn.Module | None = None) -> Classifier:
    """Load a trained network from a checkpoint of `videoctx fit`, of a Trainer, or of `videoctx convert`.

    Nothing that is stored in the file is run.

    Args:
        path: A file, or a URL that fsspec opens. What is downloaded is kept in the package's cache.
        net: The network, or what makes it for a number of classes. None: the network is built from the checkpoint's own
            config, which can name only networks and layers of this package.

    Raises:
        ValueError: The file is no checkpoint, or a damaged one; it has no class names, no preprocessing or no network
            config; or its weights are of another network.

    >>> import tempfile
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 2 * 8 * 8, 2))
    >>> from videoctx.data import ClipSettings, TestSettings
    >>> test = TestSettings(short_side_px=8, crop_size_px=8, views=(1, 1))
    >>> preprocessing = Preprocessing.from_settings(ClipSettings(clip_len=2, frame_interval=1), test)
    >>> checkpoint = {
    ...     "state_dict": net.state_dict(),
    ...     "class_names": ["left", "right"],
    ...     "net": None,
    ...     "preprocessing": preprocessing.as_dict(),
    ...     "multi_label": False,
    ... }
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     torch.save(checkpoint, f"{folder}/best.ckpt")
    ...     model = load(f"{folder}/best.ckpt", net=net)
    >>> model.class_names
    ['left', 'right']
    """
    path = os.fspath(path)
    with _local_file(path) as file:
        try:
            stored = load_classifier(file, net=net)
        except ValueError as error:
            raise ValueError(str(error).replace(file, path)) from error
    if stored.preprocessing is None:
        raise ValueError(f"{path}: has no preprocessing, which makes the clips; `videoctx convert --protocol` adds it")
    try:
        preprocessing = Preprocessing.from_dict(stored.preprocessing)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    config = network_config(stored.net) or stored.net_config
    return Classifier(stored.net.eval(), stored.class_names, config, preprocessing, stored.multi_label)


@contextmanager
def _local_file(path: str) -> Iterator[str]:
    if not is_url(path):
        yield path
        return
    try:
        with LocalFiles().local_copy(path) as file:
            yield file
    except VideoDecodeError as error:  # of any file that cannot be fetched
        raise ValueError(str(error)) from error
