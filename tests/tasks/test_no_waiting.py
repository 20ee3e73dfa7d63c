"""A training step asks the device for no number: the host runs ahead, and the device never waits for work."""

import pytest
import torch
from torch.optim import SGD
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.transforms.v2 import RandAugment

from tests.tasks.synthetic_runs import CLASSES, SyntheticClips, batch_of, small_resnet, trainer
from videoctx.data.loading.dataset import DecodedBatch, DecodedVideo
from videoctx.data.transforms.mixing import ClipMixing
from videoctx.data.transforms.normalize import IMAGENET_MEAN, IMAGENET_STD, Normalize
from videoctx.data.transforms.train_transform import TrainTransform
from videoctx.models.block_compilation import compile_blocks
from videoctx.tasks import VideoClassifier, WarmupCosine

READS = {"aten::_local_scalar_dense", "aten::item", "aten::nonzero", "aten::is_nonzero", "aten::equal"}


class Reads(TorchDispatchMode):
    """Operators that need a number on the host."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function._schema.name in READS:
            self.seen.append(function._schema.name)
        return function(*args, **(kwargs or {}))


class WatchedClassifier(VideoClassifier):
    """Watches everything that Lightning does from the start of a batch to its end, the steps of the optimizer too."""

    def on_train_batch_start(self, batch, batch_idx):
        super().on_train_batch_start(batch, batch_idx)
        self.reads = Reads()
        self.reads.__enter__()

    def on_train_batch_end(self, outputs, batch, batch_idx):  # noqa: ARG002
        self.reads.__exit__(None, None, None)
        self.steps = [*getattr(self, "steps", []), self.reads.seen]


@pytest.mark.parametrize(("multi_label", "fused"), [(False, True), (True, False)])
def test_a_step_reads_no_number(tmp_path, multi_label, fused):
    model = WatchedClassifier(
        CLASSES,
        lambda num_classes: small_resnet(num_classes, dropout=0.5, activation_checkpointing=["res3"]),
        schedule=WarmupCosine(warmup_epochs=0.5),
        label_smoothing=0.1,
        multi_label=multi_label,
        fused_optimizer=fused,
        class_weights=[1.0, 2.0, 3.0],
    )
    batches = [batch_of(4, seed=seed, multi_label=multi_label) for seed in range(4)]
    data = SyntheticClips(batches, validates=False, multi_label=multi_label)
    trainer(tmp_path, log_every_n_steps=100, gradient_clip_val=1.0, callbacks=[], enable_checkpointing=False).fit(
        model, datamodule=data
    )
    at_the_end_of_the_epoch = ["aten::_local_scalar_dense"]  # LossWatch
    assert model.steps == [[], [], [], at_the_end_of_the_epoch]


def test_it_would_be_seen():
    with Reads() as reads:
        assert torch.ones(1).item() == 1
    assert reads.seen == ["aten::_local_scalar_dense"]


def videos(device="cpu"):
    frames = torch.randint(0, 256, (4, 40, 60, 3), dtype=torch.uint8).to(device)
    return DecodedBatch([DecodedVideo("a.mp4", 0, 1, seed, frames, torch.tensor([[0, 1, 3]]), [0]) for seed in (1, 2)])


def transform(**arguments):
    return TrainTransform(
        crop_size_px=16,
        short_side_px=(20, 24),
        flip_probability=0.5,
        normalize=Normalize(IMAGENET_MEAN, IMAGENET_STD),
        **arguments,
    )


def test_making_clips_reads_no_number():
    with Reads() as reads:
        transform()(videos())
    assert reads.seen == []


@pytest.mark.cuda
@pytest.mark.parametrize("compiled", [False, True])
def test_a_step_does_not_synchronize_with_a_cuda_device(compiled):
    if not torch.cuda.is_available():
        pytest.skip("a CPU is never waited for")
    model = VideoClassifier(CLASSES, small_resnet, mixing=ClipMixing()).cuda()
    model.log = lambda *_, **__: None
    if compiled:
        compile_blocks(model.net)
    optimizer = SGD(model.net.parameters(), lr=0.01, momentum=0.9, fused=True)
    make, batch = transform(), videos("cuda")
    clips = make(batch)
    model.training_step(clips, 0).backward()  # first calls allocate, tune and compile
    optimizer.step()
    torch.cuda.set_sync_debug_mode("error")
    try:
        model.training_step(make(batch), 0).backward()
        optimizer.step()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.cuda
def test_augmentation_runs_on_a_cuda_device():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    clips = transform(augment=[RandAugment()], crop_area=(0.3, 1.0))(videos("cuda")).clips
    assert clips.is_cuda
    assert clips.isfinite().all()
