"""A linear probe: logistic regression on the features of a network that is not trained.

Alain and Bengio: "Understanding intermediate layers using linear classifier probes" (arXiv 1610.01644). Kornblith,
Shlens, Le: "Do Better ImageNet Models Transfer Better?" (CVPR 2019, arXiv 1805.08974), section A.4: multinomial, with
an L2 penalty whose weight is chosen on a validation split, fitted with L-BFGS.

The features are centered, and scaled by one number, so that their mean squared norm over the training vectors is one.
The penalty's weights are then of the same meaning for all networks.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

PENALTIES = tuple(10.0**exponent for exponent in np.arange(-7, 1.5, 0.5).tolist())
NUM_FOLDS = 5
MAX_ITERATIONS = 2000


@dataclass(frozen=True)
class Probe:
    """A linear classifier of vectors.

    Attributes:
        weight: (K, C).
        bias: (K,).
        penalty: the weight of the L2 penalty that it was fitted with.

    >>> probe = fit_probe(np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([0, 0, 1, 1]), 2, penalty=1e-3)
    >>> probe.log_probabilities(np.array([[0.5], [2.5]])).argmax(axis=1)
    array([0, 1])
    """

    weight: np.ndarray
    bias: np.ndarray
    penalty: float

    def log_probabilities(self, vectors: np.ndarray) -> np.ndarray:
        """Return the logarithms of the probabilities, (N, K), of vectors (N, C)."""
        return np.asarray(log_softmax(vectors.astype(np.float64) @ self.weight.T + self.bias, axis=1))


class Vectors:
    """Training vectors in the form in which probes are fitted: centered, scaled, and turned.

    The turned vectors have as many coordinates as there are vectors at most. That changes no probe, since the penalty
    does not depend on directions, and all weights are sums of training vectors.
    """

    def __init__(self, vectors: np.ndarray) -> None:
        self.mean = vectors.mean(axis=0, dtype=np.float64)
        centered = vectors - self.mean
        norm = np.sqrt((centered**2).sum(axis=1).mean())
        self.scale = 1 / norm if norm > 0 else 1.0
        self.basis: np.ndarray | None = None  # (C, rank)
        self.turned = centered * self.scale
        if len(vectors) < vectors.shape[1]:
            left, lengths, right = np.linalg.svd(self.turned, full_matrices=False)
            self.basis, self.turned = right.T, left * lengths

    def fit(self, labels: np.ndarray, num_classes: int, penalty: float) -> Probe:
        """Return the probe with the least mean cross-entropy + penalty / 2 · Σ weight²."""
        x, num_weights = self.turned, num_classes * self.turned.shape[1]
        targets = np.eye(num_classes)[labels]  # (N, K)

        def loss_and_gradient(parameters: np.ndarray) -> tuple[float, np.ndarray]:
            weight, bias = parameters[:num_weights].reshape(num_classes, -1), parameters[num_weights:]
            logits = x @ weight.T + bias
            loss = -(targets * log_softmax(logits, axis=1)).sum() / len(x) + penalty / 2 * (weight**2).sum()
            gradient = (softmax(logits, axis=1) - targets) / len(x)  # (N, K)
            parts = (gradient.T @ x + penalty * weight).ravel(), gradient.sum(axis=0)
            return float(loss), np.concatenate(parts)

        start = np.zeros(num_weights + num_classes)
        options = {"maxiter": MAX_ITERATIONS, "ftol": 1e-12, "gtol": 1e-7}
        found = minimize(loss_and_gradient, start, jac=True, method="L-BFGS-B", options=options).x
        weight = found[:num_weights].reshape(num_classes, -1)
        weight = (weight if self.basis is None else weight @ self.basis.T) * self.scale
        return Probe(weight, found[num_weights:] - weight @ self.mean, penalty)


def fit_probe(vectors: np.ndarray, labels: np.ndarray, num_classes: int, *, penalty: float) -> Probe:
    """Fit a probe.

    Args:
        vectors: (N, C).
        labels: (N,) class index.
        penalty: the weight of the L2 penalty.
    """
    return Vectors(vectors).fit(labels, num_classes, penalty)


@dataclass(frozen=True)
class Choice:
    """How the penalty was chosen.

    Attributes:
        penalty: the chosen one.
        accuracy: that it led to, on vectors that were not trained on.
    """

    penalty: float
    accuracy: float


def choose_on_validation(
    train: tuple[np.ndarray, np.ndarray],
    val: tuple[np.ndarray, np.ndarray],
    num_classes: int,
    *,
    penalties: Sequence[float] = PENALTIES,
) -> Choice:
    """Choose the penalty with the best accuracy on a validation split, of several the one with the least loss."""
    return _best(penalties, [_tested(train, val, num_classes, penalties)])


def choose_by_cross_validation(
    vectors: np.ndarray,
    labels: np.ndarray,
    groups: Sequence[str],
    num_classes: int,
    *,
    penalties: Sequence[float] = PENALTIES,
) -> Choice:
    """Choose the penalty by cross-validation on the training split that divides no group, such as a recording.

    Raises:
        ValueError: there is one group.
    """
    folds = group_folds(groups)
    if len(set(folds)) < 2:
        raise ValueError(
            f"the training videos are of one group ({groups[0]}), which cross-validation does not divide; expected a"
            " validation split or more groups"
        )
    found = []
    for fold in sorted(set(folds)):
        held_out = np.array(folds) == fold
        train, test = ((vectors[rows], labels[rows]) for rows in (~held_out, held_out))
        found.append(_tested(train, test, num_classes, penalties))
    return _best(penalties, found)


def group_folds(groups: Sequence[str], num_folds: int = NUM_FOLDS) -> list[int]:
    """Return a fold for each vector, so that a group is in one fold and the folds are about as large.

    >>> group_folds(["a", "b", "a", "c"], 2)
    [0, 1, 0, 1]
    """
    sizes = dict.fromkeys(groups, 0)
    for name in groups:
        sizes[name] += 1
    totals = [0] * min(num_folds, len(sizes))
    fold_of = {}
    for name in sorted(sizes, key=lambda name: (-sizes[name], name)):
        fold_of[name] = totals.index(min(totals))
        totals[fold_of[name]] += sizes[name]
    return [fold_of[name] for name in groups]


def _tested(
    train: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    num_classes: int,
    penalties: Sequence[float],
) -> np.ndarray:
    """Return (penalties, 3): correct vectors, the sum of their losses, and their number."""
    prepared, (vectors, labels) = Vectors(train[0]), test
    rows = []
    for penalty in penalties:
        scores = prepared.fit(train[1], num_classes, penalty).log_probabilities(vectors)
        loss = -scores[np.arange(len(labels)), labels].sum()
        rows.append(((scores.argmax(axis=1) == labels).sum(), loss, len(labels)))
    return np.array(rows, dtype=np.float64)


def _best(penalties: Sequence[float], tested: Sequence[np.ndarray]) -> Choice:
    correct, losses, numbers = np.sum(tested, axis=0).T
    best = min(range(len(penalties)), key=lambda index: (-correct[index], losses[index]))
    return Choice(penalties[best], correct[best] / numbers[best])
