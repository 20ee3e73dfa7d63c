"""Try: the best classes of a whole video."""

import time
from typing import Any

from videoctx.app.cancellable import cancellable
from videoctx.app.jobs import Job
from videoctx.app.networks import ServedNetwork
from videoctx.data.loading.segment import WHOLE, Segment
from videoctx.evaluation.view_subset import Views

NUM_BEST = 5


def predict(
    network: ServedNetwork, file: str, job: Job, *, fps: float | None = None, segment: Segment = WHOLE
) -> dict[str, Any]:
    """Return the best classes, as `videoctx classify --json` writes them, the views, and the time it took.

    Args:
        fps: frames per second of images, which state none.
        segment: the part of the video that is classified.

    Raises:
        VideoDecodeError: the video cannot be read.
        NotFiniteError: the network gives NaN or infinity.
    """
    trained = network.trained
    started = time.perf_counter()
    with cancellable(trained.for_evaluation().net, job):
        prediction = trained.predict(file, top=NUM_BEST, fps=fps, segment=segment)
    milliseconds = 1000 * (time.perf_counter() - started)
    views = Views(*trained.preprocessing.views)
    return {
        "classes": [{"class": name, "probability": probability} for name, probability in prediction],
        "views": str(views),
        "num_views": views.num_clips * views.num_crops,
        "milliseconds": round(milliseconds),
    }
