"""SlowFast: a slow pathway with few frames and many channels, and a fast one with many frames and few channels.

Feichtenhofer, Fan, Malik, He: "SlowFast Networks for Video Recognition" (ICCV 2019, arXiv 1812.03982). PyTorchVideo's
builder makes the layers. Context blocks of the slow pathway make SlowFast-NL.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from videoctx.models.network_config import record_config
from videoctx.models.pytorchvideo_layers import slowfast_layers
from videoctx.models.staged_network import StagedNetwork, check_choice, check_least, of_config
from videoctx.models.temporal_tables import STAGES


class SlowFast(StagedNetwork):
    """SlowFast from one clip (B, 3, T, H, W) to logits (B, num_classes), for a T that `alpha` divides.

    The fast pathway sees the whole clip, the slow one every `alpha`-th frame of it. The published SlowFast 8×8 takes
    clips of 32 frames, one in 2 (`clip_len` 32, `frame_interval` 2, `alpha` 4), and SlowFast 4×16 the same with
    `alpha` 8.

    Args:
        num_classes: K.
        depth: number of layers of the slow pathway, and of the fast one without `fast_depth`.
        fast_depth: number of layers of the fast pathway, as in mmaction2's R101 + R50. None: those of the slow one.
        alpha: frames of the fast pathway per frame of the slow one.
        beta: channels of the slow pathway per channel of the fast one.
        fusion_kernel_t: temporal kernel size of the convolutions from the fast to the slow pathway, an odd number.
        fusion_norm: BatchNorm and ReLU after these convolutions, as in PyTorchVideo and PySlowFast; mmaction2 has none.
        slow_frames: which frames the slow pathway sees: `spread` from the first to the last (PyTorchVideo, PySlowFast),
            or every `alpha`-th from the first on, `strided` (mmaction2).
        res4_temporal_blocks: how many blocks of res4 have a temporal kernel, from the first on; 6 in R101-50-50. None:
            all.
        width: channels of the slow pathway's conv1.
        context: makes a context block for a number of channels. YAML chooses it by `class_path`.
        context_at: indices, from 0, of the blocks of each stage that get one. `res3` is the stage of the slow pathway,
            and `res3.fast` that of the fast one.
        context_position: `after_add`, on the block's output, or `after_1x1`, on the residual branch before the sum.
        dropout: probability, before the classifier.
        activation_checkpointing: stages whose activations are computed again in the backward pass.

    Raises:
        ValueError: A choice, stage or block index is unknown; a number is out of range; or `context` is given without
            `context_at`, or the reverse.

    >>> net = SlowFast(10, width=8)
    >>> net(torch.zeros(1, 3, 8, 32, 32)).shape
    torch.Size([1, 10])
    """

    def __init__(
        self,
        num_classes: int,
        *,
        depth: Literal[50, 101, 152] = 50,
        fast_depth: Literal[50, 101, 152] | None = None,
        alpha: int = 4,
        beta: int = 8,
        fusion_kernel_t: int = 7,
        fusion_norm: bool = True,
        slow_frames: Literal["spread", "strided"] = "spread",
        res4_temporal_blocks: int | None = None,
        width: int = 64,
        context: Callable[[int], nn.Module] | None = None,
        context_at: Mapping[str, Sequence[int]] | None = None,
        context_position: Literal["after_add", "after_1x1"] = "after_add",
        dropout: float = 0.5,
        activation_checkpointing: Sequence[str] = (),
    ) -> None:
        arguments = of_config(locals())
        check_choice("depth", depth, (50, 101, 152))
        check_choice("fast_depth", fast_depth or depth, (50, 101, 152))
        check_choice("slow_frames", slow_frames, ("spread", "strided"))
        check_least(1, alpha=alpha, beta=beta, width=width)
        if width % beta:
            raise ValueError(f"width is {width}; expected a multiple of beta, {beta}")
        if fusion_kernel_t < 1 or fusion_kernel_t % 2 == 0:
            raise ValueError(f"fusion_kernel_t is {fusion_kernel_t}; expected an odd number")
        if res4_temporal_blocks is not None:
            check_least(0, res4_temporal_blocks=res4_temporal_blocks)
        pathways = {stage: _pathway(stage) for stage in context_at or ()}
        if len(set(pathways.values())) < len(pathways):
            raise ValueError(f"context_at names one stage twice: {', '.join(pathways)}; res3 is res3.slow")
        super().__init__()
        layers = slowfast_layers(
            num_classes,
            depth=depth,
            fast_depth=fast_depth or depth,
            width=width,
            alpha=alpha,
            beta=beta,
            fusion_kernel_t=fusion_kernel_t,
            fusion_norm=fusion_norm,
            res4_temporal_blocks=res4_temporal_blocks,
        )
        self.alpha, self.slow_frames = alpha, slow_frames
        self.assemble(
            layers,
            dropout=dropout,
            context=context,
            context_at=context_at and {pathways[stage]: at for stage, at in context_at.items()},
            context_position=context_position,
            activation_checkpointing=activation_checkpointing,
        )
        self.config = record_config(type(self), arguments)

    def feature_map(self, x: Tensor) -> Tensor:
        """Return the mean over time of both pathways' last stage: (B, 3, T, H, W) → (B, C, 1, H / 32, W / 32)."""
        slow, fast = self.stem(self.slow_clip(x), x)
        for name in STAGES:
            slow, fast = self.get_submodule(name)(slow, fast)
        return torch.cat([slow.mean(dim=2, keepdim=True), fast.mean(dim=2, keepdim=True)], dim=1)

    def slow_clip(self, clips: Tensor) -> Tensor:
        """Return the frames of the slow pathway: (B, 3, T, H, W) → (B, 3, T / alpha, H, W).

        Raises:
            ValueError: `alpha` does not divide T.
        """
        num_frames = clips.shape[2]
        if num_frames % self.alpha:
            raise ValueError(
                f"a clip has {num_frames} frames; expected a multiple of alpha, {self.alpha}, of which the slow pathway"
                " sees one"
            )
        if self.slow_frames == "strided":
            return clips[:, :, :: self.alpha]
        num_slow = num_frames // self.alpha
        frames = [index * (num_frames - 1) // max(num_slow - 1, 1) for index in range(num_slow)]
        return torch.stack([clips[:, :, frame] for frame in frames], dim=2)


def _pathway(stage: str) -> str:
    """Return the name of a stage with its pathway: `res3` → `res3.slow`; `res3.fast` stays.

    Raises:
        ValueError: There is no such stage.
    """
    name, _, pathway = stage.partition(".")
    if name not in STAGES or stage.endswith(".") or pathway not in ("", "slow", "fast"):
        fast = ", ".join(f"{known}.fast" for known in STAGES)
        raise ValueError(
            f"context_at names stage {stage!r}; expected one of {', '.join(STAGES)}, or of the fast pathway {fast}"
        )
    return f"{name}.{pathway or 'slow'}"
