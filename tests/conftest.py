"""What several test files share: numerical settings, and the data that lies beside the checkout where there is any."""

from pathlib import Path

import jax
import pytest

# Matrix units of accelerators round float32 to a few digits unless told otherwise.
jax.config.update("jax_default_matmul_precision", "highest")
# Commands that run in this process keep no compiled programs: tests do not depend on those before them.
jax.config.update("jax_enable_compilation_cache", False)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of weights, pictures and data sets beside the checkout."""
    return _present(Path(__file__).resolve().parents[2] / "shared")


@pytest.fixture(scope="session")
def googlenet_file(shared: Path) -> Path:
    """The trained BVLC GoogLeNet as a PyTorch state dict."""
    return _present(shared / "weights" / "bvlc_googlenet.pth")


@pytest.fixture(scope="session")
def dog_cat(shared: Path) -> Path:
    """A photograph of a dog and a cat."""
    return _present(shared / "images" / "dog_cat.jpg")


@pytest.fixture(scope="session")
def googlenet_float32(googlenet_file: Path):
    """The trained BVLC GoogLeNet in lightjax, from the float32 original."""
    import torch

    from lightjax.networks import inception, inception_torch

    tensors = {k: v.numpy() for k, v in torch.load(googlenet_file, weights_only=True).items()}
    return inception.InceptionV1(*inception_torch.from_torch(tensors))


@pytest.fixture(scope="session")
def googlenet():
    """The network that comes with lightjax."""
    from lightjax import load_model

    return load_model()


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory) -> Path:
    """A public-looking inception5h.pth with random weights."""
    import torch

    from tests.parity import reference

    path = tmp_path_factory.mktemp("checkpoint") / "inception5h.pth"
    torch.save(reference.random_state_dict("inception5h", 0), path)
    return path


@pytest.fixture(scope="session")
def converted(checkpoint: Path, tmp_path_factory) -> Path:
    """The same as a weights file, alone in its folder."""
    from lightjax.networks import weights

    path = tmp_path_factory.mktemp("converted") / "inception5h.safetensors"
    weights.convert(checkpoint, path)
    return path


@pytest.fixture
def compiled():
    """The names of the programs that are compiled, as they are."""
    names: list[str] = []

    def listen(event: str, duration: float, **about) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            names.append(about.get("fun_name", ""))

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield names
    jax.monitoring.unregister_event_duration_listener(listen)


def _present(path: Path) -> Path:
    if not path.exists():
        pytest.skip(f"{path.parent.name}/{path.name} is not here")
    return path
