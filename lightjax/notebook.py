"""Pictures in a notebook: several in a row, and a render that is shown while it is made."""

import base64
import html
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from lightjax import _checks
from lightjax.pictures import encode, sheet, to_bytes
from lightjax.result import Result

_POINTS = 300
"""Largest number of points of a curve; a longer course of values is thinned."""


class Row:
    """Pictures in a row with their captions, as HTML: the last line of a notebook cell shows it."""

    def __init__(self, pictures: Sequence[np.ndarray], captions: Sequence[str]):
        """Hold the pictures, `[H, W, 3 or 4]` each, and a caption for each."""
        self._pictures, self._captions = pictures, captions

    def __repr__(self) -> str:
        return f"<{len(self._captions)} pictures: {', '.join(self._captions)}>"

    def _repr_html_(self) -> str:
        cells = ""
        for picture, caption in zip(self._pictures, self._captions, strict=True):
            text = html.escape(caption)
            cells += f'<td><img src="{_data(picture)}" alt="{text}"><br>{text}</td>'
        return f"<table><tr>{cells}</tr></table>"


def show(pictures: Result | Iterable[np.ndarray | Result], captions: Iterable[object] | None = None) -> Row:
    """Show pictures in a row, in a notebook.

    Examples:
      >>> lj.show([first, second], ["mixed4a:97", "mixed4b:3"])

    Args:
      pictures: Pictures `[H, W, 3 or 4]` in [0, 1], or results; the pictures of one result are shown one by one.
      captions: A caption for each; by default the objectives of results, and nothing for other pictures.

    Raises:
      TypeError: If something else is given.
      ValueError: If there are not as many captions as pictures, or something is no picture.
    """
    given = pictures.images if isinstance(pictures, Result) else pictures
    given = [one if isinstance(one, Result) else _checks.array(one, "a picture") for one in _several(given)]
    for one in given:
        if not isinstance(one, Result):
            to_bytes(one)  # checks it
    names = [one.settings["objective"] if isinstance(one, Result) else "" for one in given]
    if captions is not None:
        if not isinstance(captions, str | Mapping):
            captions = _checks.several(captions, "captions", "texts")
        names = [caption if isinstance(caption, str) else _checks.shown(caption) for caption in captions]
    if len(names) != len(given):
        raise ValueError(f"give one caption for each picture: got {len(names)} captions for {len(given)} pictures")
    return Row([sheet(one.images) if isinstance(one, Result) else one for one in given], names)


def _several(pictures: Any) -> list:
    """Pictures or results as a list; an array stays made of arrays."""
    if isinstance(pictures, np.ndarray | jax.Array) and pictures.ndim:
        return list(np.asarray(pictures))
    return _checks.several(pictures, "pictures", "pictures or results")


def live(width: int = 320) -> Callable[[Result], None]:
    """A callback that shows the picture and the objective in a notebook while a render is made.

        lj.visualize("mixed4a:97", callback=lj.live(), every=20)

    Make a new one for each render. It does the job of TorchLight's `plot_images=True` and `freq`.

    Args:
      width: Width of the curve, and largest width of the picture, in pixels on the screen.

    Raises:
      ImportError: If IPython is not installed.
      RuntimeError: If it is called outside of a notebook.
    """
    try:
        from IPython.core.getipython import get_ipython
        from IPython.display import HTML, display
    except ImportError:
        raise ImportError("live() needs IPython, which comes with Jupyter: pip install ipython") from None
    if getattr(get_ipython(), "kernel", None) is None:
        raise RuntimeError("live() works in a notebook only; elsewhere, a callback of your own can save pictures")
    handle = None

    def show(result: Result) -> None:
        nonlocal handle
        shown = HTML(_page(result, width))
        if handle is None:
            handle = display(shown, display_id=True)
        else:
            handle.update(shown)

    return show


def _page(result: Result, width: int) -> str:
    curve = _curve(result.values, width, width // 3)
    objective = html.escape(f"{result.settings['objective']} of {result.model}")
    value = f": {result.values[-1]:.4g}" if len(result.values) else ""
    return (
        f'<div style="font: 12px sans-serif">'
        f'<img src="{_data(sheet(result.images), "PNG")}" style="max-width: {width}px" alt="{objective}">'
        f"<div>{objective} after {len(result.values)} steps{value}</div>{curve}</div>"
    )


def _data(picture: np.ndarray, form: str | None = None) -> str:
    """A picture as the source of an HTML image; by default JPEG, or PNG if it has opacity."""
    form = form or ("PNG" if picture.shape[-1] == 4 else "JPEG")
    return f"data:image/{form.lower()};base64,{base64.b64encode(encode(picture, form)).decode()}"


def _curve(values: np.ndarray, width: int, height: int) -> str:
    """A course of values from the first step to the last, as SVG."""
    if not len(values):
        return ""
    steps = np.unique(np.linspace(0, len(values) - 1, _POINTS).round().astype(int))
    low, high = float(values.min()), float(values.max())
    x = steps / max(len(values) - 1, 1) * width
    y = (high - values[steps]) / (high - low or 1) * height
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    line = f'<polyline points="{points}" fill="none" stroke="#36c" stroke-width="1.5"/>'
    return (
        f'<svg width="{width + 4}" height="{height + 4}" viewBox="-2 -2 {width + 4} {height + 4}" '
        f'style="background: #f6f6f6"><title>from {low:.4g} to {high:.4g}</title>{line}</svg>'
    )
