"""A single classified video gets the probabilities that `videoctx predict` gives it."""

import numpy as np
import pytest

from tests.tiny_runs import scores_of
from videoctx.evaluation.scores import read_scores
from videoctx.evaluation.view_subset import Views, choose_views
from videoctx.inference.classifier import load


def test_probabilities_equal_those_of_predict(place, run):
    folder = run("predict", "--ckpt_path", place.last)
    stored, trained = read_scores(folder / "scores.parquet"), load(place.last)
    assert len(scores_of(folder)) == 5 * 6
    for path, expected in zip(stored.paths, stored.averages(), strict=True):
        assert trained.predict(path).probabilities == pytest.approx(expected, abs=1e-6)
    fewer = choose_views(stored, Views(2, 1)).scores.averages()
    found = [prediction.probabilities for prediction in trained.predict(stored.paths, views="2x1")]
    np.testing.assert_allclose(found, fewer, atol=1e-6)
    assert not np.allclose(found, stored.averages(), atol=1e-6)
