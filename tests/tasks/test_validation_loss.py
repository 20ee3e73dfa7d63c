"""The loss of a validation is the mean over all views, and callbacks can watch it."""

import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping
from torch.nn import functional as F

from tests.tasks.synthetic_runs import batch_of, classifier, synthetic_clips, trainer


@pytest.mark.parametrize("multi_label", [False, True])
def test_validation_loss(tmp_path, multi_label):
    task = classifier(multi_label=multi_label)
    run = trainer(tmp_path, enable_checkpointing=False, callbacks=[])
    (found,) = run.validate(task, synthetic_clips(1, multi_label=multi_label), verbose=False)
    batch = batch_of(6, seed=50, multi_label=multi_label)
    with torch.no_grad():
        logits = task.eval()(batch.clips)
    expected = F.cross_entropy(logits, batch.labels) if not multi_label else None
    if multi_label:
        expected = F.binary_cross_entropy_with_logits(logits, batch.labels.float())
    assert found["val/loss"] == pytest.approx(expected.item(), rel=1e-3)  # scores are float16


def test_early_stopping_watches_it(tmp_path):
    stops = EarlyStopping("val/loss", patience=2, min_delta=100.0)
    run = trainer(tmp_path, max_epochs=9, enable_checkpointing=False, callbacks=[stops])
    run.fit(classifier(lr=0.0), synthetic_clips(1))
    assert run.current_epoch == 3
