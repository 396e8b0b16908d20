"""Names of classes: the table of ImageNet's, and how a name finds its place among the logits."""

import csv
import difflib
import functools
from collections.abc import Sequence
from pathlib import Path

_TABLE = Path(__file__).parent / "data" / "imagenet_classes.tsv"
"""One line for each class of ILSVRC 2012, in the order of bvlc_googlenet: synset, place in inception5h, names."""


@functools.cache
def imagenet(architecture: str) -> tuple[str, ...]:
    """Names of a published network's classes, in the order of its logits.

    Args:
      architecture: "bvlc_googlenet", "inception5h" or "inception5h_torchlight"; others have no names here.

    Returns:
      A name for each logit, which may hold several with commas between them ("tabby, tabby cat"); empty for the
      logits of inception5h that stand for no class, 0 and 1001 to 1007.
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


def find(name: str, class_names: Sequence[str]) -> int:
    """The index of the class of a name, in any case: any one of a class's names, or all of them as they stand.

    A class that is called so and nothing else comes before those that have other names too: "harp" is no harmonica.

    Raises:
      ValueError: If no class is called so, or several are.
    """
    if not class_names:
        raise ValueError(f"this model does not name its classes, so {name!r} cannot be looked up: give an index")
    places: dict[str, list[int]] = {}
    for index, names in enumerate(class_names):
        for key in {_plain(one) for one in (names, *names.split(",")) if one}:
            places.setdefault(key, []).append(index)
    whole = [index for index, names in enumerate(class_names) if _plain(names) == _plain(name) != ""]
    found = whole or places.get(_plain(name), [])
    if len(found) > 1:
        meanings = " or ".join(f"{index} ({class_names[index]})" for index in found)
        raise ValueError(f"several classes are called {name!r}; give an index: {meanings}")
    if not found:
        holding = [key for key in places if _plain(name) and _plain(name) in key and "," not in key]
        close = list(dict.fromkeys([*holding[:3], *difflib.get_close_matches(_plain(name), places, 3)]))[:3]
        hint = f"did you mean {' or '.join(map(repr, close))}?" if close else "see the model's class_names"
        raise ValueError(f"no class is called {name!r}; {hint}")
    return found[0]


def check(index: int, class_names: Sequence[str]) -> None:
    """Refuse the index of a logit that stands for no class.

    Raises:
      ValueError: If the model names its classes, but not this one.
    """
    if 0 <= index < len(class_names) and not class_names[index]:
        raise ValueError(f"logit {index} of this model stands for no class")


def _plain(name: str) -> str:
    return " ".join(name.replace("_", " ").casefold().split())
