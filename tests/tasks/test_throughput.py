"""Clips per second and the share of waiting, with clocks that the test sets."""

import csv

import pytest
from lightning.pytorch.loggers import CSVLogger

from tests.tasks.synthetic_runs import classifier, synthetic_clips, trainer
from videoctx.tasks import throughput

CLIPS = 4  # in a batch of `synthetic_clips`


@pytest.fixture
def logged(tmp_path, monkeypatch):
    """Trains and returns what is logged, by step.

    The batches of an epoch take 2 s and 6 s in turn, with half a second of waiting each. Validation and the time
    between epochs take an hour.
    """
    clock = {"now": 0.0, "waited": 0.0}

    class Moved(throughput.Throughput):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            clock["now"] += (2.0, 6.0)[batch_idx % 2]
            clock["waited"] += 0.5
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

        def on_validation_start(self, *_):
            clock["now"] += 3600
            clock["waited"] += 1800

        on_train_epoch_end = on_validation_start

    monkeypatch.setattr(throughput, "_clocks", lambda trainer: (clock["now"], clock["waited"]))  # noqa: ARG005
    monkeypatch.setattr("videoctx.tasks.classifier.Throughput", Moved)

    def logged(num_batches, **arguments):
        logger = CSVLogger(tmp_path, name="run", version="")
        trainer(tmp_path, logger=logger, **arguments).fit(classifier(), datamodule=synthetic_clips(num_batches))
        with (tmp_path / "run" / "metrics.csv").open() as file:
            rows = list(csv.DictReader(file))
        names = throughput.CLIPS_PER_SECOND, throughput.DATA_WAIT_FRACTION
        return {
            int(row["step"]): tuple(pytest.approx(float(row[name])) for name in names) for row in rows if row[names[0]]
        }

    return logged


def test_validation_and_what_is_between_epochs_do_not_count(logged):
    fast, slow = (CLIPS / 2, 0.5 / 2), (CLIPS / 6, 0.5 / 6)
    assert logged(3, max_epochs=2, val_check_interval=1) == dict(enumerate([fast, slow, fast] * 2))


def test_only_steps_that_are_logged_are_measured_and_all_batches_count(logged):
    seconds = 2 + 6 + 2 + 6, 2 + (2 + 6 + 2)  # of four steps: the second four begin with the last of an epoch
    found = logged(5, max_epochs=2, log_every_n_steps=4)
    assert found == {3: (4 * CLIPS / seconds[0], 2 / seconds[0]), 7: (4 * CLIPS / seconds[1], 2 / seconds[1])}


def test_batches_that_share_an_optimizer_step_count_together(logged):
    two, one = (2 * CLIPS / 8, 1 / 8), (CLIPS / 2, 0.5 / 2)
    assert logged(5, accumulate_grad_batches=2) == {0: two, 1: two, 2: one}


def test_nothing_is_measured_where_nothing_is_logged(tmp_path):
    trainer(tmp_path, log_every_n_steps=0).fit(classifier(), datamodule=synthetic_clips())
