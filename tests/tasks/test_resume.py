"""A run with all random and averaging parts that is resumed inside an epoch ends with the same bits."""

import pytest
import torch

from tests.tasks.synthetic_runs import classifier, synthetic_clips, trainer

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


def test_a_resumed_run_is_the_same_to_the_last_bit(run, everything):
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


def test_gradients_are_clipped(tmp_path):
    """With a limit close to zero, nothing is learned."""
    for limit, learns in ((1e-12, False), (None, True)):
        model = classifier()
        before = model.net.head.weight.detach().clone()
        trainer(tmp_path, gradient_clip_val=limit).fit(model, synthetic_clips(1, validates=False))
        assert ((model.net.head.weight - before).norm().item() > 1e-9) == learns, limit
