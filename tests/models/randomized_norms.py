"""Networks as after training: norms that are no identity, and a classifier whose logits differ."""

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


@torch.no_grad()
def randomize(net: nn.Module, *, seed: int = 0) -> nn.Module:
    """Set the norms and the last linear layer of `net` at random, in place. Return it in evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    for layer in net.modules():
        if isinstance(layer, _BatchNorm):
            layer.running_mean.normal_(std=0.1, generator=generator)
            layer.running_var.uniform_(0.5, 1.5, generator=generator)
            layer.weight.uniform_(0.4, 1.1, generator=generator)
            layer.bias.normal_(std=0.1, generator=generator)
    [layer for layer in net.modules() if isinstance(layer, nn.Linear)][-1].weight.normal_(std=0.5, generator=generator)
    return net.eval()
