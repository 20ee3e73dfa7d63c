"""Whether a run can validate: its manifest has videos for it, or nobody has meant any."""

import logging
from pathlib import Path

from videoctx.data.annotations import has_no_validation

logger = logging.getLogger(__name__)


def check_validation_split(stage: str, manifest: Path, splits: dict[str, str]) -> None:
    """Leave out the validation of a training without videos for it, and refuse a validation on its own.

    Args:
        stage: Of the Trainer, such as `fit`.
        manifest: The manifest.
        splits: The names of the splits `train`, `test` and perhaps `val`, which is removed.

    Raises:
        ValueError: The stage is `validate`, and there is no `val`.
    """
    if stage == "validate" and "val" not in splits:
        raise ValueError("data.val_split is null, so there is nothing to validate; expected the name of a split")
    if stage == "fit" and "val" in splits and has_no_validation(manifest, splits):
        logger.warning("%s: no row has split %r; the training is not validated", manifest, splits["val"])
        del splits["val"]
