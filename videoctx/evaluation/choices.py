"""The choices of an evaluation, in a file that imports neither torch nor numpy: the command line lists them."""

from typing import Literal

Average = Literal["probabilities", "logits"]
"""What is averaged over the views of a video."""

Level = Literal["clip", "video"]
"""What a metric counts: each view on its own, or whole videos."""
