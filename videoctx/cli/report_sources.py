"""What `videoctx report` shows besides a run's scores: the curves of its training, and images of its errors."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from videoctx.data.annotations import AnnotationError
from videoctx.data.annotations.image_rates import image_rates
from videoctx.data.decoding.containers import VideoDecodeError
from videoctx.data.preprocessing import Preprocessing
from videoctx.data.storage.local_files import LocalFiles
from videoctx.data.storage.locations import holds_images, resolve
from videoctx.data.storage.remote import StorageError
from videoctx.evaluation.confident_errors import ConfidentError
from videoctx.evaluation.controls import data_of
from videoctx.evaluation.report.page import ErrorImage, Training
from videoctx.evaluation.report.training_curves import read_curves
from videoctx.evaluation.run_folders import METRICS_FILE, training_of
from videoctx.visualize.view_sheet import view_sheet


def training_log(fit: Path | None, run: Path, card: Mapping[str, Any]) -> Training:
    """Return the curves of a training.

    Args:
        fit: its folder; by default the one that the test lies in, or else that of the checkpoint on the card.
        run: the folder of the test.
        card: of the test.

    Raises:
        ValueError: `fit` has no curves.
    """
    if fit is not None:
        path = fit / METRICS_FILE
        if not path.is_file():
            raise ValueError(f"{fit}: no {METRICS_FILE} in there; expected the folder of a run of `videoctx fit`")
        return Training(path=str(path), log=read_curves(path))
    folder, checkpoint = training_of(run), card.get("checkpoint")
    if folder is None and not isinstance(checkpoint, Mapping):
        return Training(reason="the card names no checkpoint; --fit names the folder of the training")
    if folder is None and isinstance(checkpoint, Mapping):
        trained = Path(str(card.get("folder", ".")), str(checkpoint.get("path", "")))
        folder = training_of(trained) or trained.parent.parent
    assert folder is not None
    path = folder / METRICS_FILE
    if not path.is_file():
        return Training(reason=f"{path} is not there; --fit names the folder of the training")
    try:
        return Training(path=str(path), log=read_curves(path))
    except ValueError as error:
        return Training(reason=str(error))


def error_images(errors: Sequence[ConfidentError], card: Mapping[str, Any]) -> list[ErrorImage]:
    """Return an image of the frames of each error as the network got them, or the reason why there is none."""
    try:
        preprocessing = _preprocessing(data_of(card))
    except (ValueError, TypeError) as error:
        return [ErrorImage(reason=f"the card lacks how the clips were made: {error}")] * len(errors)
    files = LocalFiles(num_attempts=1)
    rates = _image_rates([error.path for error in errors], card)
    return [
        _image(error, str(card.get("folder", ".")), files, preprocessing, rates.get(error.path)) for error in errors
    ]


def _image_rates(paths: Sequence[str], card: Mapping[str, Any]) -> dict[str, float]:
    """Return the frame rate of each video that is stored as images, by the manifest on the card of a test."""
    folder, manifest = str(card.get("folder", ".")), data_of(card).get("manifest")
    wanted = [path for path in paths if holds_images(resolve(folder, path))]
    if not wanted or not manifest:
        return {}
    try:
        return image_rates(resolve(folder, str(manifest)), wanted)
    except AnnotationError:
        return {}  # the manifest is not there any more: each image then has its reason


def _preprocessing(data: Mapping[str, Any]) -> Preprocessing:
    """Return the preprocessing on the card of a test.

    Raises:
        ValueError: a field is missing, or this version does not have one of its values.
    """
    wanted = {field.name for field in fields(Preprocessing)}
    return Preprocessing.from_dict({name: value for name, value in data.items() if name in wanted})


def _image(
    one: ConfidentError, folder: str, files: LocalFiles, preprocessing: Preprocessing, images_fps: float | None
) -> ErrorImage:
    try:
        with files.local_copy(resolve(folder, one.path)) as file:
            sheet = view_sheet(file, preprocessing, start_frame=one.start_frame, crop=one.crop, images_fps=images_fps)
    except VideoDecodeError as error:
        return ErrorImage(reason=error.reason)
    except (StorageError, OSError, ValueError) as error:
        return ErrorImage(reason=str(error))
    return ErrorImage(jpeg=sheet.jpeg, width=sheet.width, height=sheet.height, frames=sheet.frames)
