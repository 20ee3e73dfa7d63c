"""Random weights for a module, and the comparison of its values and gradients with a reference."""

from collections.abc import Callable, Collection, Sequence

import torch
from torch import Tensor, nn

TOLERANCE = {"rtol": 1e-10, "atol": 1e-12}  # float64


def randomized(module: nn.Module, seed: int = 0) -> nn.Module:
    """`module` in float64 and evaluation mode, all weights and running statistics random: no zero hides a path."""
    generator = torch.Generator().manual_seed(seed)
    module.double().eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * 0.7)
        for name, buffer in module.named_buffers():
            if name.endswith("running_mean"):
                buffer.copy_(torch.randn(buffer.shape, generator=generator, dtype=torch.float64))
            elif name.endswith("running_var"):
                buffer.copy_(torch.rand(buffer.shape, generator=generator, dtype=torch.float64) + 0.5)
    return module


def random_input(*shape: int, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()


def gradients(output: Tensor, of: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Of a random weighting of the output, so that no two errors cancel."""
    weighting = torch.randn(output.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    return torch.autograd.grad((output * weighting).sum(), list(of))


def assert_same_function(
    module: nn.Module,
    reference: Callable[[Tensor, dict[str, Tensor]], Tensor],
    x: Tensor,
    *,
    without_gradient: Collection[str] = (),
) -> None:
    """Values, and gradients for x and for every parameter, are those of `reference(x, tensors by name)`.

    Args:
        without_gradient: parameters whose gradient is zero by the equations; all others must have one.
    """
    tensors = dict(module.named_parameters())
    leaves = {"x": x, **tensors}
    value, expected = module(x), reference(x, {**tensors, **dict(module.named_buffers())})
    torch.testing.assert_close(value, expected, **TOLERANCE)
    of_module, of_reference = gradients(value, leaves.values()), gradients(expected, leaves.values())
    for name, actual, truth in zip(leaves, of_module, of_reference, strict=True):
        torch.testing.assert_close(
            actual, truth, **TOLERANCE, msg=lambda text, name=name: f"gradient of {name}: {text}"
        )
        assert (truth.abs().max() < 1e-12) == (name in without_gradient), f"gradient of {name} is {truth.abs().max()}"
