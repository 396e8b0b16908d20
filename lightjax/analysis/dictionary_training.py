"""Training of dictionaries: sparse autoencoders that keep the k largest latents (TopK), with help for dead ones."""

import dataclasses
import hashlib
import importlib.metadata
import os
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.typing import ArrayLike

from lightjax import _checks
from lightjax._structure import by_structure
from lightjax.analysis import dictionary_state
from lightjax.analysis.dictionary import Dictionary
from lightjax.progress import bar

AUX_WEIGHT = 1 / 32
"""Weight of the loss of dead latents."""
DEAD_AFTER = 32
"""Number of steps after which a latent that was not selected counts as dead."""
CENTERS = ("mean", "median")

_DECAY = 0.2
"""The last share of the steps, in which the learning rate falls to 0."""
_MEDIAN_ROUNDS, _MEDIAN_VECTORS = 100, 10_000


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Fit:
    """A dictionary that `fit_dictionary` trained, and how well that went.

    Attributes:
      dictionary: The dictionary.
      variance_explained: Of the vectors that were held out, see `Dictionary.variance_explained`.
      dead: Numbers of the latents that no held-out vector selects.
      frequency: Share of the held-out vectors that select each latent, `[latents]`.
      losses: Squared error of each step over the variance of the vectors, `[steps]`.
      settings: What it was made with, as plain JSON.
    """

    dictionary: Dictionary
    variance_explained: float
    dead: np.ndarray
    frequency: np.ndarray
    losses: np.ndarray
    settings: dict[str, Any]

    def __repr__(self) -> str:
        return (
            f"Fit({self.dictionary!r}: {self.variance_explained:.3f} of the held-out variance explained, "
            f"{len(self.dead)} dead latents, {len(self.losses)} steps)"
        )


class _State(NamedTuple):
    """What a step changes. Vectors are divided by their scale, so that each channel has variance 1 on average."""

    parameters: dict[str, Array]
    optimizer: Any
    unused: Array  # steps since each latent was selected, `[latents]`
    step: Array


