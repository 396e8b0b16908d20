"""How a render reports to its user: a progress bar, and the number of steps between two reports."""

import sys
import time
import warnings

from lightjax._files import Forgiving
from lightjax.optimize import STEPS_PER_CALL


class Pacer:
    """Chooses how many steps the next call makes, from how long the last one took."""

    def __init__(self, seconds: float):
        """Aim at `seconds` for each call."""
        self._seconds = seconds
        self._seconds_per_step: float | None = None
        self._calls = 0
        self._start = 0.0

    def next(self, most: int) -> int:
        """The number of steps to make now, at most `most`; starts the clock."""
        self._start = time.perf_counter()
        wanted = 1 if not self._seconds_per_step else max(1, int(self._seconds / self._seconds_per_step))
        return min(wanted, most, STEPS_PER_CALL)

    def made(self, steps: int) -> None:
        """Record that `steps` steps were made since `next`."""
        self._calls += 1
        if self._calls > 1:  # the first call includes the compilation
            self._seconds_per_step = (time.perf_counter() - self._start) / steps


def bar(total: float, unit: str, show: bool, *, done: float = 0, decimals: int = 0):
    """A tqdm progress bar that counts `unit`s, with a number of decimals, and shows how many are made a second."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tqdm warns in a notebook without ipywidgets, and shows text instead
        from tqdm.auto import tqdm

    counts = f"{{n:.{decimals}f}}/{{total}} {unit}s"
    form = f"{{l_bar}}{{bar}}| {counts} [{{elapsed}}<{{remaining}}, {{rate_noinv_fmt}}{{postfix}}]"
    look = {"unit": f" {unit}s", "bar_format": form, "smoothing": 0.1, "dynamic_ncols": True}
    # A render goes on where its bar cannot be shown.
    stream = Forgiving(sys.stderr)
    return tqdm(total=total, initial=done, disable=not show or sys.stderr is None, file=stream, **look)
