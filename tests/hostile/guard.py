"""Attempts under guard: each ends soon, in little memory, and well or in an error of one line."""

import gc
import resource
import signal
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import flax.errors  # noqa: F401  (imports take memory too)

KINDS = (ValueError, TypeError, IndexError, FileNotFoundError)
"""Errors that lightjax raises for wrong arguments."""

Attempt = tuple[str, Callable[[], object]]


@contextmanager
def little_memory(more: int = 2 * 2**30) -> Iterator[None]:
    """Let this process take only so many more bytes of memory."""
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (now + more, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@contextmanager
def little_time(seconds: float) -> Iterator[None]:
    """Interrupt what takes longer in this process's own time, whatever the machine does meanwhile."""

    def end(*_) -> None:
        raise TimeoutError(f"took more than {seconds} seconds")

    before = signal.signal(signal.SIGVTALRM, end)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def mishandled(attempts: Iterable[Attempt], seconds: float = 4) -> tuple[int, list[str]]:
    """The number of attempts, and what went wrong with some of them.

    An attempt goes wrong if it ends in an error of another kind than `KINDS`, in one of several lines, of more than
    1,000 characters or with characters that a terminal obeys, if it takes too long, or if it takes gigabytes.
    """
    number, wrong = 0, []
    gc.collect()
    gc.freeze()  # what earlier tests left is no work of an attempt
    with little_memory(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, attempt in attempts:
            number += 1
            start = time.process_time()
            try:
                with little_time(2 * seconds):
                    attempt()
            except KINDS as error:
                if "\n" in str(error) or len(str(error)) > 1000 or not str(error).isprintable():
                    wrong.append(f"{name}: {str(error)[:2000]!r}")
            except BaseException as error:
                wrong.append(f"{name}: {type(error).__name__}: {str(error)[:300]!r}")
            if time.process_time() - start > seconds:
                wrong.append(f"{name}: took {time.process_time() - start:.1f} seconds")
    gc.unfreeze()
    return number, wrong
