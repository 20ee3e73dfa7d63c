"""Tests of `flip_labels: swap`: exactly the flipped clips get the partner class, and random numbers stay the same."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.test_datamodule import batches, module
from tests.data.test_transforms import coordinates, failed, still, train_transform
from tests.each_case import each_case
from videoctx.data.annotations import write_manifest
from videoctx.data.loading.dataset import DecodedBatch
from videoctx.data.training_labels import flipped_classes

CLASSES = ["go left", "clap", "Go Right", "turn right", "left hook"]
IMAGE = coordinates(16, 16)
PARTNERS = [2, 1, 0, 3, 4]  # neither "turn left" nor "right hook" is a class


def exchanged(label):
    """Return the label of a flipped clip of a video with this label."""
    if isinstance(label, tuple):
        return [label[PARTNERS.index(index)] for index in range(len(label))]
    return PARTNERS[label]


def as_written(label):
    return list(label) if isinstance(label, tuple) else label


def test_flipped_classes_are_the_partners():
    assert flipped_classes(CLASSES) == PARTNERS


@pytest.mark.parametrize("multi_label", [False, True])
@settings(deadline=None, max_examples=40)
@given(data=st.data(), probability=st.sampled_from([0.0, 0.5, 1.0]))
def test_only_flipped_clips_are_labeled_with_the_partner_class(multi_label, data, probability):
    labels = st.tuples(*[st.booleans()] * len(CLASSES)) if multi_label else st.integers(0, len(CLASSES) - 1)
    num_clips = data.draw(st.integers(1, 3))
    videos = [
        failed(label=label) if broken else still(IMAGE, num_clips=num_clips, seed=seed, label=label)
        for label, seed, broken in data.draw(
            st.lists(st.tuples(labels, st.integers(0, 2**32), st.booleans()), max_size=4)
        )
    ]
    batch = DecodedBatch(videos)
    swapped = train_transform(flip_probability=probability, flipped_classes=PARTNERS)(batch)
    usual = train_transform(flip_probability=probability)(batch)
    assert torch.equal(swapped.clips, usual.clips)
    assert torch.equal(swapped.labels, usual.labels)
    expected = []
    for clip, video in zip(swapped.clips, swapped.video.tolist(), strict=True):
        flipped = clip[0, 0, 0, 0] > clip[0, 0, 0, -1]  # red grows along the columns of the image
        expected.append(exchanged(videos[video].label) if flipped else as_written(videos[video].label))
    assert swapped.clip_labels.tolist() == expected
    assert swapped.clip_labels.dtype == swapped.labels.dtype
    assert torch.equal(usual.clip_labels, usual.labels[usual.video])


@each_case("multi_label", [False, True])
def test_labels_of_flipped_clips_from_manifest_to_batch(video_folder, tmp_path, multi_label):
    cells = ["go left", "Go Right", "clap|go left" if multi_label else "clap", "turn right", "left hook"]
    rows = [
        {"path": str(video.path), "label": cell, "split": "train"}
        for video, cell in zip(video_folder.videos["train"], cells, strict=True)
    ]
    write_manifest(tmp_path / "manifest.csv", rows, CLASSES)

    def batch_with(**train):
        train["clips_per_video"] = 6
        data = module(tmp_path / "manifest.csv", multi_label=multi_label, batch_size=5, train=train)
        (batch,) = batches(data, "train")
        return batch

    plain, swapped = batch_with(flip_probability=0.0), batch_with(flip_labels="swap")
    assert torch.equal(swapped.clips, batch_with().clips)  # the same random numbers
    flips = [not torch.equal(clip, other) for clip, other in zip(swapped.clips, plain.clips, strict=True)]
    seen = {(video, flip) for video, flip in zip(swapped.video.tolist(), flips, strict=True)}
    assert seen >= {(video, flip) for video in (0, 2) for flip in (False, True)}  # clips of one video differ
    for index, flip in enumerate(flips):
        label = swapped.labels[swapped.video[index]].tolist()
        label = tuple(label) if multi_label else label
        assert torch.equal(swapped.clips[index], plain.clips[index].flip(-1) if flip else plain.clips[index])
        assert swapped.clip_labels[index].tolist() == (exchanged(label) if flip else as_written(label))


def test_unknown_flip_labels_is_refused(video_folder):
    with pytest.raises(ValueError, match="flip_labels is 'keep'; expected one of refuse, swap"):
        module(video_folder.manifest, train={"flip_labels": "keep"})
