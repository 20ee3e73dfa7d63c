"""MixUp and CutMix: clips of a batch are mixed with each other, and so are their labels.

Zhang et al.: "mixup" (ICLR 2018, arXiv 1710.09412). Yun et al.: "CutMix" (ICCV 2019, arXiv 1905.04899). Both are
torchvision's. The choice between them and the defaults are those of PySlowFast and timm.
"""

import torch
from torch import Tensor, nn
from torchvision.transforms.v2 import CutMix, MixUp


class ClipMixing(nn.Module):
    """MixUp or CutMix, chosen at random for every batch, with one ratio for all of its clips.

    A clip is mixed with a clip of another video if there is one. CutMix pastes the same box into every frame.

    Args:
        mixup_alpha: Parameter α of MixUp's Beta(α, α). 0: no MixUp.
        cutmix_alpha: Parameter α of CutMix's Beta(α, α). 0: no CutMix.
        probability: Probability that a batch is mixed at all.
        cutmix_probability: Probability of CutMix rather than MixUp, if both are used.

    Raises:
        ValueError: A value is out of its range.

    >>> clips, targets, video = torch.randn(2, 3, 4, 8, 8), torch.eye(2), torch.arange(2)
    >>> mixed, soft = ClipMixing()(clips, targets, video)
    >>> mixed.shape, soft.shape
    (torch.Size([2, 3, 4, 8, 8]), torch.Size([2, 2]))
    """

    def __init__(
        self,
        *,
        mixup_alpha: float = 0.8,
        cutmix_alpha: float = 1.0,
        probability: float = 1.0,
        cutmix_probability: float = 0.5,
    ) -> None:
        super().__init__()
        for name, alpha in (("mixup_alpha", mixup_alpha), ("cutmix_alpha", cutmix_alpha)):
            if alpha < 0:
                raise ValueError(f"{name} is {alpha}; expected 0 or more")
        for name, share in (("probability", probability), ("cutmix_probability", cutmix_probability)):
            if not 0 <= share <= 1:
                raise ValueError(f"{name} is {share}; expected 0 to 1")
        if mixup_alpha == cutmix_alpha == 0:
            raise ValueError("mixup_alpha and cutmix_alpha are both 0; expected one above 0")
        self.mixup = MixUp(alpha=mixup_alpha) if mixup_alpha else None
        self.cutmix = CutMix(alpha=cutmix_alpha) if cutmix_alpha else None
        self.probability = probability
        self.cutmix_probability = cutmix_probability

    def forward(self, clips: Tensor, targets: Tensor, video: Tensor) -> tuple[Tensor, Tensor]:
        """Mix the clips of a batch. Random numbers come from torch's CPU generator, so that nothing waits for the
        device.

        Args:
            clips: (S, 3, T, H, W).
            targets: (S, K) float, fraction of each class in a clip.
            video: (S,) int64 on the CPU, video of each clip, in ascending order and with equally many clips per video.

        Returns:
            Mixed clips and targets, in another order.
        """
        mixed, cut = (torch.rand(2) < torch.tensor([self.probability, self.cutmix_probability])).tolist()
        if not mixed:
            return clips, targets
        if self.mixup is None or self.cutmix is None:
            cut = self.cutmix is not None
        clips_per_video = int((video == video[0]).sum())
        if clips_per_video > 1:  # torchvision mixes neighbors, which must be of different videos
            order = torch.arange(len(video)).view(-1, clips_per_video).T.flatten().to(clips.device, non_blocking=True)
            clips, targets = clips[order], targets[order]
        mix = self.cutmix if cut else self.mixup
        assert mix is not None, "one of the two is always there"
        images, targets = mix(clips.flatten(1, 2), targets)  # (S, 3·T, H, W)
        return images.view_as(clips), targets
