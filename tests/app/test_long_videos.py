"""A video of any length is looked through in the memory of a short one."""

import gc
import weakref
from collections import Counter
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import torch

from tests.small_preprocessing import small_preprocessing
from videoctx.app import timelines
from videoctx.app.jobs import Job
from videoctx.inference.classifier import Classifier
from videoctx.inference.timed_frames import TimedFrames
from videoctx.inference.timeline import Moment

NUM_FRAMES, SPAN = 600, 7  # the frames of a clip span seven


def test_what_is_kept_does_not_grow_with_the_length(monkeypatch):
    made = small_preprocessing(short_side_px=8, crop_size_px=8)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 4 * 8 * 8, 3))
    trained = Classifier(net, ["a", "b", "c"], None, made, multi_label=False)
    images, counts = weakref.WeakValueDictionary(), []

    def frames():
        for index in range(NUM_FRAMES):
            image = np.full((10, 12, 3), index % 256, np.uint8).view(Counted)
            images[index] = image
            yield image, index / 10
            if index in (200, NUM_FRAMES - 1):
                kinds = Counter(type(one) for one in gc.get_objects())
                counts.append((kinds[Moment], kinds[torch.Tensor]))
                assert len(images) <= SPAN + 1

    @contextmanager
    def opened(*_, **__):
        yield TimedFrames(10, NUM_FRAMES / 10, frames())

    monkeypatch.setattr(timelines, "open_timed_frames", opened)
    monkeypatch.setattr(timelines, "MAX_MOMENTS", 100)
    found = timelines.find_moments(SimpleNamespace(trained=trained), "", Job(lambda _: None), stride_seconds=0.1)
    assert found["num_moments"] == NUM_FRAMES - SPAN + 1
    assert 50 <= len(found["starts"]) <= 100
    assert len(found["thumbnails"]) <= timelines.MAX_THUMBNAILS
    assert counts[0] == counts[1]


class Counted(np.ndarray):
    """An array to which there can be weak references."""
