"""Settings as plain JSON, and back. A stranger may have written what is read: it is checked like what is typed."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from lightjax import _checks, images, transforms
from lightjax.images.statistics import SHIPPED
from lightjax.objectives import Objective

_DEEPEST = 12
"""How deeply a setting may be nested."""
_MOST_KINDS = 40
"""Most images, bases and transforms in one setting."""


class Foreign(ValueError):
    """A setting that a file cannot hold, such as a function."""


def to_json(value: Any) -> Any:
    """A setting as plain JSON; {"python": text} if it holds something that JSON cannot."""
    try:
        return _plain(value)
    except TypeError:
        return {"python": repr(value)}


def _plain(value: Any) -> Any:
    match value:
        case None | bool() | int() | float() | str():
            return value
        case list() | tuple() if not hasattr(value, "_fields"):
            return [_plain(item) for item in value]
        case Objective():
            return repr(value)
        case _ if _kind(type(value).__name__) is type(value):
            fields = {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
            return {"kind": type(value).__name__, **fields}
    raise TypeError(f"{value!r} is not plain")


def checked(settings: Any, file: str, names: Iterable[str]) -> Mapping[str, Any]:
    """Check the settings that a file holds as far as they are not checked where they are used.

    Args:
      settings: What was read.
      file: Where it comes from, for errors.
      names: Names of the settings that must be there.

    Raises:
      ValueError: If one is missing or has a wrong type.
    """
    missing = [name for name in names if name not in settings]
    if missing:
        raise ValueError(f"{file} was made by another version of lightjax: its settings lack {missing[0]!r}")
    outcome = settings.get("outcome", {})
    snapshots = settings["snapshots"]
    right = {
        "objective": isinstance(settings["objective"], str | dict | None),
        "model": isinstance(settings["model"], str) and settings["model"].isprintable(),
        "start": isinstance(settings["start"], str | None),
        "snapshots": isinstance(snapshots, list | tuple) and all(type(n) is int for n in snapshots),
        "outcome": isinstance(outcome, Mapping) and all(type(n) is int for n in outcome.values()),
    }
    for name, is_right in right.items():
        if not is_right:
            raise ValueError(f"{file} was not written by lightjax: its {name} is {_checks.shown(settings[name], 100)}")
    return settings


def read(name: str, value: Any, file: str) -> Any:
    """A setting that `to_json` wrote.

    Raises:
      Foreign: If a file cannot hold it.
      ValueError: If it cannot be read, or has wrong values.
    """
    try:
        _check_size(value)
        found = _from_json(value)
        if name == "image" and not isinstance(found, images.NaturalImage):
            raise TypeError(f"it must be a NaturalImage, got {_checks.shown(found, 100)}")
    except Foreign:
        raise
    except (ValueError, TypeError) as error:
        raise ValueError(f"{file} has a setting {name} that cannot be read: {error!s:.300}") from None
    return found


def _check_size(value: Any) -> None:
    """Check that a setting is neither too deep nor too large to be built, without recursion."""
    level, depth, kinds = [value], 0, 0
    while level:
        if depth > _DEEPEST:
            raise ValueError(f"it is nested more than {_DEEPEST} deep")
        kinds += sum(isinstance(one, dict) for one in level)
        depth, level = depth + 1, [part for one in level for part in _parts(one)]
    if kinds > _MOST_KINDS:
        raise ValueError(f"it has {kinds} parts, and the most are {_MOST_KINDS}")


def _parts(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _from_json(value: Any) -> Any:
    """The inverse of `to_json` for images and transforms; lists become tuples."""
    match value:
        case {"kind": "FourierPhases", "statistics": statistics} if statistics not in SHIPPED:
            raise ValueError(
                f"statistics must be one of {', '.join(SHIPPED)} in a file, got {_checks.shown(statistics, 100)}"
            )
        case {"kind": str(name), **fields}:
            kind = _kind(name)
            if kind is None:
                raise ValueError(f"unknown kind {_checks.shown(name, 100)}")
            return kind(**{key: _from_json(field) for key, field in fields.items()})
        case list():
            return tuple(_from_json(item) for item in value)
        case {"python": _}:
            raise Foreign("from a Python object that JSON cannot hold")
        case dict():
            raise ValueError(f"lightjax does not write {_checks.shown(value, 100)}")
    return value


def _kind(name: str) -> type | None:
    """The image, basis or transform of the library that has a name."""
    for package in (images, transforms):
        kind = getattr(package, name, None)
        if isinstance(kind, type) and dataclasses.is_dataclass(kind) and kind is not images.Statistics:
            return kind
    return None
