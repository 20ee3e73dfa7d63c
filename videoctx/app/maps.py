"""Where: an attention map or Grad-CAM over the frames of one clip, as `videoctx attention` finds them."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from matplotlib.colors import to_hex

from videoctx.app.cancellable import cancellable
from videoctx.app.jobs import Job
from videoctx.app.networks import ServedNetwork
from videoctx.app.request_fields import number_of, text_of
from videoctx.app.small_images import data_url, shrunk_to
from videoctx.data.loading.segment import WHOLE, Segment
from videoctx.inference.explanation import BlockOnClip, Explanation, explain_block, explain_by_grad_cam, trace_block
from videoctx.visualize.clip_on_video import ClipOnVideo, Query, read_clip

FRAME_PX = 192  # the short side of a frame on the page
NUM_COLORS = 9  # of the scale
MOST_SECONDS = 1e7


@dataclass(frozen=True)
class _Clip:
    """A clip, and its small frames. The clip has its size alone and no pixels: those of 4K would fill the memory."""

    whole: ClipOnVideo
    small_frames: np.ndarray


class MapFinder:
    """Finds maps, and keeps the last clips and traces, so that a second click need not read the video again.

    Args:
        num_kept: number of clips, and of traces, that are kept.
    """

    def __init__(self, num_kept: int = 4) -> None:
        self.num_kept = num_kept
        self._clips: OrderedDict[tuple[Any, ...], _Clip] = OrderedDict()
        self._traces: OrderedDict[tuple[Any, ...], BlockOnClip] = OrderedDict()

    def find(
        self,
        network: ServedNetwork,
        video: str,
        file: str,
        body: Mapping[str, Any],
        job: Job,
        *,
        fps: float | None = None,
        segment: Segment = WHOLE,
    ) -> dict[str, Any]:
        """Return the map that a page asks for, over all frames of the clip.

        Args:
            video: its name in requests.
            file: the local file of it.
            body: `method` is `attention`, with `block`, `relative` and the place (`frame`, `x`, `y`) of the query; or
                `gradcam`, with `layer` and `target_class`. `seconds` is the middle of the clip; null: that of the
                video.
            fps: frames per second of images, which state none.
            segment: the part of the video in which the clip is.

        Raises:
            VideoDecodeError: the video cannot be read.
            ValueError: there is no such block, layer, class or place.
        """
        method = text_of(body, "method")
        if method not in ("attention", "gradcam"):
            raise ValueError(f"method is {method!r}; expected attention or gradcam")
        key = (network.name, video, number_of(body, "seconds", least=0, most=MOST_SECONDS), fps, segment)
        clip = self._clip(key, network, file)
        job.check()
        with cancellable(network.trained.net, job):
            if method == "gradcam":
                layer, target = text_of(body, "layer"), text_of(body, "target_class", "") or None
                explanation = explain_by_grad_cam(network.trained, clip.whole, layer=layer, target_class=target)
                return _shown(clip, explanation, explanation.title)
            block = text_of(body, "block", "") or None
            traced = self._trace((*key, block), network, clip, block)
        query = _query(clip.whole, body)
        explanation = explain_block(traced, clip.whole, query=query, relative=bool(body.get("relative", True)))
        return _shown(clip, explanation, _sentence(clip, traced, explanation, has_query=query is not None))

    def _clip(self, key: tuple[Any, ...], network: ServedNetwork, file: str) -> _Clip:
        def read() -> _Clip:
            made = network.trained.preprocessing
            clip = read_clip(file, made, around_seconds=key[2], images_fps=key[3], segment=key[4])
            frames = np.stack([shrunk_to(frame, FRAME_PX) for frame in clip.frames])
            return _Clip(replace(clip, frames=np.broadcast_to(np.uint8(0), clip.frames.shape)), frames)

        return _kept(self._clips, key, read, self.num_kept)

    def _trace(self, key: tuple[Any, ...], network: ServedNetwork, clip: _Clip, block: str | None) -> BlockOnClip:
        return _kept(self._traces, key, lambda: trace_block(network.trained, clip.whole, block), self.num_kept)


def _kept(cache: OrderedDict[tuple[Any, ...], Any], key: tuple[Any, ...], make: Any, most: int) -> Any:
    if key not in cache:
        cache[key] = make()
    cache.move_to_end(key)
    while len(cache) > most:
        cache.popitem(last=False)
    return cache[key]


def _query(clip: ClipOnVideo, body: Mapping[str, Any]) -> Query | None:
    """Return the place that was clicked, in pixels of the video.

    Raises:
        ValueError: it is outside the clip or the network's crop.
    """
    num_frames, height, width, _ = clip.frames.shape
    frame = number_of(body, "frame", least=0, most=num_frames - 1, whole=True)
    x, y = (number_of(body, name, least=0, most=1) for name in ("x", "y"))
    if frame is None or x is None or y is None:
        return None
    column, row = min(int(x * width), width - 1), min(int(y * height), height - 1)
    left, top, right, bottom = clip.box
    if not (left <= column + 0.5 < right and top <= row + 0.5 < bottom):
        raise ValueError(
            "the network does not see this place; expected one inside its crop, the bright part of a frame"
        )
    return Query(x=column, y=row, frame=int(clip.indices[int(frame)]))


def _sentence(clip: _Clip, traced: BlockOnClip, explanation: Explanation, *, has_query: bool) -> str:
    """Describe the map of a block in words."""
    name, kind, _ = traced
    if explanation.overlay.query is None:
        begin = f"{kind} at {name} has the same map for every place"
    else:
        chosen = "" if has_query else ", the place to which it adds most"
        begin = f"{kind} at {name}, seen from {_place(clip, explanation.overlay.query)}{chosen}"
    if explanation.note:
        return f"{begin}: {explanation.note}."
    values = explanation.overlay.values
    strongest = np.unravel_index(np.nanargmax(values), values.shape)
    frame, y, x = (int(index) for index in strongest)
    if explanation.overlay.unit == "weight":
        return f"{begin}. The greatest weight is at {_place(clip, (frame, x, y))}."
    return f"{begin}. It looks most at {_place(clip, (frame, x, y))}: {np.nanmax(values):.1f} times the mean weight."


def _place(clip: _Clip, place: tuple[int, float, float]) -> str:
    frame, x, y = place
    return f"x {max(0.0, x):.0f}, y {max(0.0, y):.0f} in frame {clip.whole.indices[frame]}"


def _shown(clip: _Clip, explanation: Explanation, sentence: str) -> dict[str, Any]:
    whole, overlay = clip.whole, explanation.overlay.shrunk(clip.small_frames)
    low, high = explanation.overlay.limits
    _, height, width, _ = whole.frames.shape
    left, top, right, bottom = whole.box
    query = explanation.overlay.query
    times = [None] * len(whole.indices) if whole.seconds is None else whole.seconds.round(3).tolist()
    return {
        "name": explanation.name,
        "sentence": sentence,
        "uniform": explanation.uniform,
        "unit": overlay.unit,
        "low": low,
        "high": high,
        "colors": [to_hex(overlay.colors(share)) for share in np.linspace(0, 1, NUM_COLORS)],
        "width": width,
        "height": height,
        "crop": [left / width, top / height, right / width, bottom / height],
        "query": query and {"frame": query[0], "x": (query[1] + 0.5) / width, "y": (query[2] + 0.5) / height},
        "frames": [
            {
                "number": int(number),
                "seconds": seconds,
                "image": data_url(image),
            }
            for number, seconds, image in zip(whole.indices, times, overlay.images(), strict=True)
        ],
    }
