"""A network with starting weights and without training, such as one with weights of ImageNet, for its features."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from videoctx.data.preprocessing import Preprocessing
from videoctx.data.settings import ClipSettings, TestSettings
from videoctx.data.transforms.normalize import IMAGENET_MEAN, IMAGENET_STD
from videoctx.inference.classifier import Classifier
from videoctx.inference.published_preprocessing import published_preprocessing
from videoctx.models.checkpoints import read_checkpoint
from videoctx.models.load_weights import LoadReport, load_weights
from videoctx.models.network_config import build_network, network_config


def starting_network(
    weights: str | Path,
    *,
    net: Callable[[int], nn.Module] | None = None,
    clips: ClipSettings | None = None,
    test: TestSettings | None = None,
) -> tuple[Classifier, LoadReport]:
    """Return a network as a training with these weights would start with it, and what was not loaded.

    Its classifier means nothing unless the weights have one. Context blocks that they lack start as in training.

    Args:
        weights: A checkpoint of any project that `videoctx convert` reads.
        net: Makes the network for a number of classes. None: the one that the weights belong to, C2D for those of
            images.
        clips: What a clip is. None: as stored with the weights, or else as in their project (`convert_checkpoint`).
        test: How its views are made. None: as for `clips`; or if these are given, as usual.

    Raises:
        ValueError: The weights cannot be read or do not fit the network. The message names the file.
    """
    checkpoint = read_checkpoint(weights)
    if net is None and checkpoint.net is None:
        raise ValueError(f"{weights}: {checkpoint.unknown_net}; give the network with -c")
    num_classes = checkpoint.num_classes or 1
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # new blocks are the same each time
            network = net(num_classes) if net else build_network(checkpoint.net or {}, num_classes)
        loaded = load_weights(
            network,
            checkpoint.weights_for(network),
            allow_new_head=checkpoint.num_classes is None,
            allow_new_blocks=True,
        )
        published = published_preprocessing(checkpoint, Path(weights).name)
        if clips is None and test is None:
            preprocessing = published
        else:
            clips = clips or ClipSettings(
                clip_len=published.clip_len,
                frame_interval=published.frame_interval,
                sampling=published.sampling,
                short_videos=published.short_videos,
                mean=published.mean,
                std=published.std,
            )
            if checkpoint.input and (clips.mean, clips.std) == (IMAGENET_MEAN, IMAGENET_STD):
                clips = replace(clips, mean=checkpoint.input.mean, std=checkpoint.input.std)
            preprocessing = Preprocessing.from_settings(clips, test or TestSettings())
    except ValueError as error:
        raise ValueError(f"{weights}: {error}") from error
    names = checkpoint.class_names or [str(index) for index in range(num_classes)]
    made = Classifier(network.eval(), names, network_config(network), preprocessing, checkpoint.multi_label)
    return made, loaded
