"""Pages of what was read from a network: one HTML file each, which opens from disk and asks nothing of a network.

A page is a title, sections and the settings that they were made with. A section is a template of `assets/`, what the
template shows, and the names of its style and its script, if it has any:

    map = page.picture("Attribution", attribution.picture())
    grid = page.Section("Grid", "grid.html", {...}, "grid.css", "grid.js")
    page.write("page.html", title="dog_cat.jpg", sections=[map, grid], settings={"layer": "mixed4d"})

The base of all pages, `base.html` and `base.css`, brings the colors, light and dark, and the type: a style uses its
variables, such as `var(--faint)`. A script finds its own sections by their classes. Pictures and data stand in the
file itself, as `data_url` and Jinja's filter `tojson` put them there. Jinja2 escapes whatever comes from names and
files, and a content security policy lets no script run but the page's own.
"""

import base64
import hashlib
import importlib.resources
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lightjax import _checks, _files
from lightjax.analysis import drawing
from lightjax.pictures import encode

if TYPE_CHECKING:  # imported when a page is written, because whoever renders needs neither
    import jinja2
    import markupsafe


class Section(NamedTuple):
    """A part of a page.

    Attributes:
      title: Its heading.
      template: A file in `assets/`.
      values: What the template shows, by name.
      style: A style sheet in `assets/`; empty for none.
      script: A script in `assets/`; empty for none. It is a module of its own.
    """

    title: str
    template: str
    values: Mapping[str, Any]
    style: str = ""
    script: str = ""


def picture(title: str, image: np.ndarray, caption: str = "") -> Section:
    """A section with one picture `[H, W, C]` in [0, 1], such as `Reading.picture` gives."""
    return Section(title, "picture.html", {"source": data_url(image), "caption": caption, "title": title})


def write(path: str | os.PathLike, *, title: str, sections: Sequence[Section], settings: Mapping[str, Any]) -> Path:
    """Write a page; the same arguments give the same bytes.

    Args:
      path: The page, NAME.html; or a folder for its index.html, which is made if it is not there.
      title: What the page is called.
      sections: Its parts, in their order.
      settings: What they were made with, as plain values.

    Returns:
      The page.

    Raises:
      OSError: If it cannot be written; an older page then stays as it was.
    """
    import markupsafe

    path = _checks.path(path, "path")
    if path.suffix.lower() not in (".html", ".htm"):
        path.mkdir(exist_ok=True)
        path = path / "index.html"
    jinja = environment("lightjax.analysis")
    script = "\n".join(
        f"{{\n{asset(name)}}}" for name in dict.fromkeys(section.script for section in sections if section.script)
    )
    text = jinja.get_template("base.html").render(
        title=title,
        sections=[(s.title, markupsafe.Markup(jinja.get_template(s.template).render(s.values))) for s in sections],
        settings=[(name, value) for name, value in settings.items() if value is not None],
        style=markupsafe.Markup("").join(
            asset(name) for name in dict.fromkeys(["base.css", *(s.style for s in sections if s.style)])
        ),
        script=markupsafe.Markup(script),
        script_hash=fingerprint(script),
    )
    _files.write_atomically(path, text.encode())
    return path


def environment(package: str) -> "jinja2.Environment":
    """The templates in the folder `assets` of a package. They escape what they show and know all names they use."""
    import jinja2

    made = jinja2.Environment(
        loader=jinja2.PackageLoader(package, "assets"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    return made


def asset(name: str, package: str = "lightjax.analysis") -> "markupsafe.Markup":
    """A file in the folder `assets` of a package, to be put into a page as it stands."""
    import markupsafe

    return markupsafe.Markup(importlib.resources.files(package).joinpath("assets", name).read_text("utf-8"))


def fingerprint(script: str) -> str:
    """The SHA-256 of a script, as a content security policy names it."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def data_url(image: np.ndarray, size: tuple[int, int] | None = None, format: str = "WEBP") -> str:
    """A picture `[H, W, C]` in [0, 1] as an address that holds it.

    Args:
      image: The picture.
      size: Another height and width in pixels.
      format: "WEBP", "JPEG" or "PNG".
    """
    image = image if size is None else drawing.resized(image, size)
    return f"data:image/{format.lower()};base64,{base64.b64encode(encode(image, format)).decode()}"
