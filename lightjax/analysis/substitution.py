"""What is left of a classifier's performance if a layer is replaced by what a dictionary makes of it."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lightjax import _checks
from lightjax._activations import named
from lightjax._structure import Model, by_structure
from lightjax.analysis.rest import SIZE, images_of, opened, running_on, shapes_of
from lightjax.contracts import own_channels, own_size
from lightjax.objectives.units import LOGITS
from lightjax.pictures import find_pictures, load_picture
from lightjax.progress import bar

if TYPE_CHECKING:
    from lightjax.analysis.dictionary import Dictionary


class Recovered(NamedTuple):
    """What is left of a classifier's performance, as `Dictionary.recovered` finds it.

    Attributes:
      share: Of the cross-entropy that is lost if the layer is 0, the share that the reconstruction recovers:
        `(zeroed - replaced) / (zeroed - clean)`.
      clean: Cross-entropy of the network as it is, the mean over pictures, in nats.
      replaced: The same with the layer replaced by its reconstruction.
      zeroed: The same with the layer set to 0.
      top1_clean: Share of pictures whose label is the network's first choice.
      top1: The same with the layer replaced.
      variance_explained: As `Dictionary.variance_explained`, of these pictures.
      pictures: Number of pictures.
    """

    share: float
    clean: float
    replaced: float
    zeroed: float
    top1_clean: float
    top1: float
    variance_explained: float
    pictures: int


def recovered(
    dictionary: "Dictionary",
    model: Model | str | os.PathLike,
    photographs: Any,
    labels: Any,
    logits: str | None,
    batch: int,
    progress: bool,
) -> Recovered:
    """What `Dictionary.recovered` returns."""
    model = opened(model)
    batch, progress = _checks.count(batch, "batch"), _checks.flag(progress, "progress")
    count, size, batches = _pictures(photographs, model, batch)
    inner = running_on(model)
    shapes = shapes_of(inner, (1, *size, own_channels(model)))
    if dictionary.layer not in shapes or shapes[dictionary.layer].shape[-1] != dictionary.channels:
        raise ValueError(f"model must have a layer {dictionary.layer!r} of {dictionary.channels} channels")
    logits = _checks.one_of(getattr(model, "logits", LOGITS) if logits is None else logits, shapes, "layer of logits")
    classes = shapes[logits].shape[-1]
    if shapes[logits].shape != (1, classes):
        raise ValueError(f"logits must be a layer [N, classes], but {logits!r} is {list(shapes[logits].shape)}")
    if labels is not None:
        labels = np.asarray(_checks.wholes(labels, "labels", least=0), np.int32)
        if labels.shape != (count,) or labels.max() >= classes:
            raise ValueError(f"labels must be {count} numbers of classes below {classes}, got {_checks.shown(labels)}")
    layer, images = dictionary.layer, jax.ShapeDtypeStruct((1, *size, own_channels(model)), jnp.float32)
    try:
        jax.eval_shape(lambda x, value: named(inner(x, given={layer: value}))[logits], images, shapes[layer])
    except (KeyError, ValueError):
        raise ValueError(f"logits must follow from layer {dictionary.layer!r}, but {logits!r} does not") from None

    found: list[dict[str, np.ndarray]] = []
    with bar(count, "picture", progress) as shown:
        for start, images in batches:
            full = np.zeros((batch, *images.shape[1:]), np.float32)  # the last batch is as large: one compilation
            full[: len(images)] = images
            chosen = None
            if labels is not None:
                chosen = np.zeros(batch, np.int32)
                chosen[: len(images)] = labels[start : start + len(images)]
            measured = jax.device_get(_measured(inner, dictionary, logits, full, chosen))
            found.append({name: np.asarray(x, np.float64)[: len(images)] for name, x in measured.items()})
            shown.update(len(images))
    every = {name: np.concatenate([one[name] for one in found]) for name in found[0]}
    if not all(np.isfinite(x).all() for x in every.values()):
        raise ValueError("photographs give values that are infinite or not numbers")
    clean, replaced, zeroed = every["losses"].mean(0)
    if not zeroed > clean:
        raise ValueError(
            f"model does not suffer without layer {dictionary.layer!r}: its cross-entropy is {clean:.3g} with it and "
            f"{zeroed:.3g} without, so there is nothing to recover"
        )
    positions = int(np.prod(shapes[dictionary.layer].shape[1:-1], dtype=int))
    total = every["squares"].sum() - np.square(every["sums"].sum(0)).sum() / (count * positions)
    return Recovered(
        share=float((zeroed - replaced) / (zeroed - clean)),
        clean=float(clean),
        replaced=float(replaced),
        zeroed=float(zeroed),
        top1_clean=float(every["right"][:, 0].mean()),
        top1=float(every["right"][:, 1].mean()),
        variance_explained=float(1 - every["left"].sum() / total) if total > 0 else float("nan"),
        pictures=count,
    )


@by_structure
def _measured(model: Model, dictionary: "Dictionary", logits: str, images: Any, labels: Any) -> dict:
    """Measures of each picture: losses and hits as the layer is, replaced and 0; sums for the variance."""
    layer = dictionary.layer
    whole = named(model(images))
    x = whole[layer]
    made = dictionary.reconstruct(x)
    scores = [whole[logits], *(named(model(images, given={layer: v}))[logits] for v in (made, jnp.zeros_like(x)))]
    labels = scores[0].argmax(-1) if labels is None else labels
    losses = [-jnp.take_along_axis(jax.nn.log_softmax(s), labels[:, None], -1)[:, 0] for s in scores]
    right = [(s.argmax(-1) == labels).astype(jnp.float32) for s in scores]
    centered = (x - dictionary.center.reshape((1,) * (x.ndim - 1) + (-1,))).reshape(len(x), -1, x.shape[-1])
    return {
        "losses": jnp.stack(losses, -1),
        "right": jnp.stack(right, -1),
        "left": jnp.square(x - made).reshape(len(x), -1).sum(-1),
        "sums": centered.sum(1),
        "squares": jnp.square(centered).sum((1, 2)),
    }


def _pictures(photographs: Any, model: Model, batch: int) -> tuple[int, tuple[int, int], Iterator]:
    """The number of pictures, their size, and batches of them, each with the number of its first."""
    files: list[Any] = []
    if isinstance(photographs, str | os.PathLike):
        path = _checks.path(photographs, "photographs")
        files = list(find_pictures(path)) if path.is_dir() else [path]
    elif isinstance(photographs, list | tuple) and all(isinstance(one, str | Path) for one in photographs):
        files = list(photographs)
    if not files:
        if isinstance(photographs, str | os.PathLike | list | tuple):
            raise ValueError(f"photographs must hold at least one picture, got {_checks.shown(photographs)}")
        try:
            images = images_of(photographs, model)
        except (TypeError, ValueError) as error:
            raise type(error)(f"photographs: {error}") from None
        several = ((i, images[i : i + batch]) for i in range(0, len(images), batch))
        return len(images), images.shape[1:3], several
    size = own_size(model) or (SIZE, SIZE)
    gray = own_channels(model) == 1

    def loaded() -> Iterator[tuple[int, np.ndarray]]:
        for start in range(0, len(files), batch):
            yield start, np.stack([load_picture(path, size, gray=gray) for path in files[start : start + batch]])

    return len(files), size, loaded()
