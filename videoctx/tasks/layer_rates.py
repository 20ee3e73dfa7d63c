"""Learning rates and weight decay of biases and of the classifier, as options of a task."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class LayerRates:
    """Learning rates and weight decay of biases and of the classifier.

    TSM's and mmaction2's recipes have `head_lr_factor` 5, `bias_lr_factor` 2 and `decay_biases` False, with which the
    bias of the classifier has ten times the learning rate (`get_optim_policies`, `TSMOptimWrapperConstructor`).

    Args:
        head_lr_factor: Learning rate of the classifier over that of the other layers.
        bias_lr_factor: Learning rate of biases over that of weights, also in the classifier. Norms have none.
        decay_biases: Whether biases get the weight decay.

    Raises:
        ValueError: A factor is not above 0.
    """

    head_lr_factor: float = 1.0
    bias_lr_factor: float = 1.0
    decay_biases: bool = True

    def __post_init__(self) -> None:
        for name in ("head_lr_factor", "bias_lr_factor"):
            if not getattr(self, name) > 0:
                raise ValueError(f"layer_rates.{name} is {getattr(self, name)}; expected more than 0")


USUAL_RATES = LayerRates()
