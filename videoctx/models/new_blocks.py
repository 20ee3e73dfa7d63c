"""The start of blocks that a network has and its weights lack: as close to the network of the weights as they can be.

| new block                                           | its start                                                  |
|-----------------------------------------------------|------------------------------------------------------------|
| SNL, GC, Non-local and others with `Add`            | the identity, by their own initialization                  |
| SE, GC with `Scale` or `ScaleAndAdd`, on a branch   | the identity: a gate of 1/2, and twice the norm before it  |
| self-calibrated in the place of another convolution | see below                                                  |
| any other                                           | its initial weights                                        |

A self-calibrated convolution, z = [k1(a), k4(k3(b) · sigmoid(b + up(k2(pool(b)))))], cannot be the convolution that it
replaces, whose weight is [[W_aa, W_ab], [W_ba, W_bb]]: its halves do not see each other. It starts as k1 = W_aa and
k4 = W_bb, with k3 the identity for the statistics that the norm before it has, k2 = W_bb behind a norm with γ = 0 and
β = 3, so that the gate is 0.95 or more. The statistics of the norm after it lose what W_ab and W_ba contributed.
"""

import math
import re
from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn

from videoctx.layers.context import ContextBlock, Scale, ScaleAndAdd
from videoctx.layers.pointwise import BatchNorm, Pointwise
from videoctx.layers.self_calibrated import SelfCalibratedConv3d
from videoctx.models.inflate import inflate

OPEN_GATE = 3.0  # logit of a gate at its start: sigmoid(3) = 0.95, with a slope of 0.05


@torch.no_grad()
def start_new_blocks(net: nn.Module, missing: Collection[str], replaced: Mapping[str, Tensor]) -> set[str]:
    """Let the new blocks of a network start as close as possible to the network without them.

    The other weights are loaded already.

    Args:
        missing: Names of the parameters that did not come from the weights.
        replaced: Weights of the convolutions in whose places there are new blocks, by their names.

    Returns:
        Names of the parameters of those blocks that start from `replaced`. They are not random, unlike other new ones.
    """
    started = set[str]()
    for name, block in net.named_modules():
        gate = getattr(block, "after_1x1", None)
        is_new = any(parameter.startswith(f"{name}.after_1x1.") for parameter in missing)
        norm = getattr(block, "last_norm", None)
        if is_new and isinstance(gate, ContextBlock) and isinstance(norm, BatchNorm):
            _start_gate(gate, norm)
    for name, weight in replaced.items():
        path, _, convolution_name = name.removesuffix(".weight").rpartition(".")
        block = net.get_submodule(path)
        convolution = getattr(block, convolution_name)
        number = re.sub(r"\D", "", convolution_name)  # conv2 has norm1 before it and norm2 after it
        before, after = (getattr(block, f"norm{n}", None) for n in (int(number or 0) - 1, number))
        if isinstance(convolution, SelfCalibratedConv3d) and isinstance(before, BatchNorm):
            assert isinstance(after, BatchNorm)
            if _start_self_calibrated(convolution, weight, before, after):
                prefix = name.removesuffix("weight")
                started |= {f"{prefix}{parameter}" for parameter, _ in convolution.named_parameters()}
    return started


def _start_gate(gate: ContextBlock, norm: BatchNorm) -> None:
    """Let z = x · sigmoid(y) start with y = 0, and x twice as large."""
    if not isinstance(gate.fusion, Scale | ScaleAndAdd):
        return
    last = [layer for name, layer in gate.transform.named_modules() if name.rpartition(".")[2] == "expand"]
    if not last or not all(isinstance(layer, Pointwise) for layer in last):
        return
    for layer in last:
        for parameter in layer.parameters():
            nn.init.zeros_(parameter)
    norm.weight.mul_(2)
    norm.bias.mul_(2)


def _start_self_calibrated(conv: SelfCalibratedConv3d, weight: Tensor, before: BatchNorm, after: BatchNorm) -> bool:
    """Take the weights of the convolution that had this place: (C, C / groups, 1, h, w). Return whether they fit.

    Args:
        before: the norm whose output, after a ReLU, the convolution sees.
        after: the norm that its output goes to.
    """
    weight, half = weight.to(conv.k1.weight), len(weight) // 2  # stored in float16, perhaps, and on a CPU
    if weight.shape[1] != 2 * half or conv.k1.groups != 1 or weight.shape[3:] != conv.k1.weight.shape[3:]:
        return False  # a grouped convolution has other channels in each part
    (w_aa, w_ab), (w_ba, w_bb) = ((rows[:, :half], rows[:, half:]) for rows in weight.split(half))
    (k2, k2_norm), (k3, k3_norm) = conv.k2, conv.k3
    assert isinstance(k2, nn.Conv3d)
    assert isinstance(k3, nn.Conv3d)
    assert isinstance(k2_norm, BatchNorm)
    assert isinstance(k3_norm, BatchNorm)
    for layer, part in ((conv.k1, w_aa), (conv.k4, w_bb), (k2, w_bb)):
        same = part.shape == layer.weight.shape
        layer.weight.copy_(part if same else inflate({"weight": part}, {"weight": layer.weight})["weight"])
    nn.init.dirac_(k3.weight)
    k2_norm.weight.zero_()
    k2_norm.bias.fill_(OPEN_GATE)
    mean, variance = _rectified_moments(before)
    _statistics(k3_norm)[0].copy_(mean[half:])
    _statistics(k3_norm)[1].copy_(variance[half:])
    k3_norm.weight.copy_((variance[half:] + k3_norm.eps).sqrt())
    k3_norm.bias.copy_(mean[half:])
    kept = torch.cat([_variance(w_aa, variance[:half]), _variance(w_bb, variance[half:])])
    lost = torch.cat([_variance(w_ab, variance[half:]), _variance(w_ba, variance[:half])])
    lost_mean = torch.cat([_mean(w_ab, mean[half:]), _mean(w_ba, mean[:half])])
    _statistics(after)[0].sub_(lost_mean)
    _statistics(after)[1].mul_(kept / (kept + lost).clamp_min(torch.finfo(kept.dtype).tiny))
    return True


def _statistics(norm: BatchNorm) -> tuple[Tensor, Tensor]:
    """Return the running mean and variance of a norm."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    return norm.running_mean, norm.running_var


def _rectified_moments(norm: BatchNorm) -> tuple[Tensor, Tensor]:
    """Return mean and variance of ReLU(y) for y with a normal distribution of mean β and deviation |γ|, by channel."""
    deviation = norm.weight.abs().clamp_min(1e-6)
    z = norm.bias / deviation
    below = torch.special.ndtr(z)
    density = (-(z**2) / 2).exp() / math.sqrt(2 * math.pi)
    mean = norm.bias * below + deviation * density
    square = (norm.bias**2 + deviation**2) * below + norm.bias * deviation * density
    return mean, (square - mean**2).clamp_min(0)


def _mean(weight: Tensor, mean: Tensor) -> Tensor:
    return torch.einsum("oithw,i->o", weight, mean)


def _variance(weight: Tensor, variance: Tensor) -> Tensor:
    """Return the variance of a sum of independent inputs."""
    return torch.einsum("oithw,i->o", weight**2, variance)
