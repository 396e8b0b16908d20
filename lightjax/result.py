"""The result of a render."""

import dataclasses
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lightjax.pictures import encode, file_format, save, sheet


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Result:
    """The pictures and values of a render, finished or not. It shows itself in a notebook.

    Attributes:
      images: Pictures, `[N, H, W, 3]` float32 in [0, 1], or with opacity `[N, H, W, 4]`; `[N, H, W, C]` for an image
        of C channels.
      snapshots: The pictures after earlier numbers of steps, by that number.
      values: The objective before each update, float32 `[steps]`.
      settings: What the render was made with, as plain JSON (see `Recipe.describe`). `save` writes it into PNG files.
      interrupted: Whether Ctrl-C ended the render after `len(values)` steps.
      stopped: Whether the callback ended the render after `len(values)` steps.
      unresponsive: Whether no step changed the picture, because the gradient of the objective was 0 everywhere.
      failed: The first step whose objective or gradient was not finite, counted from 1; None if all were finite. The
        pictures are the last good ones.
    """

    images: np.ndarray
    snapshots: dict[int, np.ndarray]
    values: np.ndarray
    settings: dict[str, Any]
    interrupted: bool = False
    stopped: bool = False
    unresponsive: bool = False
    failed: int | None = None

    @property
    def image(self) -> np.ndarray:
        """The picture, `[H, W, C]` float32 in [0, 1]; the first one of a batch."""
        return self.images[0]

    @property
    def seed(self) -> int:
        """The seed."""
        return self.settings["seed"]

    @property
    def model(self) -> str:
        """Name of the network, without the hash of its weights."""
        return self.settings["model"].partition("@")[0]

    @property
    def record(self) -> dict[str, Any]:
        """The settings, and an "outcome" if the render ended early: the metadata of a PNG."""
        ends = {"interrupted": self.interrupted, "stopped": self.stopped, "failed": self.failed is not None}
        ends |= {"unresponsive": self.unresponsive}
        outcome = {name: self.failed or len(self.values) for name, happened in ends.items() if happened}
        return self.settings | ({"outcome": outcome} if outcome else {})

    def save(self, path: str | os.PathLike) -> None:
        """Save the picture, or the sheet of a batch, as PNG, JPEG or WebP. JPEG shows transparency over white.

        A PNG carries the settings: `lj.render(lj.Recipe.read(path))` and `lightjax render --like FILE` make it again.

        Raises:
          ValueError: If the file name does not end in .png, .jpg, .jpeg or .webp, or files cannot show the channels.
          OSError: If the file cannot be written; no half-written file is left.
        """
        save(path, sheet(self.images), self.record)

    def save_snapshots(self, path: str | os.PathLike) -> list[Path]:
        """Save each snapshot beside `path`, for example as NAME_128.png after 128 steps; return the files."""
        file_format(path)  # checks it
        saved = []
        for step, pictures in self.snapshots.items():
            file = Path(path).with_stem(f"{Path(path).stem}_{step}")
            save(file, sheet(pictures), {**self.settings, "steps": step, "snapshots": []})
            saved.append(file)
        return saved

    def _repr_png_(self) -> bytes | None:
        if self.images.shape[-1] not in (1, 3, 4):
            return None  # a notebook shows the text instead
        rows = [*self.snapshots.values(), self.images]
        return encode(sheet(np.concatenate(rows), columns=len(rows) if len(self.images) == 1 else None))

    def __repr__(self) -> str:
        number, height, width, _ = self.images.shape
        pictures = f"{number} pictures" if number > 1 else "a picture"
        value = f", objective {self.values[-1]:.4g}" if len(self.values) else ""
        ended = " (interrupted)" if self.interrupted else " (stopped)" if self.stopped else ""
        ended = f" (not finite at step {self.failed})" if self.failed else ended
        return (
            f"<Result: {pictures} of {height}x{width} for {self.settings['objective']} of {self.model}, "
            f"{len(self.values)} steps{ended}{value}, seed {self.seed}>"
        )


class NonFiniteError(ArithmeticError):
    """The objective or its gradient became infinite or not a number. The last good pictures are in `result`.

    Attributes:
      step: The step that failed, counted from 1.
      result: The render up to that step.
    """

    def __init__(self, step: int, result: Result):
        """Name the step and keep the result."""
        advice = (
            "a smaller learning rate may help; the last good picture is in error.result"
            if step > 1
            else "usual causes are a square root, logarithm, norm, division or standard deviation at 0 (reduce='std' "
            "is safe), and numbers that are too large for float16; the starting picture is in error.result"
        )
        super().__init__(f"the objective or its gradient is not finite at step {step}: {advice}")
        self.step = step
        self.result = result

    def __reduce__(self):
        return type(self), (self.step, self.result)


def no_response(results: Sequence[Result]) -> str:
    """The text of a warning about renders whose pictures never changed."""
    names = ", ".join(result.settings["objective"] for result in results[:3]) + ", ..." * (len(results) > 3)
    latents = re.search(r"/latents\b(?!_)", names) is not None
    hint = "; latents of a dictionary that are not selected have no gradient: render LAYER/latents_pre" * latents
    return (
        f"the picture of {names} did not change in {len(results[0].values)} steps, because the gradient is 0. Usual "
        "causes: a unit that is off everywhere (a model with a keyword relu lets lightjax pass a gradient; another "
        "seed or start= may help), or an operation without a gradient: stop_gradient, round, argmax, a saturated "
        f"softmax, a norm at 0{hint}"
    )
