"""Tests of the data module's augmentation: it changes training clips only, and does not depend on the processes."""

import pytest
import torch
from torchvision.transforms.v2 import RandAugment, RandomErasing

from tests.data.test_datamodule import batches, module
from tests.each_case import each_case

ARGUMENTS = {
    "crop_area": (0.2, 0.5),
    "augment": [RandAugment(magnitude=20)],
    "erasing": RandomErasing(p=1.0),
}


def clips(data, stage="train"):
    return torch.cat([batch.clips[:] for batch in batches(data, stage)])


@each_case("name", ARGUMENTS)
def test_augmentation_changes_training_clips_only(video_folder, name):
    plain, changed = (
        module(video_folder.manifest, batch_size=5, train=train) for train in ({}, {name: ARGUMENTS[name]})
    )
    assert not torch.equal(clips(plain), clips(changed))
    assert torch.equal(clips(plain, "val"), clips(changed, "val"))


@pytest.fixture(scope="module")
def whole_epoch(video_folder):
    return clips(module(video_folder.manifest, batch_size=1, train=ARGUMENTS))


def test_augmentation_does_not_depend_on_the_number_of_workers(video_folder, whole_epoch):
    data = module(video_folder.manifest, batch_size=2, loading={"num_workers": 1}, train=ARGUMENTS)
    try:
        assert torch.equal(clips(data), whole_epoch[:4])  # the fifth is left out
    finally:
        data.teardown("")


def test_augmentation_does_not_depend_on_earlier_batches(video_folder, whole_epoch):
    torch.manual_seed(5)
    data = module(video_folder.manifest, batch_size=1, train=ARGUMENTS)
    clips(data)
    state = {
        "epoch": 0,
        "num_batches": 3,
        "batches_per_epoch": 5,
        "accumulate_grad_batches": 1,
        "batch_size": 1,
        "num_ranks": 1,
        "seed": 0,
        "train_sha256": data._train_sha256,
        "multigrid": None,
    }
    data.load_state_dict(state)
    assert torch.equal(clips(data), whole_epoch[3:])
