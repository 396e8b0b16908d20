"""What the benchmarks share: the real network, from the folder `$LIGHTJAX_HOME`."""

import os
from pathlib import Path

import pytest
import torch

from benchmarks import torch_loops


@pytest.fixture(scope="session")
def googlenet_file() -> Path:
    """The weights of GoogLeNet as a PyTorch state dict."""
    path = Path(os.environ.get("LIGHTJAX_HOME", "")) / "bvlc_googlenet.pth"
    if not path.is_file():
        pytest.skip("there is no bvlc_googlenet.pth in $LIGHTJAX_HOME")
    return path


@pytest.fixture(scope="session")
def network(googlenet_file: Path) -> torch_loops.GoogLeNet:
    """The PyTorch network."""
    state = torch.load(googlenet_file, weights_only=True)
    return torch_loops.GoogLeNet({name: value.clone() for name, value in state.items()})
