"""Arrays are data; everything else in an argument of a compiled function is its structure."""

import dataclasses
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, eq=False)
class Note(Generic[T]):
    """Static information that is not part of the structure of a pytree.

    JAX compiles a function again for arguments of another structure, and the static attributes of a module are part of
    its structure. All notes are equal and have the same hash, so modules that differ only in the content of a note
    share their compiled programs. A compiled function must not read a note, because it would see the content of the
    module that it was compiled for. A module that it returns has this content too.

    Attributes:
      content: Anything that no computation depends on, such as where weights come from.
    """

    content: T

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Note)

    def __hash__(self) -> int:
        return hash(Note)
