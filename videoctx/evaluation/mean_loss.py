"""The mean loss of a validation."""

from torchmetrics import MeanMetric


class MeanLoss(MeanMetric):
    """The mean over the views of all batches and ranks, of mean losses with the number of their views as weight."""
