"""The state of a training in a file, from which it goes on."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy

from lightjax import _checks, _files
from lightjax.networks.tensor_files import TensorFileError, read_safetensors

_KIND = "lightjax_dictionary_in_training"


def write(path: Path, settings: dict[str, Any], state: Any, losses: np.ndarray) -> None:
    """Write a state, a pytree of arrays.

    Raises:
      OSError: If the file cannot be written; no half-written file is left.
    """
    arrays = {f"state/{i}": np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(state))}
    metadata = {_KIND: json.dumps(settings)}
    _files.write_atomically(path, safetensors.numpy.save({**arrays, "losses": losses}, metadata))


def read(path: Path, settings: dict[str, Any], start: Any) -> tuple[Any, np.ndarray]:
    """The state in a checkpoint, and the losses so far.

    Args:
      path: The checkpoint.
      settings: What the state must have been made with.
      start: A state of the same structure.

    Raises:
      ValueError: If the file is damaged, or belongs to something else.
    """
    try:
        arrays, metadata = read_safetensors(path)
        theirs = json.loads(metadata.get(_KIND, "null"))
    except (TensorFileError, ValueError, RecursionError) as error:
        raise ValueError(f"checkpoint {_checks.in_a_line(path)} cannot be read: {_checks.in_a_line(error)}") from None
    if not isinstance(theirs, dict):
        raise ValueError(f"checkpoint {_checks.in_a_line(path)} is no state of fit_dictionary; give another name")
    other = [name for name in {**settings, **theirs} if settings.get(name) != theirs.get(name)]
    if other:
        raise ValueError(
            f"checkpoint {_checks.in_a_line(path)} belongs to a training with other {', '.join(sorted(other))}; remove "
            "it, or give another name"
        )
    leaves, tree = jax.tree.flatten(start)
    found = [arrays.get(f"state/{i}") for i in range(len(leaves))]
    losses = arrays.get("losses", np.zeros(0))
    fits = all(a is not None and (a.shape, a.dtype) == (b.shape, b.dtype) for a, b in zip(found, leaves, strict=True))
    if not fits or losses.ndim != 1 or losses.dtype != np.float32 or not 0 < len(losses) <= settings["steps"]:
        raise ValueError(f"checkpoint {_checks.in_a_line(path)} is damaged; remove it")
    return jax.tree.unflatten(tree, [jnp.asarray(a) for a in found]), losses
