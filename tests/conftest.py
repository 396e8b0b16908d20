"""Settings and fixtures of several test files."""

import gc
import os
import shutil
import tempfile
from pathlib import Path

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache

CACHE = "LIGHTJAX_TEST_CACHE"

# Programs of a test run a few times at most, and XLA compiles them in half of the time without its newer emitters of
# fused loops. Processes that tests start inherit this. An unknown flag would end the process, so other versions of JAX
# do without.
if jax.__version__.startswith("0.10."):
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_use_fusion_emitters=false".strip()

# By default the matrix units of accelerators round float32 to a few digits.
jax.config.update("jax_default_matmul_precision", "highest")


def pytest_configure(config):
    """Share compiled programs between the workers of a session, and between sessions if $LIGHTJAX_TEST_CACHE is set."""
    if CACHE not in os.environ:  # the workers of xdist inherit it
        os.environ[CACHE] = tempfile.mkdtemp(prefix="lightjax-tests-")

        def remove():
            shutil.rmtree(os.environ.pop(CACHE), ignore_errors=True)

        config.add_cleanup(remove)
    jax.config.update("jax_compilation_cache_dir", os.environ[CACHE])
    jax.config.update(
        "jax_compilation_cache_max_size", 2**33
    )  # with a limit JAX locks the folder, without it it does not
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


if "PYTEST_XDIST_WORKER" in os.environ:  # threads of several workers would wait for each other
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")


def pytest_collection_finish():
    """Spare the garbage collector what lives as long as the tests: modules and the tests themselves."""
    gc.collect()
    gc.freeze()


SLOW = {
    "accentuation",
    "arguments",
    "aten",
    "atlas",
    "attribution",
    "batching",
    "capture",
    "circuits",
    "cli",
    "dictionary",
    "docs",
    "from_torch",
    "gallery",
    "grid",
    "groups",
    "names",
    "notebooks",
    "operations",
    "page",
    "parity",
    "readme",
    "release",
    "strict",
    "transforms",
    "weights",
}
"""Files whose tests are all slow: they compile whole networks or start processes, or share what others set up."""


def pytest_collection_modifyitems(items):
    """Mark the tests of slow files, so that `-m "not slow"` takes about two minutes, and run the longest first.

    Each worker of pytest-xdist takes whole files, and at the end one waits for the other.
    """
    first = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: first.get(item.module.__name__.rpartition(".")[2].removeprefix("test_"), len(first)))
    for item in items:
        if item.module.__name__.rpartition(".")[2].removeprefix("test_") in SLOW:
            item.add_marker(pytest.mark.slow)


LONGEST = (
    "notebooks",
    "gallery",
    "images",
    "arguments",
    "render",
    "from_torch",
    "docs",
    "transforms",
    "parity",
    "cli",
    "names",
    "weights",
    "readme",
    "batching",
    "attribution",
)
"""Files that take longest, the longest first."""

EXACT = {"operations", "parity"}
"""Files about the programs that users run, or that compute much. All others compile much and compute little."""


@pytest.fixture(scope="module", autouse=True)
def optimizations(request):
    """Leave out most of XLA's optimizations but in the files named above, which takes half of the time to compile."""
    quick = request.module.__name__.rpartition(".")[2].removeprefix("test_") not in EXACT
    jax.config.update("jax_disable_most_optimizations", quick)
    with pytest.MonkeyPatch.context() as patch:
        if quick:  # processes that a test starts make the same bytes
            patch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
        yield
    jax.config.update("jax_disable_most_optimizations", False)
    jax.clear_caches()  # or the garbage collector goes through gigabytes of earlier files' programs


@pytest.fixture
def optimized():
    """Compile with all optimizations in one test, which computes much."""
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", True)


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
def efficientnet_file() -> Path:
    """The trained EfficientNet-Lite0 of PyPI, converted once for all workers."""
    import torch

    from lightjax import from_torch
    from tests.networks import zoo

    file = Path(os.environ[CACHE]) / "efficientnet_lite0.safetensors"
    if not file.exists():
        net, known = zoo.trained_efficientnet()
        batch = ({0: torch.export.Dim.AUTO},)
        with torch.no_grad():  # a program is traced once, a module twice
            program = torch.export.export(net, (torch.zeros(2, 3, 224, 224),), dynamic_shapes=batch, strict=False)
        from_torch(program, **known, check=False).save(file)
    return file


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


@pytest.fixture(scope="session")
def compilations() -> dict[str, str]:
    """Environment variables with which another process shares the compiled programs of this session."""
    return {
        "JAX_COMPILATION_CACHE_DIR": os.environ[CACHE],
        "JAX_COMPILATION_CACHE_MAX_SIZE": str(2**33),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2",
    }


@pytest.fixture
def compiled():
    """The names of the programs that a test compiles, in order. The compilation cache is off meanwhile."""
    names: list[str] = []

    def listen(event: str, duration: float, **about) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            names.append(about.get("fun_name", ""))

    def keep(enabled: bool) -> None:
        jax.config.update("jax_enable_compilation_cache", enabled)
        compilation_cache.reset_cache()  # JAX reads the setting once

    before = jax.config.values["jax_enable_compilation_cache"]
    keep(False)
    jax.monitoring.register_event_duration_secs_listener(listen)
    yield names
    jax.monitoring.unregister_event_duration_listener(listen)
    keep(before)


def _present(path: Path) -> Path:
    if not path.exists():
        pytest.skip(f"{path.parent.name}/{path.name} is not here")
    return path
