"""The device of the tests marked `cuda`."""

import os

import pytest
import torch


@pytest.fixture
def device():
    """The GPU or, where the tests are tried without one (tests/conftest.py), the CPU. Nothing is rounded to TF32."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    yield torch.device("cpu" if os.environ.get("VIDEOCTX_CUDA_TESTS_ON_CPU") else "cuda")
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


@pytest.fixture
def cuda(device):
    """The GPU, for what a CPU does not have."""
    if device.type != "cuda":
        pytest.skip("a CPU does not have it")
    return device
