"""Names of classes, and the logits that they belong to."""

import csv
import difflib
import functools
import os
from collections.abc import Sequence
from pathlib import Path

from lightjax import _checks

_TABLE = Path(__file__).parent / "data" / "imagenet_classes.tsv"
"""One row for each class of ILSVRC 2012, in the order of bvlc_googlenet: synset, logit in inception5h, names."""


@functools.cache
def imagenet(architecture: str) -> tuple[str, ...]:
    """The class names of a published network in the order of its logits.

    Args:
      architecture: "bvlc_googlenet", "inception5h" or "inception5h_torchlight".

    Returns:
      One string for each logit; a class with several names has them all, separated by commas ("tabby, tabby cat").
      The string is empty for logits 0 and 1001 to 1007 of inception5h, which belong to no class. For another
      architecture the tuple is empty.
    """
    with _TABLE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    if architecture == "bvlc_googlenet":
        return tuple(row["names"] for row in rows)
    if architecture not in ("inception5h", "inception5h_torchlight"):
        return ()
    names = [""] * 1008
    for row in rows:
        names[int(row["inception5h"])] = row["names"]
    return tuple(names)


def read(path: str | os.PathLike) -> tuple[str, ...]:
    """Read names of classes from a text file in UTF-8, one in each line. An empty line is a logit without a class.

    Raises:
      ValueError: If it is not such a file.
      OSError: If it cannot be read.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").removesuffix("\n").split("\n")
    except UnicodeDecodeError:
        raise ValueError(f"the file of class names must be text in UTF-8, {path} is none") from None
    if lines == [""]:
        raise ValueError(f"the file of class names must have one name in each line, {path} is empty")
    return tuple(" ".join(line.split()) for line in lines)


def class_index(name: str, class_names: Sequence[str]) -> int:
    """Look up the index of a class by name.

    A class for which this is the only name comes before classes that also have other names: "harp" is the class
    "harp", and not "harmonica, mouth organ, harp, mouth harp".

    Args:
      name: One name of the class, or all of them as in `class_names`. Case, and underscores in place of spaces, do not
        matter.
      class_names: Names of the classes in the order of the logits.

    Raises:
      TypeError: If the name is not a string.
      ValueError: If no class has the name, or more than one.
    """
    if not isinstance(name, str):
        raise TypeError(f"a class name must be a string, got {_checks.shown(name)}")
    if not class_names:
        raise ValueError(
            f"this model does not name its classes, so {_checks.shown(name)} cannot be looked up; give an index"
        )
    places: dict[str, list[int]] = {}
    for index, names in enumerate(class_names):
        for key in {_plain(one) for one in (names, *names.split(",")) if one}:
            places.setdefault(key, []).append(index)
    whole = [index for index, names in enumerate(class_names) if _plain(names) == _plain(name) != ""]
    found = whole or places.get(_plain(name), [])
    if len(found) > 1:
        meanings = " or ".join(f"{index} ({class_names[index]})" for index in found)
        raise ValueError(f"several classes are called {_checks.shown(name)}; give an index: {meanings}")
    if not found:
        holding = [key for key in places if _plain(name) and _plain(name) in key and "," not in key]
        close = list(dict.fromkeys([*holding[:3], *difflib.get_close_matches(_plain(name), places, 3)]))[:3]
        hint = f"did you mean {' or '.join(map(repr, close))}?" if close else "see the model's class_names"
        raise ValueError(f"no class is called {_checks.shown(name)}; {hint}")
    return found[0]


def check(index: int, class_names: Sequence[str]) -> None:
    """Check that a logit belongs to a class.

    Raises:
      ValueError: If the model has class names, but none for this logit.
    """
    if 0 <= index < len(class_names) and not class_names[index]:
        raise ValueError(f"logit {index} of this model stands for no class")


def _plain(name: str) -> str:
    return " ".join(name.replace("_", " ").casefold().split())
