"""A video classified by itself has the probabilities that `predict` gives it."""

import numpy as np
import pytest

from tests.tiny_runs import scores_of
from videoctx.data.storage.local_files import LocalFiles
from videoctx.evaluation.scores import read_scores
from videoctx.evaluation.view_subset import Views, choose_views
from videoctx.inference.prediction import predict
from videoctx.trained import load_trained


def test_the_probabilities_of_predict(place, run):
    folder = run("predict", "--ckpt_path", place.last)
    stored, trained = read_scores(folder / "scores.parquet"), load_trained(place.last)
    assert len(scores_of(folder)) == 5 * 6
    for path, expected in zip(stored.paths, stored.averages(), strict=True):
        assert predict(trained, path, LocalFiles()).probabilities == pytest.approx(expected, abs=1e-6)
    fewer = choose_views(stored, Views(2, 1)).scores.averages()
    found = [predict(trained, path, LocalFiles(), num_clips=2, num_crops=1).probabilities for path in stored.paths]
    np.testing.assert_allclose(found, fewer, atol=1e-6)
    assert not np.allclose(found, stored.averages(), atol=1e-6)
