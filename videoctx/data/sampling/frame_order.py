"""The order in which a test shows the frames of a clip: a control of what time is worth.

A network that is as accurate on shuffled frames does not use their order, and one that is as accurate on a still frame
does not use motion. Orders are compared on the same clips: each has the frames of the recorded one, or one of them.
"""

from typing import Literal

import numpy as np

FrameOrder = Literal["recorded", "reversed", "shuffled", "still"]


def in_order(clips: np.ndarray, order: FrameOrder, rng: np.random.Generator) -> np.ndarray:
    """Return the frames of clips in another order.

    Args:
        clips: (num_clips, clip_len) frame indices, as recorded.
        order: As `recorded`, `reversed`, `shuffled` by a random permutation per clip, or `still`: the middle frame of
            the clip, frame ⌊clip_len / 2⌋, at every place.
        rng: Of the permutations.

    >>> in_order(np.array([[0, 2, 4, 6]]), "still", np.random.default_rng(0))
    array([[4, 4, 4, 4]])
    """
    if order == "reversed":
        return clips[:, ::-1]
    if order == "shuffled":
        return rng.permuted(clips, axis=1)
    if order == "still":
        clip_len = clips.shape[1]
        return clips[:, [clip_len // 2] * clip_len]
    return clips


def check_frame_order(stage: str, order: FrameOrder) -> None:
    """Check that no training is validated on clips in another order than the recorded one.

    Args:
        stage: Of the Trainer, such as `fit`.
        order: That of validation and test.

    Raises:
        ValueError: It would be, and the best checkpoint would be chosen on such clips.
    """
    if stage == "fit" and order != "recorded":
        raise ValueError(
            f"test.frame_order is {order!r} in a training, which would be validated on such clips; expected 'recorded'."
            " Another order is a control of `videoctx test` and `validate`"
        )
