"""Shows where a trained network looks in a video: an attention map, or Grad-CAM of a layer, laid over the clip."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from videoctx.atomic_write import atomic_write_together
from videoctx.inference.captioned_video import captioned
from videoctx.inference.classifier import Classifier
from videoctx.models.test_head import mean_of_logits
from videoctx.visualize.attention import BlockTrace, attention_blocks, find_block, trace_blocks
from videoctx.visualize.clip_on_video import ClipOnVideo, Query
from videoctx.visualize.contact_sheet import write_contact_sheet
from videoctx.visualize.gradcam import grad_cam
from videoctx.visualize.overlay import Overlay
from videoctx.visualize.uniform_map import UNIFORM_NOTE, is_uniform
from videoctx.visualize.video_file import write_video

SLIDE_FPS = 2.0  # of the overlay's video, if the video has no frame rate


class Explanation(NamedTuple):
    """What a block or layer looks at.

    Args:
        name: of the block or layer.
        title: of the sheet.
        overlay: the map over the frames.
        uniform: whether the map is that of a block that weighs all places alike.
        note: that the map is uniform, or zero, which its colors alone may not tell; also part of the title.
    """

    name: str
    title: str
    overlay: Overlay
    uniform: bool = False
    note: str = ""


class BlockOnClip(NamedTuple):
    """What a context block does with one clip: its name, its class, and its trace."""

    name: str
    kind: str
    trace: BlockTrace


def trace_block(trained: Classifier, clip: ClipOnVideo, block: str | None = None) -> BlockOnClip:
    """Run the network on a clip and return the trace of a context block, which gives the map of any query.

    Args:
        block: the block's name in the network, such as `res4.5`; by default the last one that has attention.

    Raises:
        ValueError: the network has no such block, or none with attention.
    """
    name = find_block(trained.net, block)
    trace = trace_blocks(trained.net, clip.input.to(_device(trained)), [name])[name]
    return BlockOnClip(name, type(attention_blocks(trained.net)[name]).__name__, trace)


def explain_by_attention(
    trained: Classifier, clip: ClipOnVideo, *, block: str | None = None, query: Query | None = None
) -> Explanation:
    """Show the attention of a context block.

    Args:
        block: the block's name in the network, such as `res4.5`; by default the last one that has attention.
        query: the position that attends; by default the one to which the block adds most.

    Raises:
        ValueError: the network has no such block, or none with attention.
    """
    return explain_block(trace_block(trained, clip, block), clip, query=query)


def explain_block(
    traced: BlockOnClip, clip: ClipOnVideo, *, query: Query | None = None, relative: bool = True
) -> Explanation:
    """Show the attention of a context block whose trace is known.

    Args:
        query: the position that attends; by default the one to which the block adds most.
        relative: show weights that sum to one in multiples of the mean weight.
    """
    name, kind, trace = traced
    attention = trace.attention
    place = clip.input_position(query) if query else attention.queries.center(trace.strongest_query())
    cell = attention.queries.nearest(place)
    values = attention.map_of(cell).double().numpy()
    unit = "weight"
    if attention.is_distribution and relative:
        values, unit = values * attention.num_keys, "weight / mean weight"
    title, position = f"{kind} at {name}, the same map for every position", None
    if attention.depends_on_query:
        position = frame, x, y = clip.video_position(place)
        chosen = "" if query else ", the position to which it adds most"
        x, y = max(0.0, x), max(0.0, y)  # the first cells of a grid may be centered outside
        title = f"{kind} at {name}, seen from x {x:.0f}, y {y:.0f} in frame {clip.indices[frame]}{chosen}"
    note = ""
    if uniform := attention.is_uniform(cell):
        note = UNIFORM_NOTE if values.any() else "this block gives every place the weight 0"
        title += f": {note}"
    overlay = Overlay(
        frames=clip.frames,
        values=clip.upsample(values, attention.keys),
        unit=unit,
        query=position,
        is_uniform=uniform,
    )
    return Explanation(name, title, overlay, uniform, note)


def explain_by_grad_cam(
    trained: Classifier, clip: ClipOnVideo, *, layer: str, target_class: str | None = None
) -> Explanation:
    """Show which places of a layer's output raise the logit of a class (Grad-CAM).

    Where the test averages the probabilities of windows, the logit is the mean of the windows' logits.

    Args:
        layer: the name of a layer whose output is (B, C, T, H, W), such as `res5`.
        target_class: by default the class that is predicted.

    Raises:
        ValueError: there is no such layer or class.
    """
    if target_class is not None and target_class not in trained.class_names:
        raise ValueError(f"no class {target_class!r}; expected one of {', '.join(trained.class_names)}")
    index = None if target_class is None else trained.class_names.index(target_class)
    x = clip.input.to(_device(trained))
    with torch.no_grad():
        logits = trained.net(x)[0]  # (K,), as in the test
    with mean_of_logits(trained.net):
        activation = grad_cam(trained.net, x, layer, class_index=int(logits.argmax()) if index is None else index)
    probability = float(trained.probabilities(logits)[activation.class_index])
    title = f"Grad-CAM of {trained.class_names[activation.class_index]!r} ({probability:.1%}) at {layer}"
    note = ""
    if uniform := is_uniform(activation.map):
        note = "all places raise its logit alike" if activation.map.any() else "nothing there raises its logit"
        title += f": {note}"
    map = activation.map.double()
    values = clip.upsample((map / (map.max() or 1.0)).numpy(), activation.grid)
    overlay = Overlay(frames=clip.frames, values=values, unit="Grad-CAM / its maximum", is_uniform=uniform)
    return Explanation(f"gradcam-{layer}", title, overlay, uniform, note)


def write_explanation(explanation: Explanation, clip: ClipOnVideo, path: Path, *, title: str) -> tuple[Path, Path]:
    """Write the overlay as a video and as a sheet of frames, either both or none. A note is the caption of the video.

    Args:
        path: the files without their suffix.

    Returns:
        PATH.mp4 and PATH.png.
    """
    timed = clip.fps > 0
    times = [""] * len(clip.indices) if clip.seconds is None else [f" · {seconds:.2f} s" for seconds in clip.seconds]
    labels = [f"frame {index}{time}" for index, time in zip(clip.indices, times, strict=True)]
    steps = [step for step in clip.indices[1:] - clip.indices[:-1] if step > 0]
    fps = clip.fps / min(steps, default=1) if timed else SLIDE_FPS
    video, sheet = (path.with_name(f"{path.name}{suffix}") for suffix in (".mp4", ".png"))
    with atomic_write_together(video, sheet) as (video_part, sheet_part):
        images = explanation.overlay.images()
        if explanation.note:
            images = np.stack([captioned(image, explanation.note) for image in images])
        write_video(video_part, images, fps=fps)
        write_contact_sheet(sheet_part, explanation.overlay, title=title, labels=labels)
    return video, sheet


def _device(trained: Classifier) -> torch.device:
    return next(trained.net.parameters()).device
