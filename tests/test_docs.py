"""The site: the examples of its pages run, and so do those of the docstrings."""

import doctest
import importlib
import inspect
import os
import pkgutil
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

import lightjax as lj
from lightjax import pictures

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(path for path in (ROOT / "docs").glob("*.md") if "```python" in path.read_text())
NEEDS = {"networks.md": "torchvision", "transformers.md": "timm", "house.md": "", "names.md": "tested by test_names"}
"""Pages whose examples need networks that are not here."""

CUT = """
    import lightjax

    def cut(full):
        quick = {"steps": 0, "progress": False} | ({"callback": None} if full is lightjax.visualize else {})
        return lambda objective, **settings: full(objective, **settings | quick)

    lightjax.visualize, lightjax.visualize_many = cut(lightjax.visualize), cut(lightjax.visualize_many)
    render = lightjax.render
    lightjax.render = lambda recipe: render(lightjax.Recipe.read(recipe.describe(), steps=0), progress=False)
"""
"""Renders without steps: all arguments are checked, and little is compiled."""


def run(blocks: list[str], folder: Path) -> None:
    """Run blocks of Python one after the other, in one process."""
    pictures.save(folder / "photograph.jpg", np.full((64, 64, 3), 0.5))
    code = "\n".join([textwrap.dedent(CUT), "import lightjax as lj", *blocks])
    environment = os.environ | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_examples_of_the_pages_run(tmp_path):
    pages = [path for path in PAGES if path.name not in NEEDS]
    assert len(pages) >= 6
    run(
        [block for path in pages for block in re.findall(r"```python\n(.*?)```", path.read_text(), re.DOTALL)], tmp_path
    )


def examples() -> dict[str, list[doctest.Example]]:
    """The examples of all docstrings, by the name of what they stand in."""
    found = {}
    for module in pkgutil.walk_packages(lj.__path__, "lightjax."):
        here = importlib.import_module(module.name)
        for name, value in vars(here).items():
            if getattr(value, "__module__", "") != module.name:
                continue
            methods = vars(value) if isinstance(value, type) else {}
            for member, one in {"": value, **{f".{key}": getattr(value, key) for key in methods}}.items():
                if callable(one) and (text := one.__doc__):
                    found[f"{module.name}.{name}{member}"] = doctest.DocTestParser().get_examples(
                        inspect.cleandoc(text)
                    )
    return {name: those for name, those in found.items() if those}


def parents(name: str) -> list[str]:
    """The dotted names above a name, the nearest first."""
    parts = name.split(".")
    return [".".join(parts[:n]) for n in range(len(parts) - 1, 0, -1)]


class Shown(doctest.OutputChecker):
    """What an example shows is compared where the docstring says it."""

    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        return not want or super().check_output(want, got, optionflags)


def network(images):
    """A network of two layers of GoogLeNet's names, one after the other."""
    first = images.repeat(64, -1)
    return {"layer2.0.conv1": first, "mixed4a": first, "mixed4d": first.mean((1, 2))}


def test_the_examples_of_docstrings_run(tmp_path, monkeypatch, googlenet):
    found = examples()
    assert len(found) >= 8
    monkeypatch.chdir(tmp_path)
    result = lj.visualize("mixed4a:97", size=64, steps=0, progress=False)
    result.save("mixed4a_97.png")
    pictures.save("photograph.jpg", np.full((64, 64, 3), 0.5))
    quick = {"steps": 0, "progress": False, "size": 64}
    for name, full in {"visualize": lj.visualize, "visualize_many": lj.visualize_many}.items():
        monkeypatch.setattr(lj, name, lambda objective, full=full, **given: full(objective, **given | quick))
    render, dream = lj.render, lj.dream
    monkeypatch.setattr(lj, "render", lambda recipe: render(lj.Recipe.read(recipe.describe(), steps=0), progress=False))
    monkeypatch.setattr(lj, "dream", lambda *given, size: dream(*given, size=48, steps=0, octaves=1, progress=False))
    known = {"lj": lj, "my_network": network, "model": googlenet, "first": result, "second": result}
    failed: list[str] = []
    for name, those in found.items():
        module = next(sys.modules[part] for part in parents(name) if part in sys.modules)
        test = doctest.DocTest(those, vars(module) | known, name, None, None, None)
        doctest.DocTestRunner(Shown(), verbose=False).run(test, out=failed.append)
    assert not failed, "".join(failed)
