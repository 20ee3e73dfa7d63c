"""Training on a GPU: a resumed run, and precisions."""

import pytest
import torch
from lightning.pytorch import seed_everything
from lightning.pytorch.loggers import CSVLogger

from tests.each_case import each_case
from tests.tasks.synthetic_runs import classifier, small_resnet, synthetic_clips, trainer
from tests.tiny_runs import column

pytestmark = pytest.mark.cuda


def losses(device, folder, *, ckpt_path=None, model=None, **arguments):
    """Train on the same batches every epoch, and return the losses."""
    seed_everything(0)
    logger = CSVLogger(folder, name=f"run{len(list(folder.iterdir()))}", version="")
    task = classifier(lambda num_classes: small_resnet(num_classes, dropout=0.5), **model or {})
    run = trainer(folder, accelerator="gpu" if device.type == "cuda" else "cpu", devices=1, logger=logger, **arguments)
    run.fit(task, datamodule=synthetic_clips(), ckpt_path=ckpt_path)
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


def test_the_settings_of_the_config_for_gpus_have_nearly_the_losses_of_float32(cuda, tmp_path):
    """Compiled blocks, a fused optimizer and bfloat16 in channels last, as `configs/trainer/gpu.yaml` sets them."""
    expected = losses(cuda, tmp_path)
    options = {"compiled_blocks": True, "fused_optimizer": True, "channels_last": True}
    assert losses(cuda, tmp_path, model=options) == pytest.approx(expected, rel=1e-2)
    assert losses(cuda, tmp_path, model=options, precision="bf16-mixed") == pytest.approx(expected, rel=0.05)


def test_synchronized_norms_and_compiled_blocks_have_the_losses_of_plain_norms(cuda, tmp_path):
    """One rank of DDP, where synchronized norms see the same clips."""
    expected = losses(cuda, tmp_path)
    ddp = {"strategy": "ddp", "sync_batchnorm": True}
    assert losses(cuda, tmp_path, model={"compiled_blocks": True}, **ddp) == pytest.approx(expected, rel=1e-2)
