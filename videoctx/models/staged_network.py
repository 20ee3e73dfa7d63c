"""Networks of a stem, four stages and a classifier, with context blocks at stages and checks of their settings."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from torch import Tensor, nn

from videoctx.models.activation_checkpointing import checkpointed
from videoctx.models.assembled import Layers, TwoPathways
from videoctx.models.insertion import insert_context
from videoctx.models.temporal_tables import STAGES
from videoctx.models.test_head import WindowedHead


class StagedNetwork(WindowedHead):
    """A network of the parts `stem`, `res2` … `res5` and `head`, from (B, 3, T, H, W) to logits (B, num_classes).

    Attributes:
        config: builds this network again (`videoctx.models.network_config`). None: it cannot be stored.
        activation_checkpointing: stages whose activations are computed again in the backward pass.
    """

    config: dict[str, Any] | None
    stem: nn.Module

    def assemble(
        self,
        layers: Layers,
        *,
        dropout: float,
        context: Callable[[int], nn.Module] | None,
        context_at: Mapping[str, Sequence[int]] | None,
        context_position: Literal["after_add", "after_1x1"],
        activation_checkpointing: Sequence[str],
    ) -> None:
        """Take the layers, and insert context blocks into the stages.

        Raises:
            ValueError: A stage or block index is unknown; `dropout` is out of range; or `context` is given without
                `context_at`, or the reverse.
        """
        if not 0 <= dropout <= 1:
            raise ValueError(f"dropout is {dropout}; expected 0 to 1")
        if (context is None) != (not context_at):
            raise ValueError("context and context_at belong together: expected both or neither")
        if not set(activation_checkpointing) <= set(STAGES):
            raise ValueError(
                f"activation_checkpointing is {list(activation_checkpointing)}; expected stages of {', '.join(STAGES)}"
            )
        self.activation_checkpointing = frozenset(activation_checkpointing)
        self.stem = layers.stem
        for name, stage in zip(STAGES, layers.stages, strict=True):
            self.add_module(name, stage)
            if isinstance(stage, TwoPathways):
                stage.activation_checkpointing = name in self.activation_checkpointing
        self.average = nn.AdaptiveAvgPool3d(1)
        self.dropout = nn.Dropout(dropout)
        self.head = layers.head
        if context and context_at:
            insert_context(self, context_at, context, position=context_position)

    def feature_map(self, x: Tensor) -> Tensor:
        """Return the output of the last stage: (B, 3, T, H, W) → (B, C, T', H / 32, W / 32)."""
        x = self.stem(x)
        for name in STAGES:
            stage = self.get_submodule(name)
            x = checkpointed(stage, x) if name in self.activation_checkpointing else stage(x)
        return x

    def forward(self, x: Tensor) -> Tensor:
        return self.classify(self.feature_map(x))


def check_choice(name: str, value: object, choices: Sequence[object]) -> None:
    """Check a setting.

    Raises:
        ValueError: It is none of the choices.
    """
    if value not in choices:
        raise ValueError(f"{name} is {value!r}; expected one of {', '.join(map(str, choices))}")


def check_least(least: int, **values: float) -> None:
    """Check that settings are at least `least`.

    Raises:
        ValueError: One is not.
    """
    for name, value in values.items():
        if value < least:
            raise ValueError(f"{name} is {value}; expected {least} or more")


def of_config(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the arguments of a constructor, its `locals()`, that a config stores."""
    return {name: value for name, value in arguments.items() if name not in ("self", "num_classes", "__class__")}
