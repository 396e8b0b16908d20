"""Dictionaries: sparse autoencoders of a layer, whose latents become activations of the network."""

import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from lightjax import _checks
from lightjax._structure import Model, Note, by_structure
from lightjax.analysis import dictionary_files, substitution, vectors
from lightjax.analysis.latents import WithLatents, with_latents

_ARRAYS = dictionary_files.ARRAYS
_BATCH = 4096


@jax.tree_util.register_pytree_node_class
class Dictionary:
    """A sparse autoencoder of the vectors of one layer.

    The latents of a vector x are `activate((x - center) @ encoder + bias)`, and its reconstruction is
    `latents @ decoder + center`. Its arrays are data for JAX, and everything else is structure.

    Attributes:
      layer: Name of the activation that it explains.
      encoder: `[c, latents]`.
      bias: Of the latents, `[latents]`.
      decoder: The direction of each latent in the layer, `[latents, c]`.
      center: `[c]`.
      k: Number of latents that stay, the others become 0 (TopK); None for all.
      threshold: What each latent must exceed, `[latents]` (JumpReLU); None for none.
      normalize: One of `vectors.NORMALIZATIONS`.
      source: Where it comes from.

    References:
      Bricken et al., "Towards Monosemanticity", 2023 (ReLU); Gao et al., "Scaling and Evaluating Sparse Autoencoders",
      2024 (TopK); Rajamanoharan et al., "Jumping Ahead", 2024 (JumpReLU).
    """

    def __init__(
        self,
        layer: str,
        encoder: ArrayLike,
        bias: ArrayLike,
        decoder: ArrayLike,
        center: ArrayLike,
        *,
        k: int | None = None,
        threshold: ArrayLike | None = None,
        normalize: str = "none",
        source: str = "",
    ):
        """Check and keep the parts.

        Without `k` and `threshold`, latents are rectified and nothing else.

        Args:
          layer: Name of an activation of a network.
          encoder: `[c, latents]`.
          bias: `[latents]`.
          decoder: `[latents, c]`. Its rows are kept as they are, of length 1 or not.
          center: `[c]`.
          k: Number of latents that stay, from 1 to the number of latents. Of positive latents that tie with the k-th,
            all stay.
          threshold: `[latents]`, or one number for all; latents that do not exceed it become 0.
          normalize: "layer_norm" subtracts the mean of each vector over its channels and divides by their standard
            deviation (of c - 1 degrees of freedom, plus 1e-5); "length" scales each vector to length sqrt(c).
          source: Where it comes from, for people.

        Raises:
          TypeError: If an argument has a wrong type.
          ValueError: If the shapes do not fit, a number is not finite, or both `k` and `threshold` are given.
        """
        self.layer = _checks.text(layer, "layer")
        self.encoder = vectors.checked(encoder, "encoder", (None, None))
        channels, latents = self.encoder.shape
        self.bias = vectors.checked(bias, "bias", (latents,))
        self.decoder = vectors.checked(decoder, "decoder", (latents, channels))
        self.center = vectors.checked(center, "center", (channels,))
        self.k = None if k is None else _checks.whole(k, "k", least=1, most=latents)
        if k is not None and threshold is not None:
            raise ValueError("threshold must be None if k is given, and k must be None if threshold is given")
        if threshold is not None and np.ndim(_checks.numbers(threshold, "threshold")) == 0:
            threshold = np.full(latents, np.asarray(threshold, np.float32))
        self.threshold = None if threshold is None else vectors.checked(threshold, "threshold", (latents,))
        self.normalize = _checks.one_of(normalize, vectors.NORMALIZATIONS, "kind of normalize")
        self._source = Note(_checks.text(source, "source"))

    @property
    def source(self) -> str:
        """Where it comes from."""
        return self._source.content

    @property
    def kind(self) -> str:
        """What becomes of the latents: "relu", "topk" or "jumprelu"."""
        return "topk" if self.k is not None else "relu" if self.threshold is None else "jumprelu"

    @property
    def channels(self) -> int:
        """Channels of the layer."""
        return self.encoder.shape[0]

    @property
    def latents(self) -> int:
        """Number of latents."""
        return self.encoder.shape[1]

    def __repr__(self) -> str:
        extra = f", k={self.k}" if self.k is not None else ""
        return f"Dictionary({self.layer!r}, {self.channels} channels, {self.latents} latents, {self.kind}{extra})"

    def encode(self, activations: ArrayLike) -> Array:
        """The latents of activations.

        Args:
          activations: `[..., c]`.

        Returns:
          `[..., latents]`, 0 or more.

        Raises:
          ValueError: If there are not as many channels.
        """
        return self.activate(self.latents_pre(activations))

    def latents_pre(self, activations: ArrayLike) -> Array:
        """The latents of activations before they are rectified and selected, which have a gradient everywhere.

        Args:
          activations: `[..., c]`.

        Returns:
          `[..., latents]`.

        Raises:
          ValueError: If there are not as many channels.
        """
        x = vectors.of(activations, "activations", self.channels)
        shift, scale = vectors.scale_of(x, self.normalize)
        x = (x - shift) / (scale + vectors.EPSILON if self.normalize == "layer_norm" else scale)
        return ((x - vectors.wide(self.center, x)) @ self.encoder + vectors.wide(self.bias, x)).astype(
            vectors.kind_of(activations)
        )

    def activate(self, latents_pre: ArrayLike) -> Array:
        """Rectify latents, and select some.

        Args:
          latents_pre: `[..., latents]`.

        Raises:
          ValueError: If there are not as many latents.
        """
        pre = vectors.of(latents_pre, "latents_pre", self.latents)
        kept = jax.nn.relu(pre)
        if self.k is not None and self.k < self.latents:
            rows = jax.lax.stop_gradient(pre).reshape(-1, self.latents)
            least = jax.lax.top_k(rows, self.k)[0][:, -1].reshape((*pre.shape[:-1], 1))
            kept = jnp.where(pre >= least, kept, jnp.zeros_like(kept))
        if self.threshold is not None:
            kept = jnp.where(pre > vectors.wide(self.threshold, pre), kept, jnp.zeros_like(kept))
        return kept.astype(vectors.kind_of(latents_pre))

    def decode(self, latents: ArrayLike, like: ArrayLike | None = None) -> Array:
        """The activations that latents stand for.

        Args:
          latents: `[..., latents]`.
          like: The activations `[..., c]` that the latents were made of. A dictionary that normalizes takes the mean
            and the length of each vector from them; others do not need them.

        Returns:
          `[..., c]`.

        Raises:
          ValueError: If the shapes do not fit, or `like` is needed.
        """
        z = vectors.of(latents, "latents", self.latents)
        if like is None and self.normalize != "none":
            raise ValueError(
                f"like must be the activations that the latents were made of, because this dictionary normalizes them "
                f"({self.normalize}), got None"
            )
        x = z @ self.decoder + vectors.wide(self.center, z)
        if like is not None:
            given = vectors.of(like, "like", self.channels)
            if given.shape[:-1] != z.shape[:-1]:
                raise ValueError(f"like must have shape {[*z.shape[:-1], self.channels]}, got {list(given.shape)}")
            shift, scale = vectors.scale_of(given, self.normalize)
            x = x * scale + shift
        return x.astype(vectors.kind_of(latents))

    def reconstruct(self, activations: ArrayLike) -> Array:
        """What the dictionary makes of activations `[..., c]`: their latents, decoded."""
        return self.decode(self.encode(activations), activations)

    def variance_explained(self, activations: ArrayLike) -> float:
        """The share of the variance of activations that the reconstruction explains.

        It is `1 - sum((x - reconstruction)^2) / sum((x - mean)^2)` with the mean of each channel.

        Args:
          activations: `[..., c]`, at least two different vectors.

        Returns:
          1 if the reconstruction is exact, 0 if the mean of each channel would do as well.

        Raises:
          ValueError: If there are not as many channels, a number is not finite, or all vectors are equal.
        """
        x = vectors.table(activations, self.channels)
        left = sum(
            np.asarray(_error(self, x[start : start + _BATCH])).sum(dtype=np.float64)
            for start in range(0, len(x), _BATCH)
        )
        total = float(np.square(x - x.mean(0, dtype=np.float64)).sum())
        if total == 0:
            raise ValueError("activations must have at least two different vectors, got equal ones")
        return float(1 - left / total)

    def on(self, model: Model | str | os.PathLike, *, replace: bool = False, size: Any = None) -> WithLatents:
        """The same network with two more activations: "LAYER/latents" and "LAYER/latents_pre".

        They are read like any other: `lj.visualize("mixed4c/latents_pre:825", model=dictionary.on(model))`. Latents
        that are not selected have no gradient, so render "LAYER/latents_pre". If latents are given
        (`model(images, given={"mixed4c/latents": z})`, as `lj.rest` does), the network continues from what they decode
        to. By default the network itself is unchanged.

        Args:
          model: A network, or the name or path of one for `load_model`.
          replace: Whether the network always continues from the reconstruction of the layer.
          size: Height and width of pictures that the network takes, in pixels; by default 224, or its own.

        Returns:
          A function from images to named activations.

        Raises:
          TypeError: If an argument has a wrong type.
          ValueError: If the network has no such layer, the layer has other channels, nothing follows from it, or it
            has a layer of such a name already.
          WeightsError: If the network cannot be found or loaded.
        """
        return with_latents(self, model, _checks.flag(replace, "replace"), size)

    def recovered(
        self,
        model: Model | str | os.PathLike,
        photographs: Any,
        *,
        labels: ArrayLike | None = None,
        logits: str | None = None,
        batch: int = 16,
        progress: bool = True,
    ) -> substitution.Recovered:
        """How much of a classifier's performance is left if the layer is replaced by its reconstruction.

        Args:
          model: A network with class logits, or the name or path of one for `load_model`.
          photographs: A folder, files, or pictures `[N, H, W, C]` in [0, 1].
          labels: The class of each picture, `[N]`; by default the network's own first choice.
          logits: Name of the layer of the logits; by default the network's own.
          batch: Pictures that go through the network at a time.
          progress: Whether to show a progress bar.

        Returns:
          The cross-entropies with the layer as it is, replaced, and set to 0, and what follows from them.

        Raises:
          TypeError: If an argument has a wrong type.
          ValueError: If the pictures or labels do not fit, or the network does not suffer without the layer.
          OSError: If a picture cannot be read.
        """
        return substitution.recovered(self, model, photographs, labels, logits, batch, progress)

    def save(self, path: str | os.PathLike) -> None:
        """Save the dictionary into a .safetensors file, which `read` reads.

        Raises:
          ValueError: If the name does not end in .safetensors.
          OSError: If the file cannot be written; no half-written file is left.
        """
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        plain = {name: getattr(self, name) for name in ("layer", "k", "normalize", "source")}
        dictionary_files.write(_checks.path(path, "path"), arrays, plain)

    @classmethod
    def read(
        cls,
        path: str | os.PathLike,
        layer: str | None = None,
        *,
        k: int | None = None,
        threshold: ArrayLike | None = None,
    ) -> "Dictionary":
        """Read a dictionary of lightjax, Prisma (vit-prisma), SAELens or overcomplete. No code in a file is executed.

        Gated autoencoders become JumpReLU ones, and scales and normalizations of the encoder are folded in; latents and
        reconstructions are the same. See `docs/dictionaries.md` for what each tool writes.

        Args:
          path: A .safetensors file; a file of `torch.save` with a state dict, which needs PyTorch; or the folder of
            one, with its settings beside it (cfg.json or config.json).
          layer: Name of the activation that it explains. Only files of `Dictionary.save` know it.
          k: Number of latents that stay, where neither the file nor its settings say so, as with overcomplete's TopK.
          threshold: What latents must exceed, where the file does not say so.

        Raises:
          TypeError: If an argument has a wrong type.
          ValueError: If the file is damaged, or holds something else or what cannot be expressed here.
          OSError: If it cannot be read.
          ImportError: If PyTorch is needed and not installed.
        """
        path = _checks.path(path, "path")
        parts = dictionary_files.read(path, {"layer": layer, "k": k, "threshold": threshold})
        try:
            return cls(**parts)
        except (TypeError, ValueError) as error:
            if any(value is not None and name in str(error) for name, value in (("k", k), ("threshold", threshold))):
                raise
            reason = _checks.in_a_line(error)
            raise ValueError(f"path: {_checks.in_a_line(path)} does not hold a dictionary: {reason}") from None

    def tree_flatten(self) -> tuple[tuple, tuple]:
        """The arrays, and everything else; for JAX."""
        return tuple(getattr(self, name) for name in _ARRAYS), (self.layer, self.k, self.normalize, self._source)

    @classmethod
    def tree_unflatten(cls, structure: tuple, arrays: tuple) -> "Dictionary":
        """The inverse of `tree_flatten`; for JAX."""
        made = object.__new__(cls)
        made.layer, made.k, made.normalize, made._source = structure
        made.encoder, made.bias, made.decoder, made.center, made.threshold = arrays
        return made


@by_structure
def _error(dictionary: Dictionary, x: ArrayLike) -> Array:
    """The squared distance of each vector from its reconstruction."""
    x = jnp.asarray(x)
    return jnp.square(x - dictionary.reconstruct(x)).sum(-1)
