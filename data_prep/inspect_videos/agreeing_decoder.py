"""The fastest decoder that returns the frames of a video as PyAV does.

Slower ones are not compared, because they would not be used and each comparison takes time.
"""

from collections.abc import Callable, Sequence

import numpy as np

from data_prep.inspect_videos.compared_frames import SampledFrames
from videoctx.data.decoding.exact_decoders import Container

Read = Callable[[str], Sequence[np.ndarray] | None]


def agreeing_decoder(container: Container, samples: SampledFrames, read: Read) -> str:
    """Return the first decoder of `Container.decoders` that agrees. PyAV always does.

    Args:
        samples: Frames that PyAV decoded.
        read: Returns the pixels (`sample_pixels`) that a decoder of the given name returns for the frames of `samples`;
            None: it failed.
    """
    for name in container.decoders:
        if name == "pyav":
            break
        found = read(name)
        if found is not None and len(found) == len(samples.indices) and all(map(samples.shows, samples.indices, found)):
            return name
    return "pyav"
