"""lightjax works where JAX promotes neither ranks nor types of arrays: everything is traced, little compiled."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import lightjax as lj
from lightjax import images, networks, ops, optimize, transforms
from tests.objectives.cases import CASES, SINGLE

KEY = jax.random.key(0)
BASES = [images.Fourier(), images.Pixels(), images.Laplacian(), images.Shared(), images.FourierPhases()]
BASES += [images.Cppn(2, 4, one, normalize=True) for one in images.CPPN_ACTIVATIONS]
WITH_INVERSE = (images.Fourier, images.Pixels, images.Laplacian, images.Shared)
PUBLISHED = [transforms.LUCID, transforms.LUCENT, transforms.TORCHLIGHT, transforms.MACO, transforms.LUCID_ATLAS]
TRANSFORMS = [
    *PUBLISHED,
    transforms.compose(transforms.Pad(2, "reflect"), transforms.Pad(2, "random"), transforms.RandomFlip()),
    transforms.compose(transforms.RandomRotate([-9, 9]), transforms.CropOrPad(20)),
    transforms.compose(transforms.RandomScale(transforms.Between(0.5, 9)), transforms.GaussianBlur([0.5, 1])),
    transforms.compose(transforms.Noise(0.1, 0.1), transforms.NormalizeGradient()),
    transforms.SameForAll(transforms.Jitter(3)),
]


@pytest.fixture(autouse=True)
def strict():
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        yield


def model(pictures, *, relu=jax.nn.relu):
    """A layer of every operation of the library."""
    kernel = jnp.full((3, 3, 3, 4), 0.1)
    first = relu(ops.conv(pictures, kernel, 2, ((1, 1), (1, 1))))
    pooled = ops.max_pool(ops.local_response_norm(first, 2, 1.0, 1e-4, 0.75), 2, ((1, 1), (1, 1)))
    return {"first": first, "pooled": pooled, "dense": pooled.mean((1, 2))}


def trace(goal, image=lj.image(32), transform=None, optimizer=0.05, start=None, **settings):  # noqa: B008
    """Trace the first state and one step of a render."""
    recipe = lj.Recipe.of(goal, model=model, image=image, transform=transform, optimizer=optimizer, **settings)
    state = jax.eval_shape(lambda: optimize.init(KEY, recipe.setup, start))
    jax.eval_shape(lambda state: optimize.advance(state, recipe.setup, recipe.objective, KEY, 1), state)


@pytest.mark.parametrize("case", CASES)
def test_every_objective(case):
    jax.eval_shape(jax.grad(CASES[case][0].__call__), SINGLE)
    jax.eval_shape(lambda goal, activations: jax.grad(goal.__call__)(activations), CASES[case][0], SINGLE)


@pytest.mark.parametrize("basis", BASES, ids=repr)
def test_every_basis_and_squash(basis):
    for squash, color, alpha in zip(images.SQUASHES, ("lucid", "rgb", "gray", "caltech101"), (0, 1, 0, 1), strict=True):
        image = lj.image((33, 32), basis=basis, batch=2, squash=squash, color=color, alpha=bool(alpha))
        start = np.full((2, 33, 32, 3 + alpha), 0.5, np.float32)
        background = transforms.CollapseAlpha((0.1, 0.2, 0.3) if squash == "clamp" else None) if alpha else None
        trace("pooled:1", image, background, start=start if isinstance(basis, WITH_INVERSE) else None)


@pytest.mark.parametrize("transform", TRANSFORMS, ids=range(len(TRANSFORMS)))
def test_every_transform(transform):
    trace("pooled:1", lj.image(300 if transform in PUBLISHED else 32, batch=2), transform, views=2)


def test_every_gradient_rule_and_optimizers():
    for rule in ops.RULES:
        trace("first:2[0] - 0.5 * dense:1[1]", lj.image(32, batch=2), relu=rule)
    for optimizer in (optax.lbfgs(), optax.chain(optax.adam(0.1), optimize.clamp_params(-1, 1))):
        trace("first:2", optimizer=optimizer)


def test_googlenet():
    network = networks.InceptionV1(networks.ARCHITECTURES["bvlc_googlenet"], rngs=nnx.Rngs(0))
    assert jax.eval_shape(network, jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32))["softmax2"].shape == (1, 1000)


def test_renders():
    start = np.full((16, 16, 3), 0.5, np.float32)
    settings = {"model": model, "transform": transforms.Jitter(2), "steps": 2, "progress": False}
    one = lj.visualize("first:1", image=lj.image(16), start=start, **settings)
    many = lj.visualize_many(lj.channel("first", [0, 1]), size=16, chunk=2, **settings).in_order()
    assert all(np.isfinite(result.values).all() for result in [one, *many])