def fit_dictionary(
    activations: ArrayLike,
    layer: str,
    latents: int,
    *,
    k: int = 32,
    steps: int = 1000,
    batch: int = 2048,
    learning_rate: float = 2e-3,
    aux_weight: float = AUX_WEIGHT,
    dead_after: int = DEAD_AFTER,
    center: str = "mean",
    held_out: float = 0.1,
    seed: int = 0,
    checkpoint: str | os.PathLike | None = None,
    every: int = 50,
    progress: bool = True,
) -> Fit:
    """Train a sparse autoencoder whose vectors are explained by k latents each.

    The loss is the squared error. A second one, of weight `aux_weight`, lets the 2k strongest dead latents explain what
    the others leave. Rows of the decoder keep length 1, and the encoder starts as the decoder's transpose. The same
    arguments give the same bytes on the same machine.

    Examples:
      >>> x = jax.jit(lambda images: model(images)["mixed4c"])(photographs)
      >>> fit = lj.fit_dictionary(x, "mixed4c", 2048, k=32, steps=1000)
      >>> fit.dictionary.save("mixed4c.safetensors")

    Args:
      activations: Vectors of the layer, `[n, c]`; or `[N, h, w, c]` or `[N, T, c]` of pictures, of which whole pictures
        are held out.
      layer: Name of the layer.
      latents: Number of latents.
      k: Number of latents that stay for each vector.
      steps: Number of steps.
      batch: Vectors of a step.
      learning_rate: Of Adam. In the last fifth of the steps it falls to 0.
      aux_weight: Weight of the loss of dead latents; 0 for none.
      dead_after: Number of steps after which a latent that was not selected counts as dead.
      center: Where the center starts: the "mean" of the vectors, or their geometric "median".
      held_out: Share of the pictures, or of the vectors, that are measured and not trained on.
      seed: Seed of the decoder and of the order of the vectors.
      checkpoint: A .safetensors file that holds the state after every `every` steps. If it is there, training goes on
        from it, and ends with the bytes of a training that was never interrupted.
      every: Number of steps between two writes of the checkpoint.
      progress: Whether to show a progress bar.

    Raises:
      TypeError: If an argument has a wrong type.
      ValueError: If an argument has a wrong value, there are too few vectors, or the checkpoint belongs to other
        arguments.
      ArithmeticError: If the loss stops being finite.
      OSError: If the checkpoint cannot be written.

    References:
      Gao et al., "Scaling and Evaluating Sparse Autoencoders", 2024.
    """
    layer, latents = _checks.text(layer, "layer"), _checks.count(latents, "latents")
    settings = {
        "layer": layer,
        "latents": latents,
        "k": _checks.whole(k, "k", least=1, most=latents),
        "steps": _checks.count(steps, "steps"),
        "batch": _checks.count(batch, "batch"),
        "learning_rate": _checks.number(learning_rate, "learning_rate", above=0),
        "aux_weight": _checks.number(aux_weight, "aux_weight", least=0),
        "dead_after": _checks.count(dead_after, "dead_after"),
        "center": _checks.one_of(center, CENTERS, "center"),
        "held_out": _checks.number(held_out, "held_out", above=0, most=0.9),
        "seed": _checks.whole(seed, "seed", least=0, most=2**32 - 1),
        "lightjax": importlib.metadata.version("lightjax"),
    }
    every, progress = _checks.count(every, "every"), _checks.flag(progress, "progress")
    path = None if checkpoint is None else _checks.path(checkpoint, "checkpoint")
    if path is not None and (path.suffix != ".safetensors" or path.is_dir()):
        raise ValueError(f"checkpoint must be a file NAME.safetensors, got {_checks.in_a_line(path.name)!r}")
    if path is not None and not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {_checks.in_a_line(path.parent)} for the checkpoint")
    held, trained = _split(activations, settings)
    settings["channels"] = trained.shape[1]

    mean = trained.mean(0, dtype=np.float64)
    scale = float(np.sqrt(np.square(trained - mean).mean(dtype=np.float64)))
    if scale == 0:
        raise ValueError("activations must have at least two different vectors, got equal ones")
    middle = (mean if center == "mean" else _median(trained, mean)).astype(np.float32)
    state, losses = _started(settings), np.zeros(0, np.float32)
    if path is not None:
        settings["data"] = hashlib.sha256(trained.tobytes() + held.tobytes()).hexdigest()[:16]
        if path.exists():
            state, losses = dictionary_state.read(path, settings, state)
    new: list[Array] = []
    with bar(settings["steps"], "step", progress, done=len(losses)) as shown:
        for step in range(len(losses), settings["steps"]):
            rows = np.sort(_rows(settings, len(trained), step))
            x = (trained[rows] - middle) / np.float32(scale)
            state, loss = _advanced(state, x, _Plan.of(settings))
            new.append(loss)
            if path is not None and ((step + 1) % every == 0 or step + 1 == settings["steps"]):
                losses, new = _finite(losses, new), []
                dictionary_state.write(path, settings, state, losses)
            shown.update(1)
    losses = _finite(losses, new)
    parts = {name: np.asarray(value) for name, value in state.parameters.items()}
    dictionary = Dictionary(
        layer,
        parts["encoder"],
        parts["bias"] * np.float32(scale),
        parts["decoder"],
        middle + parts["center"] * np.float32(scale),
        k=settings["k"],
        source=f"trained on {len(trained)} vectors for {settings['steps']} steps, seed {settings['seed']}",
    )
    selected = sum(np.asarray(_selected(dictionary, held[i : i + 4096])) for i in range(0, len(held), 4096))
    frequency = np.asarray(selected, np.float32) / len(held)
    return Fit(
        dictionary, dictionary.variance_explained(held), np.flatnonzero(frequency == 0), frequency, losses, settings
    )


@dataclasses.dataclass(frozen=True)
class _Plan:
    """The settings that a step depends on."""

    k: int
    steps: int
    learning_rate: float
    aux_weight: float
    dead_after: int

    @classmethod
    def of(cls, settings: dict[str, Any]) -> "_Plan":
        return cls(**{field.name: settings[field.name] for field in dataclasses.fields(cls)})

    @property
    def optimizer(self) -> optax.GradientTransformation:
        first = int(self.steps * (1 - _DECAY))
        rate = optax.linear_schedule(self.learning_rate, 0.0, max(self.steps - first, 1), first)
        return optax.adam(rate)


@by_structure
def _advanced(state: _State, x: Any, plan: _Plan) -> tuple[_State, Array]:
    """One step on vectors `[batch, c]`; also its squared error over their variance."""
    dead = state.unused >= plan.dead_after

    def loss(parameters: dict[str, Array]) -> tuple[Array, tuple[Array, Array]]:
        pre = (x - parameters["center"][None]) @ parameters["encoder"] + parameters["bias"][None]
        kept = _largest(pre, plan.k)
        left = x - kept @ parameters["decoder"] - parameters["center"][None]
        error = jnp.square(left).mean()
        if plan.aux_weight:
            most = min(2 * plan.k, len(state.unused))
            extra = jax.lax.cond(
                dead.any(),
                lambda pre, left: _of_dead(jnp.where(dead[None], pre, -1.0), left, parameters["decoder"], most),
                lambda pre, left: jnp.zeros((), left.dtype),
                pre,
                jax.lax.stop_gradient(left),
            )
            return error + plan.aux_weight * extra, (error, (kept > 0).any(0))
        return error, (error, (kept > 0).any(0))

    gradient, (error, used) = jax.grad(loss, has_aux=True)(state.parameters)
    decoder = state.parameters["decoder"]
    along = (gradient["decoder"] * decoder).sum(1, keepdims=True)
    gradient = gradient | {"decoder": gradient["decoder"] - along * decoder}  # the length is fixed
    change, optimizer = plan.optimizer.update(gradient, state.optimizer, state.parameters)
    parameters: Any = optax.apply_updates(state.parameters, change)
    length = jnp.linalg.norm(parameters["decoder"], axis=1, keepdims=True)
    parameters = parameters | {"decoder": parameters["decoder"] / length}
    unused = jnp.where(used, jnp.zeros_like(state.unused), state.unused + 1)
    return _State(parameters, optimizer, unused, state.step + 1), error


