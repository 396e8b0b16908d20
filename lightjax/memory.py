"""How much memory a render takes, estimated from shapes before anything is computed, and how much there is."""

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from lightjax.images import Image, NaturalImage

_SHARE = 0.6
"""Part of all activations that a step keeps at least: 0.6 for early layers of GoogLeNet, 1 and more for late ones."""
_COPIES = 5
"""Copies of the parameters: now, before the last update, their gradient, and two of Adam."""
_PLANES = 4
"""Copies of the pictures while they are decoded, at least."""
_CGROUPS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""Files in which a container says how much memory it may take."""


def available() -> int:
    """Bytes of memory of the first device; on a CPU, of the machine or of the container around this process."""
    account = jax.local_devices()[0].memory_stats() or {}
    if account.get("bytes_limit"):
        return account["bytes_limit"]
    try:
        found = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    except (AttributeError, OSError, ValueError):  # not on every system
        found = [2**40]
    for file in _CGROUPS:
        try:
            found.append(int(file.read_text()))
        except (OSError, ValueError):  # there is no such file, or it says "max"
            continue
    return min(found)


def size_of(arrays: Any) -> int:
    """Bytes of all arrays of a pytree, which may be shapes."""
    return sum(math.prod(x.shape) * jax.numpy.dtype(x.dtype).itemsize for x in jax.tree.leaves(arrays))


def check_pictures(image: Image) -> None:
    """Check that decoded pictures fit into memory, before even their shape is looked at.

    Raises:
      ValueError: If they do not.
    """
    if isinstance(image, NaturalImage):
        number = image.batch * image.height * image.width * (image.channels + image.alpha)
        _check(4 * _PLANES * number, image)


def check(
    image: Image, shapes: Mapping[str, jax.ShapeDtypeStruct], *, views: int = 1, snapshots: int = 0, steps: int = 0
) -> None:
    """Check that a render fits into memory.

    Args:
      image: The image.
      shapes: Shapes of all activations, and "input", the pictures.
      views: Draws of the transform in each step.
      snapshots: Number of pictures that are kept.
      steps: Number of steps, whose values are kept.

    Raises:
      ValueError: If the render needs more than there is. The message says how much.
    """
    step = _SHARE * views * size_of(dict(shapes)) + _COPIES * size_of(jax.eval_shape(image.init, jax.random.key(0)))
    _check(step + (_PLANES + snapshots) * size_of(shapes["input"]) + 4 * steps, image)


def _check(needed: float, image: Image) -> None:
    there = available()
    if needed > there:
        what = ""
        if isinstance(image, NaturalImage):
            several = f"{image.batch} pictures" if image.batch > 1 else "a picture"
            what = f" of {several} of {image.height}x{image.width}"
        raise ValueError(
            f"this render{what} needs about {_gigabytes(needed)} of memory, and there are {_gigabytes(there)}: use a "
            "smaller size, batch, or number of views, steps or snapshots"
        )


def _gigabytes(number: float) -> str:
    return f"{number / 1e9:,.0f} GB" if 1e10 < number < 1e15 else f"{number / 1e9:.2g} GB"
