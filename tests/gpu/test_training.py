"""Training on a GPU: a resumed run, and precisions."""

import pytest
import torch
from lightning.pytorch import seed_everything
from lightning.pytorch.loggers import CSVLogger

from tests.each_case import each_case
from tests.tasks.synthetic_runs import classifier, small_resnet, synthetic_clips, trainer
from tests.tiny_runs import column

pytestmark = pytest.mark.cuda


def losses(device, folder, *, ckpt_path=None, **arguments):
    """Train on the same batches every epoch, and return the losses."""
    seed_everything(0)
    logger = CSVLogger(folder, name=f"run{len(list(folder.iterdir()))}", version="")
    model = classifier(lambda num_classes: small_resnet(num_classes, dropout=0.5))
    run = trainer(folder, accelerator="gpu" if device.type == "cuda" else "cpu", devices=1, logger=logger, **arguments)
    run.fit(model, datamodule=synthetic_clips(), ckpt_path=ckpt_path)
    return [float(value) for value in column(folder / logger.name, "train/loss")]


def test_a_resumed_run_has_the_losses_of_one_that_was_never_stopped(device, tmp_path):
    whole = losses(device, tmp_path, max_epochs=2)
    losses(device, tmp_path, max_epochs=2, max_steps=3)
    resumed = losses(device, tmp_path, max_epochs=2, ckpt_path=tmp_path / "last.ckpt")
    assert len(whole) == 6
    assert resumed == pytest.approx(whole[3:], rel=1e-3)


@each_case("precision", ["bf16-mixed", "16-mixed"])
def test_mixed_precision_has_nearly_the_losses_of_float32(device, tmp_path, precision):
    if device.type == "cpu":
        pytest.skip("16-mixed scales gradients on a GPU; bfloat16 gradients of a CPU are checked elsewhere")
    (folder := tmp_path / precision).mkdir()
    assert losses(device, folder, precision=precision) == pytest.approx(losses(device, folder), rel=0.05)


def test_cudnn_may_try_its_algorithms(device, tmp_path):
    before = torch.backends.cudnn.benchmark
    try:
        found = losses(device, tmp_path, benchmark=True)
    finally:
        torch.backends.cudnn.benchmark = before
    assert found == pytest.approx(losses(device, tmp_path), rel=1e-3)
