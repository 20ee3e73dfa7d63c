"""Stages that are computed again in the backward pass: the same numbers with less memory."""

import pytest
import torch
from torch import nn

from tests.each_case import each_case
from videoctx.layers import NonLocal
from videoctx.models import ResNet3D
from videoctx.models.temporal_tables import STAGES


def trained_once(activation_checkpointing=(), *, width=4, frozen=False):
    """A network after one step back, with what autograd kept of the step in bytes."""
    torch.manual_seed(0)
    net = ResNet3D(
        5,
        depth=18,
        width=width,
        zero_init_residual=False,
        context=NonLocal,
        context_at={"res4": [0]},
        activation_checkpointing=activation_checkpointing,
    ).train()
    if frozen:
        for layer in net.modules():
            if isinstance(layer, nn.modules.batchnorm._BatchNorm):
                layer.eval()
    clips = torch.randn(2, 3, 4, 32, 32)
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logits = net(clips)
        weights = {parameter.untyped_storage().data_ptr() for parameter in net.parameters()}
        kept_bytes = sum(size for place, size in kept.items() if place not in weights)
    logits.square().sum().backward()
    return net, logits, kept_bytes


@each_case("frozen", [False, True])
@each_case("activation_checkpointing", [("res2",), ("res3", "res5"), STAGES])
def test_gradients_and_statistics_are_the_same_to_the_last_digit(activation_checkpointing, frozen):
    plain, logits, _ = trained_once(frozen=frozen)
    again, same_logits, _ = trained_once(activation_checkpointing, frozen=frozen)
    assert torch.equal(logits, same_logits)
    for (name, one), other in zip(plain.named_parameters(), again.parameters(), strict=True):
        assert torch.equal(one.grad, other.grad), name
    for (name, one), other in zip(plain.named_buffers(), again.buffers(), strict=True):
        assert torch.equal(one, other), name
    tracked = {int(buffer) for name, buffer in again.named_buffers() if name.endswith("num_batches_tracked")}
    assert tracked == ({0} if frozen else {1})


def test_less_is_kept():
    everything, one_less, least = (trained_once(stages, width=16)[2] for stages in ((), ("res2",), STAGES))
    assert one_less < 0.85 * everything
    assert least < 0.6 * everything


def test_evaluation_computes_once():
    net, _, _ = trained_once(STAGES)
    calls = []
    net.res2.register_forward_hook(lambda *_: calls.append(1))
    with torch.no_grad():
        net.eval()(torch.randn(1, 3, 4, 32, 32))
    assert calls == [1]


def test_an_unknown_stage_is_refused():
    with pytest.raises(ValueError, match=r"activation_checkpointing is \['res6'\]; expected stages of res2, res3"):
        ResNet3D(5, activation_checkpointing=["res6"])