def _of_dead(pre: Array, left: Array, decoder: Array, most: int) -> Array:
    """How much of what is left the strongest dead latents do not explain: the squared error over the square."""
    return jnp.square(left - _largest(pre, most) @ decoder).mean() / jnp.maximum(jnp.square(left).mean(), 1e-12)


def _largest(pre: Array, k: int) -> Array:
    """The k largest latents of each row, rectified; 0 elsewhere."""
    if k == pre.shape[1]:
        return jax.nn.relu(pre)
    least = jax.lax.top_k(jax.lax.stop_gradient(pre), k)[0][:, -1:]
    return jnp.where(pre >= least, jax.nn.relu(pre), jnp.zeros_like(pre))


@by_structure
def _selected(dictionary: Dictionary, x: ArrayLike) -> Array:
    """How many vectors select each latent."""
    return (dictionary.encode(x) > 0).sum(0)


def _started(settings: dict[str, Any]) -> _State:
    """The state before the first step. NumPy draws it."""
    generator = np.random.default_rng([settings["seed"], 0])
    decoder = generator.standard_normal((settings["latents"], settings["channels"]), np.float32)
    decoder /= np.linalg.norm(decoder, axis=1, keepdims=True)
    parameters: dict[str, Any] = {
        "encoder": decoder.T.copy(),
        "bias": np.zeros(settings["latents"], np.float32),
        "decoder": decoder,
        "center": np.zeros(settings["channels"], np.float32),
    }
    parameters = jax.tree.map(jnp.asarray, parameters)
    optimizer = _Plan.of(settings).optimizer.init(parameters)
    return _State(parameters, optimizer, jnp.zeros(settings["latents"], jnp.int32), jnp.zeros((), jnp.int32))


def _split(activations: ArrayLike, settings: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Vectors to measure and vectors to train on, `[n, c]` each; drawn by picture."""
    x = np.asarray(_checks.numbers(activations, "activations"), np.float32)
    if x.ndim < 2:
        raise ValueError(f"activations must be vectors [n, c], or [N, h, w, c] of pictures, got {list(x.shape)}")
    held = max(round(settings["held_out"] * len(x)), 1)
    order = np.random.default_rng([settings["seed"], 1]).permutation(len(x))
    if held >= len(x):
        raise ValueError(f"activations must hold at least 2 pictures or vectors, got {len(x)}")
    held_out, trained = (x[np.sort(part)].reshape(-1, x.shape[-1]) for part in (order[:held], order[held:]))
    if len(held_out) < 2:
        raise ValueError(
            "held_out must leave at least 2 vectors of the activations to measure, got "
            f"{settings['held_out']} of {len(x)}"
        )
    if len(trained) < settings["batch"]:
        raise ValueError(
            f"batch must be at most {len(trained)}, the number of vectors to train on, got {settings['batch']}"
        )
    return held_out, trained


def _rows(settings: dict[str, Any], count: int, step: int) -> np.ndarray:
    """The vectors of a step: each pass goes through all of them in an order of its own."""
    steps_of_pass = count // settings["batch"]
    turn, place = divmod(step, steps_of_pass)
    order = np.random.default_rng([settings["seed"], 2, turn]).permutation(count)
    return order[place * settings["batch"] : (place + 1) * settings["batch"]]


def _median(x: np.ndarray, start: np.ndarray) -> np.ndarray:
    """The point with the least sum of distances to some of the vectors (Weiszfeld's iteration)."""
    x = x[:: max(len(x) // _MEDIAN_VECTORS, 1)]
    point = start
    for _ in range(_MEDIAN_ROUNDS):
        weights = 1 / np.maximum(np.linalg.norm(x - point, axis=1), 1e-6)
        moved = weights @ x / weights.sum()
        if np.abs(moved - point).max() <= 1e-6 * max(np.abs(moved).max(), 1e-12):
            return moved
        point = moved
    return point


def _finite(losses: np.ndarray, new: list[Array]) -> np.ndarray:
    """All losses so far, which must be finite."""
    losses = np.concatenate([losses, np.asarray(jax.device_get(new), np.float32).reshape(-1)])
    wrong = np.flatnonzero(~np.isfinite(losses))
    if len(wrong):
        raise ArithmeticError(f"the loss is not finite at step {wrong[0] + 1}: use a lower learning_rate")
    return losses
