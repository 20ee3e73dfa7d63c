"""A run with everything that draws, averages or measures, stopped inside an epoch: the rest is the same to the last
digit."""

import pytest
import torch

EVERYTHING = """
data:
  batch_size: 1
  train:
    clips_per_video: 2
    crop_area: [0.3, 1.0]
    augment:
    - {class_path: torchvision.transforms.v2.RandAugment, init_args: {magnitude: 12}}
    erasing: {class_path: torchvision.transforms.v2.RandomErasing}
model:
  net: {init_args: {activation_checkpointing: [res2, res3]}}
  mixing: {class_path: videoctx.data.ClipMixing, init_args: {mixup_alpha: 0.4}}
trainer:
  gradient_clip_val: 1.0
  accumulate_grad_batches: 2
  val_check_interval: 2
  callbacks:
  - {class_path: videoctx.tasks.EMA, init_args: {decay: 0.9, every_n_steps: 2}}
  - {class_path: videoctx.tasks.PreciseBatchNorm, init_args: {num_batches: 2}}
"""


@pytest.fixture
def everything(tmp_path):
    (tmp_path / "everything.yaml").write_text(EVERYTHING)
    return tmp_path / "everything.yaml"


def test_the_rest_is_the_same(run, everything):
    every = ["--checkpoint.every_n_train_steps=1", "--checkpoint.monitor=null", "--checkpoint.save_top_k=-1"]
    arguments = ["-c", everything, *every, "--checkpoint.filename={step}"]
    whole = run("fit", *arguments, name="-whole")
    start = whole / "checkpoints" / "step=4.ckpt"  # of six: each epoch has three
    rest = run("fit", *arguments, "--ckpt_path", start, name="-rest")
    ends = [torch.load(folder / "checkpoints" / "step=6.ckpt", weights_only=True) for folder in (whole, rest)]
    for what in ("state_dict", "current_model_state"):  # the average, and what is trained
        for name, tensor in ends[0][what].items():
            assert torch.equal(ends[1][what][name], tensor), (what, name)
    before = torch.load(start, weights_only=True)["current_model_state"]
    assert not torch.equal(before["net.head.weight"], ends[0]["current_model_state"]["net.head.weight"])


def test_clipping_can_be_asked_for(run):
    """Of nearly nothing, after which nothing has been learned."""
    every = ["--checkpoint.every_n_train_steps=1", "--checkpoint.monitor=null", "--checkpoint.save_top_k=-1"]
    plain = ["--model.optimizer.init_args.weight_decay=0", "--trainer.max_epochs=1"]
    arguments = [*every, "--checkpoint.filename={step}", *plain]
    for clipped, same in ((["--trainer.gradient_clip_val=1e-12"], True), ([], False)):
        folder = run("fit", *arguments, *clipped, name=f"-{same}") / "checkpoints"
        first, last = (torch.load(folder / f"step={step}.ckpt", weights_only=True)["state_dict"] for step in (1, 2))
        step = (first["net.head.weight"] - last["net.head.weight"]).norm().item()
        assert (step < 1e-9) == same
