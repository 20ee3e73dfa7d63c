"""Lets a job end in the middle of a network."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from videoctx.app.jobs import Job


@contextmanager
def cancellable(net: nn.Module, job: Job) -> Iterator[None]:
    """Let every forward pass inside the block check the job, and so every part of the network."""
    hooks = [part.register_forward_pre_hook(lambda *_: job.check()) for part in (net, *net.children())]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
