"""A render that shows itself in a notebook while it is made."""

import base64
import html
from collections.abc import Callable

import numpy as np

from lightjax.pictures import encode, sheet
from lightjax.result import Result

_POINTS = 300
"""Most points of the curve; longer courses are thinned."""


def live(width: int = 320) -> Callable[[Result], None]:
    """A callback that shows picture and objective in a notebook, in place of what it showed before.

        lj.visualize("mixed4a:97", callback=lj.live(), every=20)

    Make a new one for each render. TorchLight's `plot_images=True` and `freq`.

    Args:
      width: Of the curve, and of the picture at most, in pixels on the screen.

    Raises:
      ImportError: If IPython is not installed.
      RuntimeError: If this is no notebook.
    """
    try:
        from IPython.core.getipython import get_ipython
        from IPython.display import HTML, display
    except ImportError as error:
        raise ImportError("live() draws by IPython, which comes with Jupyter: pip install ipython") from error
    if getattr(get_ipython(), "kernel", None) is None:
        raise RuntimeError("live() draws in a notebook, and this is none; a callback of your own can save pictures")
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
    picture = base64.b64encode(encode(sheet(result.images))).decode()
    objective = html.escape(str(result.settings["objective"]))
    value = f": {result.values[-1]:.4g}" if len(result.values) else ""
    return (
        f'<div style="font: 12px sans-serif">'
        f'<img src="data:image/png;base64,{picture}" style="max-width: {width}px" alt="{objective}">'
        f"<div>{objective} after {len(result.values)} steps{value}</div>{curve}</div>"
    )


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
